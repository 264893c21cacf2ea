"""Names beside the marks of a scatter chart, placed so that they do not cover each other."""

from collections.abc import Sequence

import numpy as np

LETTER, LINE = 5.7, 13.0  # width of a letter and height of a line at 11 px (px)
_MARK = 7.0  # half the size of a mark (px)
_DISTANCES = (11, 20, 32, 46, 62)  # from the mark to the label (px)
_DIRECTIONS = [(1, 0), (-1, 0), (0, -1), (0, 1), (1, -1), (-1, -1), (1, 1), (-1, 1)]


def place(
    marks: np.ndarray, names: Sequence[str], others: np.ndarray, width: float, height: float
) -> tuple[np.ndarray, np.ndarray]:
    """Where the names of marks stand, one after the other, each where it covers least.

    Parameters
    ----------
    marks
        Shape (n, 2), pixels from the upper left corner of a panel of `width` times `height` pixels.
    names
        One a mark.
    others
        Shape (m, 2), marks without a name, in the same units.

    Returns
    -------
    Centres of the names, and the ends of lines from the marks to them, both of shape (n, 2) in
    pixels.
    """
    boxes = [_box(mark, (_MARK, _MARK)) for mark in [*marks, *others]]
    centres, ends = np.array(marks, dtype=float), np.array(marks, dtype=float)
    for i in np.argsort(marks[:, 0], kind="stable"):
        half = np.array([LETTER * len(names[i]), LINE]) / 2
        best = np.inf
        for distance in _DISTANCES:
            for direction in np.array(_DIRECTIONS, dtype=float):
                centre = marks[i] + direction * (half * np.abs(direction) + distance)
                box = _box(centre, half)
                inside = np.clip(box, 0, [[width, height], [width, height]])
                cost = _area(box) - _area(inside) + sum(_overlap(box, other) for other in boxes)
                if cost < best - 1e-9:
                    best, centres[i] = cost, centre
                    ends[i] = np.clip(marks[i], box[0], box[1])
            if best <= 0:
                break
        boxes.append(_box(centres[i], half))
    return centres, ends


def _box(centre: np.ndarray, half: Sequence[float]) -> np.ndarray:
    return np.array([np.subtract(centre, half), np.add(centre, half)])


def _area(box: np.ndarray) -> float:
    return float(np.prod(np.maximum(box[1] - box[0], 0)))


def _overlap(one: np.ndarray, other: np.ndarray) -> float:
    return _area(np.array([np.maximum(one[0], other[0]), np.minimum(one[1], other[1])]))
