"""What a caption leaves to λ_max, against spectra that satisfy it and against convex programs."""

from itertools import product

import numpy as np
import pytest
from scipy.optimize import linprog, minimize

from limitcycles.papers.chaudhari2018.rank import printed_moments
from limitcycles.papers.chaudhari2018.rank.printed_moments import READINGS, Caption

FIGURES = {
    "1a": (13338, 1.8, 0.3e-3, 2.11e-3),
    "1b": (3978, 0.6, 0.9e-3, 18.5e-3),
    "2a": (26982, 0.34, 0.27, 0.84),
    "2b": (29412, 0.47, 0.98, 2.16),
    "2c": (26982, 0.32, 0.43, 1.32),
}
SHAPES = [(6, 3, 0.2), (5, 1, 0.3), (7, 2, 0.05), (4, 4, 0.1)]  # d, r, τ


def spectra(weights, rank, tau, count, seed=0):
    """Random spectra with `rank` eigenvalues above τ λ_max, of all kinds: many at their bounds."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        top = 10 ** rng.uniform(-2, 2)
        power = 10 ** rng.uniform(-1.5, 1.5, size=2)
        large = tau + (1 - tau) * rng.random(rank) ** power[0]
        large[rng.random(rank) < 0.2] = 1.0
        large[0] = 1.0
        small = tau * rng.random(weights - rank) ** power[1]
        small[rng.random(weights - rank) < 0.2] = 0.0
        yield top * np.maximum(large, tau * (1 + 1e-12)), top * small


def averaged(large, small, tau, reading):
    """The eigenvalues that a reading takes mean and std of."""
    below = {"all": small, "clipped": np.full(len(small), tau * large[0]), "above": []}[reading]
    return np.concatenate([large, below])


def bounds(caption, reading, top):
    """Lower and upper bounds of the eigenvalues that are averaged, the largest of them fixed."""
    cut = caption.threshold * top
    large = [(top, top)] + [(cut, top)] * (caption.rank - 1)
    below = {"all": [(0, cut)], "clipped": [(cut, cut)], "above": []}[reading]
    return np.array(large + below * caption.below)


def vertices(box, total):
    """All points with this sum of which all coordinates but one stand at their bounds."""
    for free in range(len(box)):
        others = np.delete(box, free, axis=0)
        for chosen in product(*others):
            value = total - sum(chosen)
            if box[free, 0] - 1e-12 <= value <= box[free, 1] + 1e-12:
                yield [*chosen, value]


class TestSquareSums:
    @pytest.mark.parametrize("reading", READINGS)
    @pytest.mark.parametrize(("weights", "rank", "tau"), SHAPES)
    def test_largest_by_vertices_and_smallest_by_a_convex_program(
        self, weights, rank, tau, reading
    ):
        rng = np.random.default_rng(rank)
        for large, small in spectra(weights, rank, tau, 6, seed=1):
            values = averaged(large, small, tau, reading)
            caption = Caption(weights, rank, values.mean(), values.std(), tau)
            top = large[0] * rng.uniform(0.8, 1.2)
            least, most = printed_moments.square_sums(caption, reading, top)
            box, total = bounds(caption, reading, top), values.sum()
            if not box[:, 0].sum() <= values.sum() <= box[:, 1].sum():
                assert np.isnan([least, most]).all()
                continue
            assert most == pytest.approx(
                max(np.square(v).sum() for v in vertices(box, values.sum()))
            )
            share = (values.sum() - box[:, 0].sum()) / max(np.ptp(box, axis=1).sum(), 1e-300)
            found = minimize(
                lambda x: np.sum(x**2),
                box[:, 0] + share * (box[:, 1] - box[:, 0]),
                jac=lambda x: 2 * x,
                bounds=box,
                constraints={"type": "eq", "fun": lambda x, s=total: x.sum() - s},
                options={"ftol": 1e-14, "maxiter": 500},
            )
            assert least == pytest.approx(found.fun, rel=1e-5)

    def test_by_hand(self):
        # Four eigenvalues with λ_max = 1 and c = 0.5, two above c; sum 2.
        caption = Caption(4, 2, 0.5, 1.0, 0.5)
        least, most = printed_moments.square_sums(caption, "all", 1.0)
        assert least == pytest.approx(1 + 0.25 + 2 * 0.25**2)  # 0.5 and twice 0.25
        assert most == pytest.approx(2)  # 1 and twice 0
        least, most = printed_moments.square_sums(Caption(4, 2, 0.75, 1.0, 0.5), "clipped", 1.0)
        assert (least, most) == (pytest.approx(2.5), pytest.approx(2.5))  # 1 too, twice c

    def test_an_unknown_reading(self):
        with pytest.raises(KeyError):
            printed_moments.square_sums(Caption(4, 2, 0.5, 1.0, 0.5), "some", 1.0)


class TestLargestEigenvalue:
    @pytest.mark.parametrize("reading", READINGS)
    @pytest.mark.parametrize(("weights", "rank", "tau"), [*SHAPES, (300, 20, 1e-3), (40, 5, 1e-6)])
    def test_spectra_that_satisfy_the_premises_lie_within(self, weights, rank, tau, reading):
        for large, small in spectra(weights, rank, tau, 60):
            values = averaged(large, small, tau, reading)
            caption = Caption(weights, rank, values.mean(), values.std(), tau)
            assert printed_moments.possible(caption, reading, large[0])
            low, high = printed_moments.largest_eigenvalue(caption, reading)
            assert low * (1 - 1e-6) <= large[0] <= high * (1 + 1e-6)

    @pytest.mark.parametrize("reading", READINGS)
    @pytest.mark.parametrize(("weights", "rank", "tau"), SHAPES)
    def test_the_ends_are_where_a_scan_finds_them(self, weights, rank, tau, reading):
        for large, small in spectra(weights, rank, tau, 8, seed=2):
            values = averaged(large, small, tau, reading)
            caption = Caption(weights, rank, values.mean(), values.std(), tau)
            ends = printed_moments.largest_eigenvalue(caption, reading)
            scan = np.geomspace(large[0] / 50, large[0] * 50, 200_001)
            inside = scan[printed_moments.possible(caption, reading, scan)]
            assert printed_moments.possible(caption, reading, ends).all()
            # A single possible point is met by no scan. Outside the ends there is none, but for
            # rounding: at a double root a slack of 1e-9 in the squares is 3e-5 in λ_max.
            assert (inside >= ends[0] * (1 - 1e-4)).all()
            assert (inside <= ends[1] * (1 + 1e-4)).all()

    def test_means_by_hand(self):
        # Only one eigenvalue above: it is the mean, and has no spread.
        assert printed_moments.largest_eigenvalue(Caption(9, 1, 2.0, 0.0, 0.1), "above") == (2, 2)
        assert printed_moments.largest_eigenvalue(Caption(9, 1, 2.0, 0.1, 0.1), "above") is None
        # Clipped with no spread: only c itself can be counted, and λ_max is not.
        assert printed_moments.largest_eigenvalue(Caption(9, 2, 1.0, 0.0, 0.1), "clipped") is None
        # One above c: mean (L + (d − 1) c)/d gives L = d m/(1 + (d − 1) τ).
        clipped = np.array([1.0] + [0.1] * 8)
        ends = printed_moments.largest_eigenvalue(
            Caption(9, 1, clipped.mean(), clipped.std(), 0.1), "clipped"
        )
        assert ends == pytest.approx((1, 1), rel=1e-6)


def relaxed_program(caption, top, points=4001):
    """Whether shares of values in [c, L] can have the caption's moments, reading "above".

    A linear program in the shares, at least one r-th of which is at L; a spectrum is one solution.
    """
    grid = np.linspace(caption.threshold * top, top, points)
    moments = np.array([np.ones(points), grid / top, (grid / top) ** 2])
    wanted = [1, caption.mean / top, (caption.mean**2 + caption.std**2) / top**2]
    lower = np.zeros(points)
    lower[-1] = 1 / caption.rank
    result = linprog(
        np.zeros(points), A_eq=moments, b_eq=wanted, bounds=np.c_[lower, np.ones(points)]
    )
    return result.status == 0


class TestThePapersCaptions:
    @pytest.mark.parametrize("figure", FIGURES)
    def test_rank_and_threshold(self, figure):
        caption = printed_moments.of_paper(*FIGURES[figure])
        assert caption.rank == {"1a": 240, "1b": 24, "2a": 92, "2b": 138, "2c": 86}[figure]
        assert caption.threshold == pytest.approx(caption.weights * 2.0**-23)

    def test_figure_1b_cannot_mean_the_eigenvalues_above_the_threshold(self):
        """Its std is 20.6 times its mean; r values ≥ 0 reach √(r − 1) = 4.8 times at most."""
        numbers = FIGURES["1b"]
        assert printed_moments.range_of_paper(*numbers, "above") is None
        caption = printed_moments.of_paper(*numbers)
        for top in np.geomspace(caption.mean, caption.rank * caption.mean, 12):
            assert not relaxed_program(caption, top)

    @pytest.mark.parametrize("figure", ["1a", "2a", "2b", "2c"])
    def test_the_linear_program_finds_the_others_possible(self, figure):
        caption = printed_moments.of_paper(*FIGURES[figure])
        low, high = printed_moments.largest_eigenvalue(caption, "above")
        assert relaxed_program(caption, np.sqrt(low * high))
        assert not relaxed_program(caption, 1.02 * high)
        assert not relaxed_program(caption, 0.9 * low)

    @pytest.mark.parametrize("figure", ["2a", "2b", "2c"])
    def test_clipped_means_of_figure_2_are_almost_the_threshold(self, figure):
        caption = printed_moments.of_paper(*FIGURES[figure])
        low, high = printed_moments.largest_eigenvalue(caption, "clipped")
        assert caption.threshold * low > 0.8 * caption.mean
        assert caption.threshold * high < caption.mean

    @pytest.mark.parametrize("figure", FIGURES)
    @pytest.mark.parametrize("reading", READINGS)
    def test_all_that_rounds_to_the_caption_lies_within(self, figure, reading):
        weights, *printed = FIGURES[figure]
        halves = {"1a": (0.05, 5e-5, 5e-6), "1b": (0.05, 5e-5, 5e-5)}.get(figure, (0.005,) * 3)
        ends = printed_moments.range_of_paper(weights, *printed, reading)
        rng = np.random.default_rng(0)
        for _ in range(8):
            numbers = np.array(printed) + rng.uniform(-1, 1, 3) * halves
            found = printed_moments.largest_eigenvalue(
                printed_moments.of_paper(weights, *numbers), reading
            )
            if found is not None:
                assert ends[0] * (1 - 1e-3) <= found[0] <= found[1] <= ends[1] * (1 + 1e-3)
            assert (found is None) == (ends is None)


class TestLeastShare:
    @pytest.mark.parametrize(("weights", "rank", "tau"), SHAPES[:3])
    def test_no_spectrum_has_less(self, weights, rank, tau):
        for large, small in spectra(weights, rank, tau, 60, seed=3):
            values = np.concatenate([large, small])
            caption = Caption(weights, rank, values.mean(), values.std(), tau)
            share = printed_moments.least_share_of_threshold(caption)
            assert small.mean() / (tau * large[0]) >= share * (1 - 1e-3) - 1e-3

    def test_it_is_attained(self):
        """Equal eigenvalues below, and equal ones above but for the largest, have the least sum."""
        large, small, tau = np.array([10.0, 3, 3, 3]), np.full(50, 0.35), 0.04
        values = np.concatenate([large, small])
        caption = Caption(54, 4, values.mean(), values.std(), tau)
        share = printed_moments.least_share_of_threshold(caption)
        ends = printed_moments.largest_eigenvalue(caption, "all")
        assert share <= 0.35 / 0.4 * (1 + 1e-6)
        assert share > 0.35 / (tau * ends[1]) * 0.7

    def test_figure_2a_needs_the_others_near_the_threshold(self):
        assert (
            printed_moments.least_share_of_threshold(printed_moments.of_paper(*FIGURES["2a"])) > 0.5
        )

    def test_none_where_the_caption_is_impossible(self):
        assert printed_moments.least_share_of_threshold(Caption(9, 2, 1.0, 99.0, 0.1)) is None
