"""Norms of gradients along a tiny trajectory, against autograd and direct sums."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import xarray as xr
from helpers import one_thread, settings_read  # noqa: F401

from limitcycles.judging import measuring
from limitcycles.papers.chaudhari2018.gradient_norm import measure as analysis
from limitcycles.runtime.errors import LimitcyclesError
from limitcycles.storage.files import StorageError
from limitcycles.training import networks
from limitcycles.training.trajectories import reading, recording

EXAMPLES, EPOCHS, WEIGHTS = 72, 30, 917
SETTINGS = settings_read("gradient-norm")
RUN = {
    "network": {
        "builder": "fc",
        "options": {"inputs": 49, "hidden": 16, "classes": 5},
        "weights": WEIGHTS,
    },
    "dataset": {},
    "training": {
        "epochs": EPOCHS,
        "batch_size": 24,
        "learning_rate": {"start": 0.1, "factor": 0.1, "at": [0.2]},
        "optimiser": {"kind": "sgd", "options": {"momentum": 0.9}},
        "weight_decay": 0.0,
        "sampler": "without-replacement",
    },
}


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    return xr.Dataset(
        {
            "train_image": (
                ("sample", "channel", "row", "column"),
                rng.random((EXAMPLES, 1, 7, 7), dtype=np.float32),
            ),
            "train_label": ("sample", rng.integers(0, 5, EXAMPLES)),
        },
        attrs={"sha256": "made up"},
    )


def record(folder, data, rate=0.1, every=2):
    run = RUN | {"training": RUN["training"] | {"learning_rate": {"start": rate, "factor": 0.1,
                                                                  "at": [0.2]}}}  # fmt: skip
    path = recording.record(data, run, 3, folder, gradient_every=every, name="tiny")
    return reading.open_trajectory(path)


@pytest.fixture(scope="module")
def stored(tmp_path_factory, data):
    return record(tmp_path_factory.mktemp("run"), data)


@pytest.fixture(scope="module")
def parts(stored, data):
    return measuring.of_trajectory("gradient-norm", stored, data, SETTINGS)


def torch_gradient(weights, images, labels) -> np.ndarray:
    """Gradient of one batch in training mode by autograd, in float64."""
    network = networks.build(RUN["network"]).double().train()
    torch.nn.utils.vector_to_parameters(torch.from_numpy(weights).double(), network.parameters())
    loss = F.cross_entropy(network(torch.from_numpy(images).double()), torch.from_numpy(labels))
    return torch.cat([g.ravel() for g in torch.autograd.grad(loss, network.parameters())]).numpy()


def test_norms_are_root_mean_squares_of_what_is_stored(parts, stored):
    norms = parts["norms"]
    assert norms["epoch"].values.tolist() == list(range(0, EPOCHS + 1, 2))
    assert {k: norms.attrs[k] for k in ("after", "epochs", "weights", "trajectory", "seed")} == {
        "after": 6, "epochs": EPOCHS, "weights": WEIGHTS, "trajectory": "tiny", "seed": 3,
    }  # fmt: skip
    for mode in analysis.MODES:
        gradients = stored[f"gradient_{mode}"].values.astype(float)
        expected = [np.linalg.norm(g) / np.sqrt(WEIGHTS) for g in gradients]
        np.testing.assert_allclose(norms[f"norm_{mode}"], expected, rtol=1e-12)
        assert norms[f"norm_{mode}"].attrs["units"] == "nat per unit of weight"


def test_the_fixed_order_is_one_that_autograd_confirms(parts, stored, data):
    images, labels = (data[f"train_{name}"].values for name in ("image", "label"))
    weights = reading.read(stored, EPOCHS, EPOCHS + 1)[0]
    images = images.reshape(EXAMPLES, -1)
    mean = np.mean(
        [torch_gradient(weights, images[k : k + 24], labels[k : k + 24]) for k in (0, 24, 48)],
        axis=0,
    )
    expected = np.linalg.norm(mean) / np.sqrt(WEIGHTS)
    assert float(parts["norms"]["norm_training"][-1]) == pytest.approx(expected, rel=1e-4)


def test_shuffled_gradients_are_means_over_shuffled_batches(parts, stored, data):
    images, labels = (data[f"train_{name}"].values for name in ("image", "label"))
    images = images.reshape(EXAMPLES, -1)
    rng = np.random.default_rng(analysis.stream(0, "order of the images"))
    for row, epoch in enumerate(parts["norms"]["epoch"].values):
        order = rng.permutation(EXAMPLES)
        if epoch in (0, 10):
            weights = reading.read(stored, epoch, epoch + 1)[0]
            batches = order.reshape(3, 24)
            mean = np.mean([torch_gradient(weights, images[b], labels[b]) for b in batches], axis=0)
            expected = np.linalg.norm(mean) / np.sqrt(WEIGHTS)
            assert float(parts["norms"]["norm_shuffled"][row]) == pytest.approx(expected, rel=1e-4)
    assert parts["partitions"]["epoch"].values.tolist() == [8, EPOCHS]
    assert (parts["partitions"]["norm_expected"] < parts["partitions"]["norm_one"]).all()


def test_smoothing_by_a_direct_loop():
    values = np.random.default_rng(1).random(40)
    weight = 100 / 101
    for k, found in enumerate(analysis.smooth(values)):
        w = weight ** np.arange(k + 1)
        assert found == pytest.approx((w * values[k::-1]).sum() / w.sum())


def test_curves_are_smoothed_before_they_are_thinned(parts, monkeypatch, stored, data):
    norms, curve = parts["norms"], parts["curve"]
    later = norms["epoch"].values > 6
    smoothed = analysis.smooth(norms["norm_training"].values[later])
    np.testing.assert_array_equal(curve["smoothed_after_training"].values[later], smoothed)
    assert np.isnan(curve["smoothed_after_training"].values[~later]).all()
    monkeypatch.setattr(analysis, "POINTS", 8)
    monkeypatch.setattr(analysis.thin, "__defaults__", (8,))
    few = measuring.of_trajectory("gradient-norm", stored, data, SETTINGS)["curve"]
    assert few.sizes["point"] <= 8
    assert few["epoch"].values[[0, -1]].tolist() == [0, EPOCHS]
    both = np.isin(curve["epoch"].values, few["epoch"].values)
    for name in few.data_vars:
        np.testing.assert_array_equal(few[name].values, curve[name].values[both])


def test_thinning_keeps_ends_and_early_points():
    kept = analysis.thin(100_001)
    assert len(kept) <= analysis.POINTS
    assert kept[[0, -1]].tolist() == [0, 100_000]
    assert (kept < 100).sum() > 20
    assert np.diff(kept).max() < 400
    assert analysis.thin(5).tolist() == [0, 1, 2, 3, 4]


def test_the_scatter_over_partitions_is_taken_out():
    rng = np.random.default_rng(2)
    truth = np.full(500, 0.3)
    one, expected = analysis.expected_norm(truth + rng.standard_normal((20, 500)))
    assert one == pytest.approx(np.sqrt(0.09 + 1), rel=0.05)
    assert expected == pytest.approx(0.3, rel=0.2)
    assert analysis.expected_norm(np.array([[1.0], [-1.0]])) == (1.0, 0.0)


def test_weights_that_never_move(tmp_path, data):
    parts = measuring.of_trajectory(
        "gradient-norm", record(tmp_path, data, rate=1e-30), data, SETTINGS
    )
    # Running moments move all the same: in evaluation mode the gradient settles, else it stays.
    values = parts["norms"]["norm_training"].values
    np.testing.assert_allclose(values, values[0], rtol=1e-6)
    assert np.isfinite(parts["norms"].to_array()).all()


def test_the_same_seed_gives_the_same_numbers(parts, stored, data):
    again = measuring.of_trajectory("gradient-norm", stored, data, SETTINGS)
    other = measuring.of_trajectory("gradient-norm", stored, data, SETTINGS | {"seed": 1})
    for name, part in parts.items():
        assert part.identical(again[name])
    assert (other["norms"]["norm_shuffled"] != parts["norms"]["norm_shuffled"]).any()


def test_gradients_that_are_missing_or_too_few(stored, data, tmp_path):
    holed = stored.load().copy(deep=True)
    holed["gradient_training"].values[4] = np.nan
    with pytest.raises(StorageError, match="row 4 of `gradient_training` is missing"):
        measuring.of_trajectory("gradient-norm", holed, data, SETTINGS)
    early = stored.isel(gradient=slice(0, 3))
    with pytest.raises(LimitcyclesError, match="no gradient after epoch 6"):
        measuring.of_trajectory("gradient-norm", early, data, SETTINGS)


@pytest.mark.parametrize("name", ["gradient_evaluation", "loss_training", "error_evaluation"])
def test_a_damaged_chunk_is_no_number(name, data, tmp_path):
    stored = record(tmp_path, data)
    (file, *_) = (p for p in (tmp_path / recording.NAME / name / "c").rglob("*") if p.is_file())
    content = bytearray(file.read_bytes())
    content[3] ^= 0x80
    file.write_bytes(content)
    with pytest.raises(StorageError, match=f"`{name}` cannot be read .* start snakemake again"):
        measuring.of_trajectory("gradient-norm", stored, data, SETTINGS)
