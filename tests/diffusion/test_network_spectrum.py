"""The spectrum of a network from its examples, against D from a float64 loop over examples."""

import numpy as np
import pytest
import torch
from helpers import examples, one_thread, row_by_row  # noqa: F401
from torch import nn

from limitcycles import spectrum_of
from limitcycles.diffusion.matrix import SpectrumError
from limitcycles.training.first_look import BatchCouplingError, NetworkError

CLASSES, SAMPLES = 3, 150


def network(*more: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), *more, nn.Flatten(), nn.Linear(64, CLASSES)
    ).double()


@pytest.fixture
def data():
    return examples(SAMPLES, 1, 6, 6, classes=CLASSES)


def eigenvalues(model, inputs, targets) -> np.ndarray:
    rows = row_by_row(model, inputs, targets).numpy()
    return np.linalg.eigvalsh(np.cov(rows.T, bias=True))[::-1]


@pytest.mark.parametrize("memory_mib", [4096, 1e-3], ids=["kept", "computed anew"])
@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_all_eigenvalues_where_the_matrix_is_small(data, memory_mib, device):
    model = network()
    found = spectrum_of(model, *data, memory_mib=memory_mib, device=device)
    wanted = eigenvalues(model, *data)
    assert found.method == "exact"
    np.testing.assert_allclose(found.eigenvalue, wanted, atol=1e-12 * wanted[0])
    assert found.trace == pytest.approx(wanted.sum(), rel=1e-12)
    assert found.rank_float32 == np.sum(wanted > wanted[0] * len(wanted) * 2**-23)


@pytest.mark.parametrize("memory_mib", [4096, 0.3], ids=["kept", "computed anew"])
def test_the_leading_ones_with_their_bounds_where_it_is_large(memory_mib):
    torch.manual_seed(0)
    model = nn.Linear(60, CLASSES).double()
    inputs, targets = examples(400, 60, classes=CLASSES)
    inputs *= 0.5 ** torch.arange(60)  # directions that matter less and less
    settings = {"exact_up_to": 100, "leading": 8, "memory_mib": memory_mib, "seed": 3}
    found = spectrum_of(model, inputs, targets, **settings)
    wanted = eigenvalues(model, inputs, targets)
    assert found.method == "matrix-free"
    rank = int(found.rank_float32)
    assert rank == np.sum(wanted > wanted[0] * len(wanted) * 2**-23) >= 8
    error = np.abs(found.eigenvalue.values - wanted[: found.sizes["index"]])[:rank]
    assert (error <= found.error_bound.values[:rank] + 1e-14 * wanted[0]).all()
    assert (found.error_bound[:8] <= 1e-4 * found.eigenvalue[:8]).all()


def test_the_network_is_left_as_it_is(data):
    model = network(nn.Dropout(0.5)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    spectrum_of(model, *data)
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_what_has_no_spectrum_is_refused(data):
    class Coupled(nn.Module):
        def forward(self, x):
            return x - x.mean(0)

    inputs, targets = data
    with pytest.raises(BatchCouplingError):
        spectrum_of(network(Coupled()), inputs, targets)
    with pytest.raises(SpectrumError, match="149 labels for 150 inputs"):
        spectrum_of(network(), inputs, targets[:-1])
    with pytest.raises(NetworkError):
        spectrum_of(nn.Flatten(), inputs, targets)
    with pytest.raises(SpectrumError, match="at least two gradients"):
        spectrum_of(network(), inputs[:1], targets[:1])
