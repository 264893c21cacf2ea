"""What all bad inputs have in common: one sentence for each thing to mend, and no traceback."""

import pytest

from limitcycles.runtime.errors import LimitcyclesError


def refusal(call) -> list[str]:
    """The lines of the error that `call` ends with: LimitcyclesError and nothing else."""
    with pytest.raises(LimitcyclesError) as caught:
        call()
    text = str(caught.value)
    assert "Traceback" not in text
    assert "\n\n" not in text
    return text.splitlines()


def says(line: str, words: list[str]) -> None:
    """All `words` are in `line`."""
    missing = [word for word in words if word not in line]
    assert not missing, line
