"""Progress for a person at a terminal and for a log file."""

import io
import sys

from limitcycles.runtime.progress import track


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_lines_in_a_file(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with track(total=4, unit="image", what="gradients") as bar:
        bar.update(4)
    first, last = sys.stderr.getvalue().splitlines()
    assert first.startswith("gradients:   0%")
    assert last.startswith("gradients: 100%|##########| 4/4 [")
    assert "image/s" in last


def test_one_line_that_moves_at_a_terminal(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert list(track(range(4), unit="image", what="gradients")) == [0, 1, 2, 3]
    assert sys.stderr.getvalue().count("\n") == 1
    assert sys.stderr.getvalue().count("\r") >= 2
    assert "100%|█" in sys.stderr.getvalue()


def test_what_goes_on_says_where(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with track(total=4, unit="epoch", what="fc-8 seed 0", done=3) as bar:
        bar.update()
    line, first, last = sys.stderr.getvalue().splitlines()
    assert line == "fc-8 seed 0, continued at epoch 4"
    assert first.startswith(f"{line}:  75%")
    assert last.startswith(f"{line}: 100%")


def test_what_had_ended_does_not_go_on(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with track(total=4, unit="epoch", what="fc-8 seed 0", done=4):
        pass
    assert "continued" not in sys.stderr.getvalue()
