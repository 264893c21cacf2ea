"""The order of the examples: each sampler's distribution, and its batches."""

import itertools

import numpy as np
import pytest
import torch
from scipy import stats

from limitcycles.runtime.errors import LimitcyclesError
from limitcycles.training.samplers import CONTROLS, LIST, SAMPLERS, batches, distinct


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def epoch(name, examples, seed=0):
    return SAMPLERS[name](examples, generator(seed))


@pytest.mark.parametrize("examples", [1, 7, 1000])
def test_without_replacement_is_a_permutation(examples):
    order = epoch("without-replacement", examples)
    assert torch.equal(order.sort().values, torch.arange(examples))


def test_permutations_are_fresh_and_uniform():
    source = generator()
    orders = torch.stack([SAMPLERS["without-replacement"](5, source) for _ in range(4000)])
    # How often each example stands at each place: 5 x 5 counts, 16 degrees of freedom.
    counts = torch.stack([torch.bincount(orders[:, place], minlength=5) for place in range(5)])
    statistic = float(((counts - 800) ** 2 / 800).sum())
    assert 1e-4 < stats.chi2.sf(statistic, 16) < 1 - 1e-4


@pytest.mark.parametrize("seed", range(3))
def test_with_replacement_is_uniform_and_independent(seed):
    examples, epochs = 50, 2000
    source = generator(seed)
    draws = torch.stack([SAMPLERS["with-replacement"](examples, source) for _ in range(epochs)])
    assert draws.min() >= 0
    assert draws.max() < examples
    counts = torch.bincount(draws.flatten(), minlength=examples).numpy()
    assert 1e-4 < stats.chisquare(counts).pvalue < 1 - 1e-4
    # Two neighbours in an epoch: all 50 x 50 pairs equally often, equal ones included.
    pairs = torch.bincount((draws[:, ::2] * examples + draws[:, 1::2]).flatten(),
                           minlength=examples**2).numpy()  # fmt: skip
    assert 1e-4 < stats.chisquare(pairs).pvalue < 1 - 1e-4
    # Distinct examples in an epoch: N (1 − (1 − 1/N)^N) on average, not N.
    distinct = torch.tensor([len(d.unique()) for d in draws], dtype=torch.float64)
    expected = examples * (1 - (1 - 1 / examples) ** examples)
    error = float(distinct.std()) / epochs**0.5
    assert abs(float(distinct.mean()) - expected) < 4 * error


