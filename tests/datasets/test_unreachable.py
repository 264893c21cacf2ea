import dataclasses

import pytest
import small_cifar

from limitcycles.datasets import DatasetError, build, catalogue, unreachable
from limitcycles.datasets.errors import UnreachableError

GONE = "http://no-such-host.invalid/"


@pytest.fixture(scope="module")
def small():
    """A small CIFAR-100 whose official host is out of reach."""
    made = small_cifar.small_cifar100()
    packings = tuple(
        dataclasses.replace(one, url=one.url and GONE) for one in made.catalogue.packings
    )
    return dataclasses.replace(
        made, catalogue=dataclasses.replace(made.catalogue, packings=packings)
    )


@pytest.fixture
def ask(small, tmp_path, lines):
    def call(function=unreachable, data_folder=None, entry=small.catalogue, **spec):
        return function(
            {"source": "small", **spec},
            cache=tmp_path / "cache",
            data_folder=data_folder,
            log=lines.append,
            catalogues={"small": entry},
        )

    return call


def test_a_dataset_out_of_reach_has_a_reason_with_a_short_first_line(ask):
    reason = ask(optional=True)
    first, *rest = reason.splitlines()
    assert first == "small: no source could deliver it. Tried:"
    text = "\n".join(rest)
    assert "1. local folder: none is set" in text
    assert f"2. archive {GONE}cifar-100-binary.tar.gz: the host cannot be reached" in text
    assert "put cifar-100-binary.tar.gz or cifar-100-python.tar.gz, or what they unpack to" in text
    with pytest.raises(UnreachableError) as caught:
        ask(build)
    assert str(caught.value) == reason


def test_a_reachable_dataset_is_fetched_into_the_cache(small, web, make_reply, tmp_path, ask):
    packing = small.catalogue.packings[0]
    web.replies[f"/{packing.archive}"] = [make_reply(small.archive(packing))]
    here = dataclasses.replace(packing, url=web.url)
    entry = dataclasses.replace(small.catalogue, packings=(here,))
    assert ask(entry=entry) is None
    assert (tmp_path / "cache" / "small" / "train.bin").read_bytes() == small.binary["train.bin"]
    assert ask() is None  # and now without the host


def test_a_local_folder_is_enough(small, tmp_path, ask):
    packing = small.catalogue.packings[1]
    (tmp_path / packing.archive).write_bytes(small.archive(packing))
    assert ask(data_folder=tmp_path) is None


def test_an_empty_local_folder_leaves_it_out_of_reach(tmp_path, ask):
    assert "it has no cifar-100-binary.tar.gz" in ask(data_folder=tmp_path)


def test_a_damaged_local_file_and_a_folder_that_is_not_there_are_errors(small, tmp_path, ask):
    with pytest.raises(DatasetError, match="absent: there is no such folder"):
        ask(data_folder=tmp_path / "absent", optional=True)
    packing = small.catalogue.packings[0]
    (tmp_path / packing.archive).write_bytes(b"junk")
    with pytest.raises(DatasetError, match=f"{packing.archive}: SHA-256 is") as caught:
        ask(data_folder=tmp_path, optional=True)
    assert not isinstance(caught.value, UnreachableError)


def test_so_it_is_with_idx_files(tiny, tmp_path, ask):
    entry = dataclasses.replace(tiny.catalogue, name="small", npm=None)
    assert "no source could deliver it" in ask(entry=entry, data_folder=tmp_path)
    (tmp_path / entry.files[0].name).write_bytes(b"junk")
    with pytest.raises(DatasetError, match="not an IDX file") as caught:
        ask(entry=entry, data_folder=tmp_path)
    assert not isinstance(caught.value, UnreachableError)


def test_a_wrong_specification_and_a_cache_in_the_way_are_errors(tmp_path, ask):
    with pytest.raises(DatasetError, match='did you mean "pixels"'):
        ask(pixel="raw")
    (tmp_path / "cache").write_text("a file in the way")
    with pytest.raises(DatasetError, match="cannot use the cache"):
        ask()


def test_what_needs_no_source_is_never_out_of_reach(lines):
    assert unreachable({"source": "digits"}, log=lines.append) is None
    assert unreachable({"source": "no_such_module:function"}, log=lines.append) is None
    assert lines == []
    assert set(catalogue.CATALOGUES) == {"mnist", "fashion-mnist", "cifar10", "cifar100"}
