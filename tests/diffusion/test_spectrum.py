"""What is read off a spectrum, by hand on small ones and against brute force on whole ones."""

import math
from dataclasses import replace

import numpy as np
import pytest
import zarr
from helpers import gradients, one_thread  # noqa: F401

from limitcycles.diffusion import gradient_store, spectrum
from limitcycles.diffusion.krylov import matrix_free
from limitcycles.diffusion.matrix import Rows, Spectrum, SpectrumError, exact
from limitcycles.storage.files import StorageError

EPS32, EPS64 = 2.0**-23, 2.0**-52


def known(values, listed=None):
    """A spectrum of which the first `listed` eigenvalues were computed (all if None)."""
    values = np.asarray(values, dtype=float)
    count = len(values) if listed is None else listed
    return Spectrum(
        method="exact" if listed is None else "matrix-free",
        eigenvalue=values[:count],
        error_bound=np.zeros(count),
        trace=values.sum(),
        frobenius=float(np.linalg.norm(values)),
        frobenius_error=0.0,
        floor=0.0 if listed is None else values[count - 1],
        samples=100,
        weights=len(values),
    )


class TestRank:
    @pytest.mark.parametrize(
        ("tau", "expected"), [(0.5, 1), (0.49, 2), (0.3, 2), (0.1, 3), (0.009, 4), (1e-16, 4)]
    )
    def test_by_hand(self, tau, expected):
        # Above tau times the largest, which is 4; equal to it does not count.
        assert spectrum.rank(known([4, 2, 1, 0.04, 0]), tau) == expected

    def test_falls_with_the_threshold(self):
        whole = known(np.sort(np.random.default_rng(0).lognormal(0, 9, 300))[::-1])
        curve = [spectrum.rank(whole, tau) for tau in spectrum.TAU]
        assert (np.diff(curve) <= 0).all()
        assert curve[0] > 100 > curve[-1] >= 1

    def test_below_the_floor_it_is_not_known(self):
        part = known([4, 2, 1, 0.5, 0.1], listed=3)
        assert spectrum.rank(part, 0.3) == 2
        assert spectrum.rank(part, 0.25) == 2  # the floor itself: nothing above it is missing
        assert math.isnan(spectrum.rank(part, 0.24))
        assert math.isnan(spectrum.rank(part, 1e-16))

    @pytest.mark.parametrize(
        ("weights", "precision", "threshold"),
        [
            (13338, "float32", 13338 * EPS32),
            (13338, "float64", 13338 * EPS64),
            (917, "float32", 917 * EPS32),
        ],
    )
    def test_thresholds_of_the_paper(self, weights, precision, threshold):
        assert spectrum.paper_threshold(weights, precision) == pytest.approx(threshold, rel=1e-12)
        assert spectrum.paper_threshold(13338) == pytest.approx(1.59001e-3, rel=1e-5)

    def test_ranks_by_both_precisions(self):
        # d = 5: lines at 5 eps, that is 5.96e-7 and 1.11e-15 of the largest.
        whole = known([1, 6e-7, 5.9e-7, 1.2e-15, 1.1e-15])
        attrs = spectrum.summarise(whole).attrs
        assert attrs["rank_float32"] == 2
        assert attrs["rank_float64"] == 4
        assert attrs["rank_percent_float32"] == 40


class TestShape:
    @pytest.mark.parametrize("count", [1, 2, 50])
    def test_a_flat_spectrum_takes_part_as_a_whole(self, count):
        attrs = spectrum.summarise(known(np.full(count, 0.7))).attrs
        assert attrs["participation_ratio"] == pytest.approx(count)
        assert attrs["effective_rank"] == pytest.approx(count)
        assert attrs["rank_float32"] == count

    def test_flat_on_a_part(self):
        attrs = spectrum.summarise(known([3, 3, 3, 0, 0])).attrs
        assert attrs["participation_ratio"] == pytest.approx(3)
        assert attrs["effective_rank"] == pytest.approx(3)

    def test_by_hand(self):
        attrs = spectrum.summarise(known([2, 1, 1])).attrs
        assert attrs["participation_ratio"] == pytest.approx(16 / 6)
        # Entropy of (1/2, 1/4, 1/4): 3/2 ln 2.
        assert attrs["effective_rank"] == pytest.approx(2**1.5)

    def test_unit_does_not_matter(self):
        values = np.array([3, 2, 0.5, 1e-4])
        one, other = (spectrum.summarise(known(scale * values)).attrs for scale in (1, 1e6))
        for key in ("participation_ratio", "effective_rank", "rank_float32", "trace_90"):
            assert one[key] == pytest.approx(other[key])

    @pytest.mark.parametrize(
        ("share", "expected"), [(0.1, 1), (0.5, 1), (0.51, 2), (0.75, 2), (0.76, 3), (1.0, 4)]
    )
    def test_trace_quantiles_by_hand(self, share, expected):
        assert spectrum.trace_quantile(known([4, 2, 1, 1]), share) == expected

    def test_trace_quantiles_of_a_part(self):
        part = known([4, 2, 1, 1], listed=2)
        assert spectrum.trace_quantile(part, 0.75) == 2
        assert math.isnan(spectrum.trace_quantile(part, 0.76))

    def test_effective_rank_of_a_part_is_not_known(self):
        assert math.isnan(spectrum.effective_rank(known([4, 2, 1, 1], listed=2)))


