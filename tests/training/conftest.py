import pytest
import small_runs
import torch

from limitcycles.training import sgd


@pytest.fixture
def one_thread():
    """As in the workflow: the order of sums depends on the number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def digits():
    return small_runs.digits()


@pytest.fixture(scope="session")
def large_digits():
    return small_runs.digits(28)


@pytest.fixture
def plans(monkeypatch):
    """The mini-batches of each epoch, as training drew them."""
    seen = []

    def batches(*arguments):
        seen.append(training_batches(*arguments))
        return seen[-1]

    training_batches = sgd.batches
    monkeypatch.setattr(sgd, "batches", batches)
    return seen
