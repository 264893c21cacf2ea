"""Gradients of one snapshot as they are stored, against those computed in memory."""

import json

import network_zoo as zoo
import numpy as np
import pytest
import torch
import xarray as xr
import zarr
from helpers import row_by_row
from torch import nn

from limitcycles.diffusion import gradient_store, gradients
from limitcycles.diffusion.per_sample import BLOCK, PerSampleGradients
from limitcycles.runtime.errors import LimitcyclesError
from limitcycles.storage.files import StorageError
from limitcycles.training import networks
from limitcycles.training.augmentation import augment
from limitcycles.training.first_look import BatchCouplingError

IMAGES, SIDE, CLASSES, HIDDEN = 150, 4, 3, 5
FC = {"builder": "fc", "options": {"inputs": SIDE**2, "hidden": HIDDEN, "classes": CLASSES}}
WEIGHTS = (SIDE**2 + 1) * HIDDEN + 2 * HIDDEN + (HIDDEN + 1) * CLASSES


def coupled():
    """A network of one's own whose examples depend on each other."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(SIDE**2, HIDDEN),
        nn.BatchNorm1d(HIDDEN, track_running_stats=False), nn.Linear(HIDDEN, CLASSES),
    )  # fmt: skip


@pytest.fixture
def dataset():
    rng = np.random.default_rng(0)
    images = rng.random((IMAGES, 1, SIDE, SIDE)).astype(np.float32)
    return xr.Dataset(
        {
            "train_image": (("train", "channel", "height", "width"), images),
            "train_label": ("train", rng.integers(CLASSES, size=IMAGES)),
        }
    )


def make_run(network=None, seed=3):
    """A run with snapshots at 0 and 100 %, of different weights and statistics."""
    network = network or FC
    flat = []
    for start in range(2):
        torch.manual_seed(start)
        module = networks.build(network)
        for name, buffer in module.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_()
            elif name.endswith("running_var"):
                buffer.uniform_(0.5, 2)
        flat.append([part.numpy() for part in networks.flatten(module)])
    return xr.Dataset(
        {
            "weights": (("snapshot", "weight"), np.stack([w for w, _ in flat])),
            "buffers": (("snapshot", "buffer"), np.stack([b for _, b in flat])),
        },
        coords={"percent": ("snapshot", [0, 100])},
        attrs={"run": "tiny", "seed": seed, "settings": json.dumps({"network": network})},
    )


def write(run, dataset, path, percent=100, **more):
    return gradients.write(run, dataset, percent, path, device="cpu", **more)


def in_memory(run, dataset, percent, precision):
    network = gradients.snapshot_network(run, percent, precision)
    images = torch.from_numpy(dataset["train_image"].values).to(getattr(torch, precision))
    return network, images, torch.from_numpy(dataset["train_label"].values)


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("percent", [0, 100])
def test_rows_are_the_per_sample_gradients(tmp_path, dataset, precision, percent):
    run = make_run()
    write(run, dataset, tmp_path / "g.zarr", percent, precision=precision)
    network, images, labels = in_memory(run, dataset, percent, precision)
    stored = zarr.open_group(tmp_path / "g.zarr", mode="r")["gradient"]
    assert stored.dtype == precision
    rows = torch.from_numpy(stored[:])
    # The same blocks in memory give the same bits.
    parts = PerSampleGradients(network, images, labels)
    expected = torch.cat([
        parts(images[i : i + BLOCK], labels[i : i + BLOCK]) for i in range(0, IMAGES, BLOCK)
    ])  # fmt: skip
    assert torch.equal(rows, expected)
    oracle = row_by_row(network.double(), images.double(), labels)
    bound = 1e-5 if precision == "float32" else 1e-13
    assert (rows - oracle).abs().max() <= bound * oracle.abs().max()


def test_snapshots_differ(tmp_path, dataset):
    run = make_run()
    rows = []
    for percent in (0, 100):
        write(run, dataset, tmp_path / f"{percent}.zarr", percent)
        rows.append(zarr.open_group(tmp_path / f"{percent}.zarr", mode="r")["gradient"][:])
    assert np.abs(rows[0] - rows[1]).max() > 1e-2


def test_layout_on_disk(tmp_path, dataset):
    write(make_run(), dataset, tmp_path / "g.zarr", memory_mib=1)
    group = gradient_store.open_store(tmp_path / "g.zarr")
    array, norms = group["gradient"], group["square_norm"]
    assert array.shape == (IMAGES, WEIGHTS)
    assert array.metadata.dimension_names == ("sample", "weight")
    assert norms.metadata.dimension_names == ("sample",)
    assert array.shards[1] == array.chunks[1] == WEIGHTS
    assert array.shards[0] % array.chunks[0] == 0
    assert array.attrs["units"] == "nat per unit of weight"
    assert {"run": "tiny", "seed": 3, "percent": 100}.items() <= dict(group.attrs).items()
    assert "not divided by N" in group.attrs["definition"]
    assert group.attrs["code_version"]
    opened = xr.open_zarr(tmp_path / "g.zarr", consolidated=False)
    assert opened["gradient"].dims == ("sample", "weight")


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_square_norms_are_those_of_the_stored_rows(tmp_path, dataset, precision):
    write(make_run(), dataset, tmp_path / "g.zarr", precision=precision)
    group = gradient_store.open_store(tmp_path / "g.zarr")
    norms = group["square_norm"][:]
    assert norms.dtype == np.float64
    np.testing.assert_allclose(norms, (group["gradient"][:].astype(float) ** 2).sum(1), rtol=1e-13)


@pytest.mark.parametrize("threads", [1, 2])
def test_shards_and_threads_do_not_change_the_rows(tmp_path, dataset, monkeypatch, threads):
    run = make_run()
    write(run, dataset, tmp_path / "one.zarr")
    # Room for 64 rows: three shards, the last one smaller.
    monkeypatch.setattr(gradients, "SHARD_BYTES", 64 * WEIGHTS * 4)
    write(run, dataset, tmp_path / "many.zarr", threads=threads)
    one, many = (gradient_store.open_store(tmp_path / f"{n}.zarr") for n in ("one", "many"))
    assert one["gradient"].shards[0] > IMAGES
    assert many["gradient"].shards[0] == 64
    for name in ("gradient", "square_norm"):
        assert np.array_equal(one[name][:], many[name][:])


def test_raw_pixels_are_taken_as_they_are(tmp_path, dataset):
    run = make_run()
    raw = (255 * dataset["train_image"]).astype(np.uint8)
    write(run, dataset.assign(train_image=raw), tmp_path / "bytes.zarr")
    write(run, dataset.assign(train_image=raw.astype(np.float32)), tmp_path / "floats.zarr")
    one, other = (
        gradient_store.open_store(tmp_path / f"{n}.zarr")["gradient"][:]
        for n in ("bytes", "floats")
    )
    assert np.array_equal(one, other)


class TestKeptRows:
    def test_rows_indices_and_order(self, tmp_path, dataset):
        kept = write(make_run(), dataset, tmp_path / "g.zarr", keep_samples=40)
        index = kept["sample"].values
        assert index.shape == (40,)
        assert (np.diff(index) > 0).all()
        assert index.min() >= 0
        assert index.max() < IMAGES
        stored = gradient_store.open_store(tmp_path / "g.zarr")["gradient"][:]
        assert kept["gradient"].dims == ("sample", "weight")
        assert np.array_equal(kept["gradient"].values, stored[index])
        assert {"run": "tiny", "seed": 3, "percent": 100}.items() <= kept.attrs.items()

    def test_shards_do_not_change_them(self, tmp_path, dataset, monkeypatch):
        whole = write(make_run(), dataset, tmp_path / "a.zarr", keep_samples=40)
        monkeypatch.setattr(gradients, "SHARD_BYTES", 64 * WEIGHTS * 4)
        cut = write(make_run(), dataset, tmp_path / "b.zarr", keep_samples=40)
        xr.testing.assert_identical(whole, cut)

    def test_the_seed_of_the_run_draws_them(self, tmp_path, dataset):
        drawn = [
            write(make_run(seed=seed), dataset, tmp_path / f"{i}.zarr", percent, keep_samples=40)
            for i, (seed, percent) in enumerate([(3, 100), (3, 100), (4, 100), (3, 0)])
        ]
        index = [tuple(d["sample"].values) for d in drawn]
        assert index[0] == index[1]
        assert index[0] != index[2]
        assert index[0] == index[3]  # the same examples at each snapshot

    @pytest.mark.parametrize("keep", [IMAGES, 10_000])
    def test_all_if_there_are_fewer(self, tmp_path, dataset, keep):
        kept = write(make_run(), dataset, tmp_path / "g.zarr", keep_samples=keep)
        assert list(kept["sample"].values) == list(range(IMAGES))

    def test_draws_are_uniform(self, tmp_path, dataset):
        small = dataset.isel(train=slice(0, 10))
        counts = np.zeros(10)
        for seed in range(30):
            kept = write(make_run(seed=seed), small, tmp_path / "g.zarr", keep_samples=3)
            counts[kept["sample"].values] += 1
        assert counts.sum() == 90
        # 9 of each on average, with a standard deviation of √(30 · 0.3 · 0.7) = 2.5.
        assert np.abs(counts - 9).max() < 3.5 * 2.5


class TestSomeImages:
    def test_rows_of_images_that_the_seed_draws(self, tmp_path, dataset):
        run = make_run()
        write(run, dataset, tmp_path / "all.zarr")
        kept = write(run, dataset, tmp_path / "some.zarr", images=40)
        example = kept["sample"].values
        assert example.shape == (40,)
        assert (np.diff(example) > 0).all()
        assert not (example == np.arange(40)).all()
        assert not kept["copy"].any()
        some, whole = (gradient_store.open_store(tmp_path / f"{n}.zarr") for n in ("some", "all"))
        # Other blocks, so that the last bits may differ.
        expected = whole["gradient"][:][example]
        np.testing.assert_allclose(some["gradient"][:], expected, atol=1e-6 * abs(expected).max())
        assert np.array_equal(kept["gradient"].values, some["gradient"][:])
        for store, images in ((some, 40), (whole, IMAGES)):
            wanted = {"images": images, "copies": 1, "augmentations": []}
            assert wanted.items() <= dict(store.attrs).items()
        again = write(make_run(seed=4), dataset, tmp_path / "other.zarr", images=40)
        assert not np.array_equal(again["sample"], example)

    def test_kept_rows_of_some_images(self, tmp_path, dataset):
        run = make_run()
        every = write(run, dataset, tmp_path / "g.zarr", images=40)
        some = write(run, dataset, tmp_path / "g.zarr", images=40, keep_samples=9)
        assert len(some["sample"]) == 9
        xr.testing.assert_equal(some, every.sel(sample=some["sample"]))

    def test_all_images_are_enough(self, tmp_path, dataset):
        kept = write(make_run(), dataset, tmp_path / "g.zarr", images=IMAGES)
        assert list(kept["sample"].values) == list(range(IMAGES))

    def test_more_than_there_are(self, tmp_path, dataset):
        with pytest.raises(
            LimitcyclesError, match=r"images of the gradients: 151 is more than the 150"
        ):
            write(make_run(), dataset, tmp_path / "g.zarr", images=151)

    def test_draws_are_uniform(self):
        counts = np.bincount(
            np.concatenate([gradients.choose(10, 3, seed) for seed in range(300)]), minlength=10
        )
        # 90 of each on average, with a standard deviation of √(300 · 0.3 · 0.7) = 8.
        assert np.abs(counts - 90).max() < 3.5 * 8


class TestAugmentedImages:
    HOW = {"flip": True, "pad": 1}  # noqa: RUF012

    def run(self, seed=3, how=None):
        run = make_run(seed=seed)
        settings = json.loads(run.attrs["settings"])
        settings["training"] = {"augmentation": how or self.HOW}
        return run.assign_attrs(settings=json.dumps(settings))

    def rows(self, path):
        return gradient_store.open_store(path)["gradient"][:]

    @pytest.mark.parametrize("images", [None, 40])
    def test_rows_are_those_of_the_copies_one_after_another(self, tmp_path, dataset, images):
        run = self.run()
        kept = write(
            run, dataset, tmp_path / "g.zarr",
            images=images, augmentations=[1, 3], precision="float64",
        )  # fmt: skip
        count = images or IMAGES
        store = gradient_store.open_store(tmp_path / "g.zarr")
        assert store["gradient"].shape == (3 * count, WEIGHTS)
        wanted = {"images": count, "copies": 3, "augmentations": [1, 3]}
        assert wanted.items() <= dict(store.attrs).items()

        network, pixels, labels = in_memory(run, dataset, 100, "float64")
        example = gradients.choose(IMAGES, images, 3)
        source = torch.Generator().manual_seed(gradients.stream(3, "gradient augmentation"))
        expected = torch.cat([
            row_by_row(network, augment(pixels[example], source, **self.HOW), labels[example])
            for _ in range(3)
        ])  # fmt: skip
        np.testing.assert_allclose(
            store["gradient"][:], expected, rtol=0, atol=1e-13 * float(expected.abs().max())
        )
        assert np.array_equal(kept["sample"], np.tile(example, 3))
        assert np.array_equal(kept["copy"], np.repeat(np.arange(3), count))
        assert np.array_equal(kept["gradient"], store["gradient"][:])

    @pytest.mark.parametrize("threads", [1, 2])
    def test_shards_and_threads_do_not_change_them(self, tmp_path, dataset, monkeypatch, threads):
        write(self.run(), dataset, tmp_path / "one.zarr", augmentations=[2])
        monkeypatch.setattr(gradients, "SHARD_BYTES", 64 * WEIGHTS * 4)
        write(self.run(), dataset, tmp_path / "many.zarr", augmentations=[2], threads=threads)
        one, many = (self.rows(tmp_path / f"{name}.zarr") for name in ("one", "many"))
        np.testing.assert_allclose(one, many, rtol=0, atol=1e-5 * abs(one).max())

    def test_first_copies_do_not_depend_on_how_many_there_are(self, tmp_path, dataset):
        for copies in (1, 3):
            write(self.run(), dataset, tmp_path / f"{copies}.zarr", augmentations=[copies])
        few, many = (self.rows(tmp_path / f"{copies}.zarr") for copies in (1, 3))
        np.testing.assert_allclose(many[:IMAGES], few, rtol=0, atol=1e-5 * abs(few).max())

    def test_the_seed_and_the_settings_of_the_run_decide(self, tmp_path, dataset):
        runs = [self.run(), self.run(seed=4), self.run(how={"flip": False, "pad": 0})]
        for number, run in enumerate(runs):
            write(run, dataset, tmp_path / f"{number}.zarr", augmentations=[1])
        one, other, unchanged = (self.rows(tmp_path / f"{number}.zarr") for number in range(3))
        write(make_run(), dataset, tmp_path / "plain.zarr")
        plain = self.rows(tmp_path / "plain.zarr")
        assert np.array_equal(unchanged, plain)
        assert np.abs(one - other).max() > 1e-2
        assert np.abs(one - plain).max() > 1e-2

    def test_a_run_without_augmentation(self, tmp_path, dataset):
        run = make_run()
        settings = json.loads(run.attrs["settings"]) | {"training": {"augmentation": None}}
        words = "^augmentations of the gradients: run tiny was trained without augmentation; ask"
        with pytest.raises(LimitcyclesError, match=words):
            write(
                run.assign_attrs(settings=json.dumps(settings)), dataset, tmp_path / "g.zarr",
                augmentations=[2],
            )  # fmt: skip
        assert not list(tmp_path.iterdir())


class TestPlan:
    def rows(self, build=networks.small_lenet, shape=(1, 28, 28)):
        torch.manual_seed(0)
        images = torch.rand(4, *shape)
        return PerSampleGradients(build(), images, torch.arange(4)), images[0]

    @pytest.mark.parametrize("memory_mib", [2, 3, 8, 40, 100, 1024, 100_000])
    @pytest.mark.parametrize("threads", [1, 2, 16])
    def test_blocks_and_shard_fit(self, memory_mib, threads):
        rows, example = self.rows()
        try:
            block, shard = gradients.plan(rows, example, memory_mib, threads)
        except LimitcyclesError:
            assert threads * rows.bytes_per_example(example) > memory_mib * 2**19
            return
        assert 1 <= block <= min(shard, BLOCK)
        row = 4 * rows.weights
        working = threads * block * rows.bytes_per_example(example)
        assert 3 * shard * row + working <= memory_mib * 2**20
        assert shard * row <= gradients.SHARD_BYTES
        assert shard % block == 0

    def test_more_memory_gives_larger_blocks(self):
        rows, example = self.rows()
        plans = [gradients.plan(rows, example, m, 2) for m in (4, 16, 64, 1024)]
        assert plans == sorted(plans)
        assert plans[0][0] < plans[-1][0] == BLOCK

    @pytest.mark.parametrize(("memory_mib", "threads"), [(0, 1), (1, 64)])
    def test_too_little_memory(self, memory_mib, threads):
        rows, example = self.rows()
        words = (
            rf"memory_mib of the gradients: {memory_mib} is too little.*13,338 weights; raise it"
        )
        with pytest.raises(LimitcyclesError, match=words):
            gradients.plan(rows, example, memory_mib, threads)

    def test_the_setting_reaches_the_store(self, tmp_path, dataset):
        network = {"builder": "fc", "options": {"inputs": 16, "hidden": 3000, "classes": CLASSES}}
        sizes = []
        for memory_mib in (20, 40):
            write(make_run(network), dataset, tmp_path / "g.zarr", memory_mib=memory_mib)
            sizes.append(gradient_store.open_store(tmp_path / "g.zarr")["gradient"].shards[0])
        assert sizes[0] < sizes[1] < IMAGES
        with pytest.raises(LimitcyclesError, match="too little"):
            write(make_run(network), dataset, tmp_path / "g.zarr", memory_mib=0)


def recurrent():
    return zoo.recurrent(nn.GRU(SIDE, HIDDEN, batch_first=True), HIDDEN)


def test_gradients_one_by_one_are_right_and_said_to_be_slow(tmp_path, dataset, capsys):
    run = make_run({"builder": f"{__name__}:recurrent"})
    write(run, dataset, tmp_path / "g.zarr")
    said = capsys.readouterr().err
    assert "gradients one example at a time, which is slow: vmap fails: RuntimeError" in said
    assert "gradients at 100 % by loop" in said
    network = gradients.snapshot_network(run, 100).double()
    images = torch.from_numpy(dataset["train_image"].values).double()
    expected = row_by_row(network, images, torch.from_numpy(dataset["train_label"].values))
    found = gradient_store.open_store(tmp_path / "g.zarr")["gradient"][:]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


class TestErrors:
    def test_a_snapshot_that_was_not_taken(self, tmp_path, dataset):
        words = r"run tiny has snapshots at \[0, 100\] %, not at 40 %.*training\.snapshots"
        with pytest.raises(LimitcyclesError, match=words):
            write(make_run(), dataset, tmp_path / "g.zarr", 40)
        assert not list(tmp_path.iterdir())

    def test_coupled_examples(self, tmp_path, dataset):
        with pytest.raises(BatchCouplingError):
            write(make_run({"builder": f"{__name__}:coupled"}), dataset, tmp_path / "g.zarr")
        assert not list(tmp_path.iterdir())

    def test_a_failure_leaves_what_was_there(self, tmp_path, dataset, monkeypatch):
        write(make_run(), dataset, tmp_path / "g.zarr")
        before = gradient_store.open_store(tmp_path / "g.zarr")["gradient"][:]
        blocks = PerSampleGradients.blocks

        def stops(self, *arguments):
            yield next(iter(blocks(self, *arguments)))
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(PerSampleGradients, "blocks", stops)
        with pytest.raises(StorageError, match=r"g\.zarr.*No space left"):
            write(make_run(), dataset, tmp_path / "g.zarr", 0)
        assert [path.name for path in tmp_path.iterdir()] == ["g.zarr"]
        after = gradient_store.open_store(tmp_path / "g.zarr")["gradient"][:]
        assert np.array_equal(before, after)

    @pytest.mark.parametrize("gone", ["zarr.json", "gradient/zarr.json", "square_norm/zarr.json"])
    def test_a_damaged_store(self, tmp_path, dataset, gone):
        path = tmp_path / "g.zarr"
        write(make_run(), dataset, path)
        (path / gone).unlink()
        with pytest.raises(StorageError, match=r"g\.zarr.*Delete the folder"):
            gradient_store.open_store(path)

    def test_a_missing_shard_is_not_read_as_zeros(self, tmp_path, dataset):
        path = tmp_path / "g.zarr"
        write(make_run(), dataset, path)
        next(file for file in (path / "gradient/c").rglob("*") if file.is_file()).unlink()
        assert np.isnan(gradient_store.open_store(path)["gradient"][:]).all()