class TestMeans:
    def test_three_readings_by_hand(self):
        # d = 4: the line is 4 eps(float32) times the largest, 4 · 2^-23 · 2^21 = 1.
        readings = spectrum.mean_readings(known([2.0**21, 3, 0.5, 0]))
        clipped, above = np.array([2.0**21, 3, 1, 1]), np.array([2.0**21, 3])
        assert readings["mean_all"] == pytest.approx((2**21 + 3.5) / 4)
        assert readings["mean_clipped"] == pytest.approx(clipped.mean())
        assert readings["mean_above"] == pytest.approx(above.mean())
        assert readings["std_all"] == pytest.approx(np.std([2.0**21, 3, 0.5, 0]))
        assert readings["std_clipped"] == pytest.approx(clipped.std())
        assert readings["std_above"] == pytest.approx(above.std())

    @pytest.mark.parametrize("seed", range(3))
    def test_against_brute_force(self, seed):
        values = np.sort(np.random.default_rng(seed).lognormal(0, 5, 200))[::-1]
        cut = values[0] * 200 * EPS32
        readings = spectrum.mean_readings(known(values))
        for name, taken in (
            ("all", values),
            ("clipped", np.clip(values, cut, None)),
            ("above", values[values > cut]),
        ):
            assert readings[f"mean_{name}"] == pytest.approx(taken.mean(), rel=1e-12)
            assert readings[f"std_{name}"] == pytest.approx(taken.std(), rel=1e-9)
        # The three are told apart by this spectrum.
        assert len({f"{readings[f'mean_{n}']:.6g}" for n in ("all", "clipped", "above")}) == 3

    def test_eigenvalues_that_were_not_computed(self):
        values = np.concatenate([np.linspace(1, 0.1, 20), np.full(180, 1e-7)])
        whole = spectrum.mean_readings(known(values))
        enough = spectrum.mean_readings(replace(known(values, listed=30)))
        assert enough == pytest.approx(whole)
        short = spectrum.mean_readings(known(values, listed=10))
        assert short["mean_all"] == whole["mean_all"]
        assert short["std_all"] == whole["std_all"]
        unknown = [short[f"{what}_{n}"] for what in ("mean", "std") for n in ("clipped", "above")]
        assert np.isnan(unknown).all()


