"""Names beside marks: they cover neither each other nor the marks, where there is room."""

import numpy as np
import pytest

from limitcycles.charts import labels

NONE = np.empty((0, 2))


def boxes(centres, names):
    half = [np.array([labels.LETTER * len(name), labels.LINE]) / 2 for name in names]
    return [(c - h, c + h) for c, h in zip(centres, half, strict=True)]


def cover(one, other):
    return bool(np.all(np.maximum(one[0], other[0]) < np.minimum(one[1], other[1]) - 1e-9))


@pytest.mark.parametrize("seed", range(5))
def test_thirteen_names_in_one_panel(seed):
    generator = np.random.default_rng(seed)
    marks = generator.uniform(20, [360, 310], size=(13, 2))
    names = [f"cnn-{k}-shallow"[: 5 + k % 9] for k in range(13)]
    centres, ends = labels.place(marks, names, NONE, 380, 330)
    found = boxes(centres, names)
    for i, box in enumerate(found):
        assert np.all(box[0] >= 0)
        assert np.all(box[1] <= [380, 330])
        assert not any(cover(box, other) for other in found[:i])
        assert not any(cover(box, (mark - 7, mark + 7)) for mark in marks)
        assert np.all((ends[i] >= box[0] - 1e-9) & (ends[i] <= box[1] + 1e-9))


def test_a_lone_name_stands_to_the_right_and_at_the_edge_to_the_left():
    centres, ends = labels.place(np.array([[100.0, 50.0]]), ["fc-8"], NONE, 380, 330)
    half = labels.LETTER * 2
    assert centres[0] == pytest.approx([100 + 11 + half, 50])
    assert ends[0] == pytest.approx([111, 50])
    centres, _ = labels.place(np.array([[375.0, 50.0]]), ["fc-8"], NONE, 380, 330)
    assert centres[0] == pytest.approx([375 - 11 - half, 50])


def test_marks_without_a_name_are_kept_free():
    others = np.array([[125.0, 50.0], [75.0, 50.0]])
    centres, _ = labels.place(np.array([[100.0, 50.0]]), ["fc-8"], others, 380, 330)
    assert centres[0][0] == 100
    assert centres[0][1] < 40
