"""Plain SGD at a constant rate: its path, the noise of its steps, and the moments of both."""

import copy

import numpy as np
import pytest
import small_runs
import torch
import torch.nn.functional as F
from helpers import examples, one_thread, row_by_row, settle  # noqa: F401
from torch.nn.utils import parameters_to_vector

from limitcycles.runtime.errors import LimitcyclesError
from limitcycles.training import constant_rate, networks
from limitcycles.training.constant_rate import Moments


def fc(hidden: int, **options):
    options = {"inputs": 64, "hidden": hidden, "classes": 10} | options
    return networks.build({"builder": "fc", "options": options})


def moments(path) -> Moments:
    found = Moments(len(path))
    for x in path:
        found.add(torch.from_numpy(x))
    return found


class TestMoments:
    def test_against_numpy(self):
        """Far from zero, where a sum of squares would lose everything."""
        path = 1e3 + 1e-6 * np.random.default_rng(0).standard_normal((101, 7)).cumsum(0)
        found = moments(path)
        assert found.variance == pytest.approx(path.var(0, ddof=1), rel=1e-5)
        t = np.arange(101.0)
        lines = np.stack([np.polyval(np.polyfit(t, x - x[0], 1), t) for x in path.T])
        share = lines.var(1).sum() / path.var(0).sum()
        assert found.trend_share == pytest.approx(share, rel=1e-5)

    def test_shares_of_a_line_of_diffusion_and_of_rest(self):
        rng = np.random.default_rng(1)
        steps = rng.standard_normal((400, 500))
        line = np.outer(np.arange(400), rng.standard_normal(500))
        assert moments(line).trend_share == pytest.approx(1)
        assert moments(steps.cumsum(0)).trend_share == pytest.approx(0.6, abs=0.03)
        assert moments(steps).trend_share == pytest.approx(0, abs=0.01)

    @pytest.mark.parametrize("points", [1, 3])
    def test_all_points_must_be_there(self, points):
        found = Moments(points)
        found.add(torch.zeros(2))
        with pytest.raises(LimitcyclesError, match=f"1 of {points} points"):
            _ = found.variance


class TestGradientVariance:
    def test_evaluation_mode_gives_the_trace_of_the_diffusion_matrix(self):
        images, labels = examples(40, 1, 8, 8, classes=10)
        network = settle(fc(4), images)
        rows = row_by_row(network, images, labels)
        expected = float(((rows - rows.mean(0)) ** 2).mean()) / 8
        index = torch.randint(40, (3000, 8), generator=torch.Generator().manual_seed(0))
        found = constant_rate.gradient_variance(network, images, labels, index)
        assert found == pytest.approx(expected, rel=0.05)

    def test_training_mode_is_another_number_and_leaves_the_network(self):
        images, labels = examples(40, 1, 8, 8, classes=10)
        network = settle(fc(4), images).train()
        before = copy.deepcopy(network.state_dict())
        index = torch.randint(40, (50, 8), generator=torch.Generator().manual_seed(0))
        found = constant_rate.gradient_variance(network, images, labels, index)
        assert found != constant_rate.gradient_variance(network.eval(), images, labels, index)
        for name, value in network.state_dict().items():
            assert torch.equal(value, before[name]), name


class TestDescend:
    def problem(self, norm=True, dtype=torch.float64, steps=41):
        images, labels = examples(40, 1, 8, 8, classes=10)
        network = settle(fc(4, norm=norm), images).train().to(dtype)
        generator = torch.Generator().manual_seed(1)
        index = torch.randint(40, (steps, 8), generator=generator)
        return network, images.to(dtype), labels, index

    def test_against_torch(self):
        network, images, labels, index = self.problem()
        other = copy.deepcopy(network)
        optimizer = torch.optim.SGD(other.parameters(), lr=0.1)
        path, gradients, losses = [], [], []
        for batch in index:
            optimizer.zero_grad()
            loss = F.cross_entropy(other(images[batch]), labels[batch])
            loss.backward()
            gradients.append(torch.cat([p.grad.reshape(-1) for p in other.parameters()]).numpy())
            losses.append(loss.item())
            optimizer.step()
            path.append(parameters_to_vector(other.parameters()).detach().numpy().copy())
        found = constant_rate.descend(network, images, labels, index, 0.1)
        last = np.array(path)[20:].var(0, ddof=1)
        assert found["variance"] == pytest.approx(last.mean(), rel=1e-9)
        assert found["median_variance"] == pytest.approx(np.median(last), rel=1e-9)
        noise = np.array(gradients)[20:].var(0, ddof=1).mean()
        assert found["late_gradient_variance"] == pytest.approx(noise, rel=1e-9)
        assert found["loss"] == pytest.approx(np.mean(losses[20:]), rel=1e-9)

    @pytest.mark.parametrize("spare", [False, True])
    def test_only_what_is_trained_moves(self, spare):
        """As over the second layer alone, its inputs computed beforehand; `spare` has no effect."""
        images, labels = examples(40, 1, 8, 8, classes=10)
        network = small_runs.partly_frozen(spare).double()
        index = torch.randint(40, (41, 8), generator=torch.Generator().manual_seed(1))
        inputs, alone = network.a(images.flatten(1)).relu(), copy.deepcopy(network.b)
        before = copy.deepcopy(network.state_dict())
        one = constant_rate.gradient_variance(network, images, labels, index)
        two = constant_rate.gradient_variance(alone, inputs, labels, index)
        weights = networks.count_weights(network)
        assert weights == 650 + 12 * spare
        assert one * weights == pytest.approx(two * 650, rel=1e-9)
        one = constant_rate.descend(network, images, labels, index, 0.1)
        two = constant_rate.descend(alone, inputs, labels, index, 0.1)
        for key in ("variance", "late_gradient_variance"):
            assert one[key] * weights == pytest.approx(two[key] * 650, rel=1e-9)
        assert one["loss"] == pytest.approx(two["loss"], rel=1e-9)
        for name, value in network.state_dict().items():
            assert torch.equal(value, before[name]) == (not name.startswith("b.")), name

    def test_small_steps_are_not_lost_in_single_precision(self):
        """1e-12 times a gradient is less than the spacing of float32 at a weight."""
        found = {
            rate: constant_rate.descend(*self.problem(dtype=torch.float32), rate)["variance"]
            for rate in (1e-12, 1e-10)
        }
        assert found[1e-10] == pytest.approx(1e4 * found[1e-12], rel=1e-3)
        assert found[1e-12] > 0

    def test_divergence(self):
        found = constant_rate.descend(*self.problem(norm=False, steps=120), 1e200)
        assert found["variance"] == found["median_variance"] == np.inf
        assert all(np.isnan(found[k]) for k in ("loss", "trend_share", "late_gradient_variance"))