class TestSummary:
    def test_contract(self):
        whole = known([4, 2, 1, 0.5, 0])
        result = spectrum.summarise(whole, run="a", seed=3, percent=40)
        assert result["eigenvalue"].dims == result["error_bound"].dims == ("index",)
        assert result["eigenvalue"].dtype == np.float64
        assert result["rank_curve"].dims == ("tau",)
        assert float(result["tau"][0]) == pytest.approx(1e-16)
        assert float(result["tau"][-1]) == pytest.approx(0.1)
        steps = np.diff(np.log10(result["tau"].values))
        np.testing.assert_allclose(steps, steps[0])
        assert list(result["index"].values) == [1, 2, 3, 4, 5]
        for variable in ("eigenvalue", "error_bound"):
            assert "gradient squared" in result[variable].attrs["units"]
        expected = {
            "method": "exact", "trace": 7.5, "samples": 100, "weights": 5, "rank_float32": 4,
            "rank_float64": 4, "rank_percent_float32": 80.0, "run": "a", "seed": 3, "percent": 40,
            "trace_50": 1, "trace_90": 3, "trace_99": 4,
        }  # fmt: skip
        assert expected.items() <= result.attrs.items()
        assert result.attrs["frobenius_norm"] == pytest.approx(math.sqrt(21.25))
        assert (result["rank_curve"] == [spectrum.rank(whole, t) for t in spectrum.TAU]).all()

    def test_curve_of_a_part(self):
        curve = spectrum.summarise(known([4, 2, 1, 0.5, 0.1], listed=3))["rank_curve"]
        low = curve["tau"].values < 0.25
        assert low.any()
        assert np.isnan(curve.values[low]).all()
        assert not np.isnan(curve.values[~low]).any()

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_both_methods_read_the_same(self, dtype):
        eigenvalues = np.concatenate([np.exp(-np.arange(100) / 4), np.zeros(150)])
        rows = gradients(eigenvalues, 400, mean=1, dtype=dtype)
        whole = spectrum.summarise(exact(Rows(rows))).attrs
        threshold = spectrum.paper_threshold(250)
        part = matrix_free(Rows(rows), leading=20, tolerance=1e-4, threshold=threshold)
        assert len(part.eigenvalue) < 250
        found = spectrum.summarise(part).attrs
        assert found["rank_float32"] == whole["rank_float32"] == 42
        assert found["trace_50"] == whole["trace_50"] == 3
        assert found["trace_90"] == whole["trace_90"] == 10
        for key in ("trace", "frobenius_norm", "participation_ratio", "mean_all", "std_all",
                    "mean_clipped", "std_clipped", "mean_above", "std_above"):  # fmt: skip
            assert found[key] == pytest.approx(whole[key], rel=1e-4)
        assert math.isnan(found["effective_rank"])


SETTINGS = {"exact_up_to": 200, "leading": 8, "tolerance": 1e-3, "seed": 0, "memory_mib": 10}


