"""The zoo of small networks."""

import network_zoo as zoo
import pytest
import torch


def test_the_zoo_is_large():
    assert len(zoo.RIGHT) >= 60
    assert len(zoo.REFUSED) >= 30
    assert not zoo.RIGHT.keys() & zoo.REFUSED.keys()


@pytest.mark.parametrize("name", zoo.RIGHT)
def test_what_is_right_runs(name):
    torch.manual_seed(0)
    inputs, labels = zoo.data(name)
    logits = zoo.build(name).eval()(inputs)
    assert logits.ndim == 2
    assert logits.shape[0] == len(inputs)
    assert logits.shape[1] > labels.max()
    assert torch.isfinite(logits).all()
