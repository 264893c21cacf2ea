"""The registry of studies."""

import pytest

from limitcycles.judging import studies
from limitcycles.runtime.errors import LimitcyclesError


def test_an_unknown_study_is_named():
    with pytest.raises(LimitcyclesError, match=r"'nowhere'; known: .*linear_decomposition"):
        studies.run("nowhere", {})
