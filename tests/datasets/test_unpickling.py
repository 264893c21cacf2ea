import os
import pickle

import numpy as np
import pytest
import small_cifar

from limitcycles.datasets import catalogue, unpickling
from limitcycles.datasets.errors import ContentError, SourceError
from limitcycles.datasets.sources import PackedFolder

BATCH = {"data": np.arange(12, dtype=np.uint8).reshape(3, 4), "labels": [1, 2, 3], "name": "a"}


def test_a_pickle_of_python_2_and_numpy_1_is_read():
    content = small_cifar.python2_pickle(BATCH)
    assert b"cnumpy.core.multiarray\n_reconstruct" in content
    found = unpickling.load(content)
    np.testing.assert_array_equal(found.pop(b"data"), BATCH["data"])
    assert found == {b"labels": [1, 2, 3], b"name": b"a"}


@pytest.mark.parametrize("protocol", [3, 4])
def test_a_pickle_of_today_is_read(protocol):
    found = unpickling.load(pickle.dumps(BATCH, protocol=protocol))
    np.testing.assert_array_equal(found["data"], BATCH["data"])
    assert found["labels"] == [1, 2, 3]


class Calls:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def malicious(path):
    """Pickles that make a file when they are read, each in its own way."""
    return {
        "posix.system": Calls(os.system, f"touch {path}"),
        "builtins.exec": Calls(exec, f"open({str(path)!r}, 'w')"),
        "builtins.getattr": Calls(getattr, np.zeros(1), "tofile"),
        "numpy.fromfile": Calls(np.fromfile, str(path)),
        "numpy.save": Calls(np.save, str(path), 1),
    }


@pytest.mark.parametrize("name", malicious("x"))
@pytest.mark.parametrize("protocol", [2, 4])
def test_a_malicious_pickle_runs_nothing(tmp_path, name, protocol):
    path = tmp_path / "made"
    content = pickle.dumps({"data": malicious(path)[name]}, protocol=protocol)
    with pytest.raises(ContentError, match="which is never run"):
        unpickling.load(content)
    assert not path.exists()
    if name == "posix.system":  # the pickle does do harm elsewhere
        pickle.loads(content)
        assert path.exists()


def test_a_dotted_name_does_not_lead_out_of_what_is_allowed():
    content = b"\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93."
    assert pickle.loads(content) is np.ndarray.tofile
    with pytest.raises(ContentError, match=r"numpy\.ndarray\.tofile, which is never run"):
        unpickling.load(content)


@pytest.mark.parametrize("content", [b"", b"junk", pickle.dumps(BATCH)[:-5], b"\x80\x02cnumpy\n"])
def test_what_is_no_pickle_is_refused(content):
    with pytest.raises(ContentError, match="not a sound pickle"):
        unpickling.load(content)


def test_a_pickle_of_another_sum_is_not_even_opened(tmp_path, monkeypatch):
    packing = catalogue.CIFAR100.packings[1]
    folder = tmp_path / packing.folder
    folder.mkdir()
    made = tmp_path / "made"
    (folder / "train").write_bytes(pickle.dumps(Calls(os.system, f"touch {made}")))
    monkeypatch.setattr(unpickling, "load", lambda content: pytest.fail("it was opened"))
    source = PackedFolder(tmp_path, catalogue.CIFAR100.packings)
    with pytest.raises(SourceError, match="train: MD5 is"):
        list(source.deliver(catalogue.CIFAR100.files, lambda line: None))
    assert not made.exists()


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ([1], "has not the keys data, labels"),
        ({"data": BATCH["data"]}, "has not the keys data, labels"),
        ({"data": [1], "labels": [1]}, "not an array of pixels"),
        ({"data": BATCH["data"], "labels": "123"}, "not an array of pixels and lists"),
        ({"data": BATCH["data"], "labels": [1] * 10}, "not uint8 of shape"),
        ({"data": np.zeros((10, 3072), "i4"), "labels": [1] * 10}, "int32 of shape"),
    ],
)
def test_a_pickle_of_something_else_is_refused(batch, message):
    small = small_cifar.small_cifar10()
    file, layout = small.catalogue.files[0], small.catalogue.packings[1].layout
    content = small_cifar.python2_pickle(batch)
    object.__setattr__(file, "md5", small_cifar.hashlib.md5(content).hexdigest())
    with pytest.raises(ContentError, match=message):
        layout.deliver(file, lambda name, limit: content)