class TestDistinct:
    @pytest.mark.parametrize(("size", "count"), [(8, 2), (12, 3), (5, 3)])
    def test_every_arrangement_is_equally_likely(self, size, count):
        """Also where the first draws repeat one another and more are drawn: often, here."""
        source = generator()
        arrangements = dict.fromkeys(itertools.permutations(range(size), count), 0)
        for _ in range(10 * len(arrangements)):
            arrangements[tuple(distinct(size, count, source).tolist())] += 1
        assert 1e-4 < stats.chisquare(list(arrangements.values())).pvalue < 1 - 1e-4

    @pytest.mark.parametrize("count", [0, 1, 2, 2560, 30_596, 2**18, 2**18 + 1, 2**20])
    def test_no_number_comes_twice(self, count):
        drawn = distinct(LIST, count, generator())
        assert drawn.dtype == torch.int64
        assert len(drawn) == len(drawn.unique()) == count
        assert count == 0 or 0 <= int(drawn.min()) <= int(drawn.max()) < LIST

    def test_places_are_uniform_over_the_list(self):
        source = generator()
        drawn = torch.cat([distinct(LIST, 30_596, source) for _ in range(20)])
        assert 1e-4 < stats.chisquare(torch.bincount(drawn // 2**12)).pvalue < 1 - 1e-4

    def test_the_seed_decides(self):
        one, again, other = (distinct(LIST, 5000, generator(s)) for s in (0, 0, 1))
        assert torch.equal(one, again)
        assert not torch.equal(one, other)


class TestIndexList:
    def test_more_examples_than_entries(self):
        order = epoch("index-list", LIST + 5)
        assert torch.equal(order.sort().values, torch.arange(LIST))

    def test_every_epoch_has_its_own_list(self):
        source = generator()
        first, second = (SAMPLERS["index-list"](1000, source) for _ in range(2))
        assert not torch.equal(first, second)

    @pytest.mark.parametrize(("examples", "epochs"), [(2560, 400), (200_000, 3)])
    def test_examples_repeat_as_often_as_in_the_list(self, examples, epochs):
        """Two of the epoch's places hold the same example: the list has m or m + 1 of each."""
        source = generator(5)
        pairs = np.empty(epochs)
        for i in range(epochs):
            counts = torch.bincount(SAMPLERS["index-list"](examples, source)).numpy()
            pairs[i] = (counts * (counts - 1) / 2).sum()
        m, remainder = divmod(LIST, examples)
        times = remainder * (m + 1) * m + (examples - remainder) * m * (m - 1)
        of_a_pair = times / (LIST * (LIST - 1))
        expected = examples * (examples - 1) / 2 * of_a_pair
        assert pairs.mean() == pytest.approx(expected, abs=4 * (expected / epochs) ** 0.5)
        if examples == 200_000:  # with replacement would be far off
            assert abs(pairs.mean() - (examples - 1) / 2) > 20 * (expected / epochs) ** 0.5

    def test_a_list_that_fits_once_is_a_permutation(self):
        order = epoch("index-list", 2**20)
        assert torch.equal(order.sort().values, torch.arange(2**20))

    def test_multiplicities_follow_the_remainder(self):
        examples = 700_000
        counts = torch.bincount(epoch("index-list", examples), minlength=examples)
        assert len(counts) == examples
        assert int(counts.sum()) == examples
        remainder = 2**20 % examples
        # The indices below the remainder stand twice in the list, the others once.
        assert counts[:remainder].max() == 2
        assert counts[remainder:].max() == 1
        drawn = float(counts[:remainder].sum()), float(counts[remainder:].sum())
        share = 2 * remainder / 2**20
        # Hypergeometric: N of 2^20 entries, of which 2 r are those of the first kind.
        law = stats.hypergeom(2**20, 2 * remainder, examples)
        assert drawn[0] == pytest.approx(share * examples, abs=4 * law.std())

    def test_small_data_are_drawn_almost_with_replacement(self):
        examples, epochs = 1000, 20
        source = generator()
        draws = torch.stack([SAMPLERS["index-list"](examples, source) for _ in range(epochs)])
        assert draws.max() < examples
        counts = torch.bincount(draws.flatten(), minlength=examples).numpy()
        assert 1e-4 < stats.chisquare(counts).pvalue < 1 - 1e-4
        distinct = sum(len(d.unique()) for d in draws) / epochs
        # One example stands 1048 or 1049 times in the list: e^-1 of them are missed.
        assert distinct == pytest.approx(examples * (1 - (1 - 1 / examples) ** examples), rel=0.02)


@pytest.mark.parametrize("name", SAMPLERS)
class TestBatches:
    def test_batches_are_the_epoch_cut_up(self, name):
        parts = batches(name, 1000, 128, generator())
        assert [len(p) for p in parts] == [128] * 7 + [104]
        assert all(p.dtype == torch.int64 for p in parts)
        assert torch.equal(torch.cat(parts), epoch(name, 1000))

    def test_a_last_batch_of_one_is_left_out(self, name):
        assert [len(p) for p in batches(name, 257, 128, generator())] == [128, 128]
        assert [len(p) for p in batches(name, 258, 128, generator())] == [128, 128, 2]

    def test_batches_of_one_are_all_kept(self, name):
        assert [len(p) for p in batches(name, 5, 1, generator())] == [1] * 5

    def test_the_state_of_the_generator_decides(self, name):
        source = generator()
        first = batches(name, 100, 30, source)
        state = source.get_state()
        second = batches(name, 100, 30, source)
        source.set_state(state)
        again = batches(name, 100, 30, source)
        assert all(torch.equal(a, b) for a, b in zip(second, again, strict=True))
        assert not torch.equal(torch.cat(first), torch.cat(second))

    def test_torchs_global_generator_is_left_alone(self, name):
        before = torch.get_rng_state()
        batches(name, 100, 30, generator())
        assert torch.equal(torch.get_rng_state(), before)


class TestControls:
    def test_gaussian_weights_are_normal_and_sum_to_one(self):
        steps, examples, batch = 4000, 12, 5
        weights = CONTROLS["gaussian"](steps, examples, batch, generator()).double().numpy()
        assert weights.shape == (steps, examples)
        np.testing.assert_allclose(weights.sum(1), 1, atol=1e-6)
        z = (weights - 1 / examples) * (batch * examples) ** 0.5
        # In the N − 1 directions across (1, ..., 1), independent standard normals.
        across = np.linalg.svd(np.ones((1, examples)))[2][1:]
        draws = (z @ across.T).ravel()
        assert stats.kstest(draws, "norm").pvalue > 1e-4
        assert 1e-4 < stats.chi2.sf((draws**2).sum(), len(draws)) < 1 - 1e-4
        product = draws.reshape(steps, -1).T @ draws.reshape(steps, -1) / steps
        off = product[np.triu_indices(examples - 1, 1)]
        assert 1e-4 < stats.chi2.sf(steps * (off**2).sum(), len(off)) < 1 - 1e-4

    def test_the_generator_decides_and_full_batch_leaves_it(self):
        one, other = generator(), generator()
        assert CONTROLS["full-batch"](3, 40, 8, one) is None
        first, again = (CONTROLS["gaussian"](3, 40, 8, g) for g in (one, other))
        assert first.dtype == torch.float32
        assert torch.equal(first, again)
        assert not torch.equal(first, CONTROLS["gaussian"](3, 40, 8, one))

    @pytest.mark.parametrize("name", CONTROLS)
    def test_they_have_no_mini_batches(self, name):
        with pytest.raises(LimitcyclesError, match=f"{name} is for trajectories only"):
            batches(name, 100, 30, generator())
