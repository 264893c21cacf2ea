"""Shuffled batches: each a partition, and all partitions equally often."""

from itertools import combinations

import numpy as np

from limitcycles.statistics.shuffles import batch_sums


def test_every_pass_has_every_example_once():
    examples = 2.0 ** np.arange(12)[:, None] * [1, 3]  # sums of such numbers tell what is in them
    sums = batch_sums(np.random.default_rng(0), examples, 3, 200)
    assert sums.shape == (200, 4, 2)
    np.testing.assert_array_equal(sums.sum(1), np.tile(examples.sum(0), (200, 1)))
    sizes = [[bin(int(s)).count("1") for s in row] for row in sums[:, :, 0]]
    assert sizes == [[3] * 4] * 200
    np.testing.assert_array_equal(sums[:, :, 1], 3 * sums[:, :, 0])


def test_all_batches_are_equally_likely():
    examples = 2.0 ** np.arange(6)[:, None]
    sums = batch_sums(np.random.default_rng(1), examples, 3, 40_000)[:, :, 0]
    expected = 40_000 / 20
    batches = [sum(2.0**i for i in chosen) for chosen in combinations(range(6), 3)]
    for column in sums.T:
        counts = np.array([(column == batch).sum() for batch in batches])
        chi_square = ((counts - expected) ** 2 / expected).sum()
        assert chi_square < 43.8  # 0.1 % of 19 degrees of freedom lie above


def test_the_order_is_fixed_by_the_generator():
    examples = np.arange(8.0)[:, None]
    one, two, other = (
        batch_sums(np.random.default_rng(seed), examples, 2, 5) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(one, two)
    assert (one != other).any()