class TestOfGradients:
    def store(self, path, rows, copies=1, augmentations=()):
        attrs = {"run": "a", "seed": 2, "percent": 40, "augmentations": list(augmentations)}
        attrs |= {"images": len(rows) // copies, "copies": copies}
        group = gradient_store.create(path, rows.shape, 64, str(rows.dtype), attrs)
        group["gradient"][:] = rows
        norms = (rows.astype(float) ** 2).sum(1)
        group.create_array("square_norm", data=norms, dimension_names=("sample",))
        return path

    def rows(self, weights, dtype=np.float32):
        return gradients(np.exp(-np.arange(weights) / 2.0), 300, mean=1, dtype=dtype)

    @pytest.mark.parametrize(("weights", "method"), [(200, "exact"), (201, "matrix-free")])
    def test_the_smaller_of_samples_and_weights_chooses_the_method(self, tmp_path, weights, method):
        rows = self.rows(weights, np.float64)
        result = spectrum.of_gradients(self.store(tmp_path / "g", rows), SETTINGS, "cpu")
        assert result.attrs["method"] == method
        assert {"run": "a", "seed": 2, "percent": 40}.items() <= result.attrs.items()
        assert {"images": 300, "copies": 1}.items() <= result.attrs.items()
        assert "augmentations" not in result.dims
        expected = spectrum.summarise(exact(Rows(rows)))
        count = len(result["eigenvalue"])
        np.testing.assert_allclose(result["eigenvalue"][:8], expected["eigenvalue"][:8], rtol=1e-3)
        assert count == weights if method == "exact" else 8 <= count < weights
        assert result.attrs["trace"] == pytest.approx(expected.attrs["trace"], rel=1e-12)
        assert result.attrs["rank_float32"] == expected.attrs["rank_float32"] == 22

    @pytest.mark.parametrize("numbers", [[1, 2, 5], [3, 5], [5]])
    @pytest.mark.parametrize("memory_mib", [10, 0])
    def test_numbers_of_augmentations(self, tmp_path, numbers, memory_mib):
        """60 images in 5 copies, more rows than a shard: each prefix has the D of its own rows."""
        rows = self.rows(40, np.float64)
        rows[:60] *= 3  # so that the answers differ
        settings = SETTINGS | {"memory_mib": memory_mib}
        path = self.store(tmp_path / "g", rows, copies=5, augmentations=numbers)
        result = spectrum.of_gradients(path, settings, "cpu")
        assert list(result["augmentations"].values) == numbers
        each = [spectrum.summarise(exact(Rows(rows[: 60 * a]))).attrs for a in numbers]
        for name, key in (
            ("rank", "rank_float32"),
            ("mean", "mean_all"),
            ("std", "std_all"),
            ("participation_ratio", "participation_ratio"),
        ):
            found = result[f"augmented_{name}"]
            assert found.dims == ("augmentations",)
            np.testing.assert_allclose(found, [its[key] for its in each], rtol=1e-10)
            assert found[-1] == result.attrs[key]
        assert len(set(result["augmented_mean"].values)) == len(numbers)
        assert {"images": 60, "copies": 5, "samples": 300}.items() <= result.attrs.items()
        np.testing.assert_allclose(
            result["eigenvalue"], exact(Rows(rows)).eigenvalue, rtol=1e-9, atol=1e-12
        )
        assert "gradient squared" in result["augmented_mean"].attrs["units"]

    def test_prefixes_by_the_matrix_free_method(self, tmp_path):
        rows = self.rows(201, np.float64)
        settings = SETTINGS | {"exact_up_to": 100}
        path = self.store(tmp_path / "g", rows, copies=2, augmentations=[1, 2])
        result = spectrum.of_gradients(path, settings, "cpu")
        assert result.attrs["method"] == "matrix-free"
        expected = [spectrum.summarise(exact(Rows(part))).attrs for part in (rows[:150], rows)]
        ranks = [its["rank_float32"] for its in expected]
        assert list(result["augmented_rank"]) == ranks
        means = [its["mean_all"] for its in expected]
        np.testing.assert_allclose(result["augmented_mean"], means, rtol=1e-12)

    @pytest.mark.parametrize("weights", [200, 201])
    def test_memory_does_not_change_the_result(self, tmp_path, weights):
        path = self.store(tmp_path / "g", self.rows(weights))
        one, other = (
            spectrum.of_gradients(path, SETTINGS | {"memory_mib": m}, "cpu") for m in (10, 0)
        )
        assert one.attrs["method"] == other.attrs["method"]
        np.testing.assert_allclose(one["eigenvalue"], other["eigenvalue"], rtol=1e-6, atol=1e-9)

    def test_a_spectrum_that_needs_the_exact_method(self, tmp_path, capsys):
        rows = gradients(np.arange(1.0, 202) ** -0.5, 300)
        path = self.store(tmp_path / "g", rows)
        result = spectrum.of_gradients(path, SETTINGS, "cpu")
        assert result.attrs["method"] == "exact"
        assert "exact method instead" in capsys.readouterr().err
        assert np.array_equal(result["eigenvalue"], exact(Rows(rows)).eigenvalue)
        with pytest.raises(spectrum.krylov.UnresolvedError, match="exact_up_to of at least 201"):
            spectrum.of_gradients(path, SETTINGS | {"memory_mib": 0}, "cpu")

    def damage(self, path, how):
        shard = path / "gradient/c/1/0"
        if how == "a shard is missing":
            shard.unlink()
        elif how == "a shard is cut off":
            shard.write_bytes(shard.read_bytes()[:-30])
        elif how == "a shard is full of zeros":  # as after a power cut
            shard.write_bytes(bytes(shard.stat().st_size))
        elif how == "a byte is changed":
            content = bytearray(shard.read_bytes())
            content[10_002] ^= 0x40  # the exponent of a number
            shard.write_bytes(content)
        elif how == "an array is missing":
            (path / "square_norm/zarr.json").unlink()
        elif how == "the norms are missing":
            (path / "square_norm/c/0").unlink()
        elif how == "a description is cut off":
            (path / "gradient/zarr.json").write_text('{"shape": [')
        elif how == "a row is NaN":
            zarr.open_group(path)["gradient"][70, 3] = np.nan

    @pytest.mark.parametrize(
        "how",
        [
            "a shard is missing",
            "a shard is cut off",
            "a shard is full of zeros",
            "a byte is changed",
            "an array is missing",
            "a description is cut off",
            "a row is NaN",
        ],
    )
    @pytest.mark.parametrize("weights", [40, 201])
    def test_damaged_gradients_are_refused(self, tmp_path, how, weights):
        path = self.store(tmp_path / "g", self.rows(weights))
        spectrum.of_gradients(path, SETTINGS, "cpu")
        self.damage(path, how)
        refused = StorageError, SpectrumError
        with pytest.raises(refused, match=r"Delete .*start"):
            spectrum.of_gradients(path, SETTINGS, "cpu")

    def test_no_gradients_at_all(self, tmp_path):
        with pytest.raises(StorageError, match=r"nowhere.*made anew"):
            spectrum.of_gradients(tmp_path / "nowhere", SETTINGS, "cpu")
