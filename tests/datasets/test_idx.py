import gzip
import hashlib
import struct

import numpy as np
import pytest

from limitcycles.datasets import idx
from limitcycles.datasets.catalogue import FASHION_MNIST, MNIST
from limitcycles.datasets.errors import ContentError

LABELS = struct.pack(">BBBBI", 0, 0, 8, 1, 3) + bytes([7, 8, 9])


def test_decode_reads_the_format_byte_by_byte():
    np.testing.assert_array_equal(idx.decode(LABELS), np.array([7, 8, 9], np.uint8))
    short = struct.pack(">BBBBII", 0, 0, 0x0B, 2, 1, 2) + struct.pack(">hh", -2, 300)
    np.testing.assert_array_equal(idx.decode(short), [[-2, 300]])
    assert idx.decode(short).dtype == np.int16


@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "i4", "f4", "f8"])
def test_encode_is_the_inverse_of_decode(dtype):
    array = np.arange(24, dtype=dtype).reshape(2, 3, 4)
    back = idx.decode(idx.encode(array))
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)


def test_encode_refuses_a_type_the_format_lacks():
    with pytest.raises(ContentError, match="int64"):
        idx.encode(np.zeros(3, np.int64))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an IDX file"),
        (b"<html>not found</html>", "not an IDX file.*3c68746d"),
        (b"\0\0\x07\x01" + LABELS[4:], "not an IDX file"),
        (b"\0\0\x08\x00", "not an IDX file"),
        (LABELS[:6], "cut off after 6 of 8 bytes"),
        (LABELS[:-1], "10 bytes.*says 11"),
        (LABELS + b"\0", "12 bytes.*says 11"),
        # A header that promises more than any memory holds must be refused, not allocated.
        (struct.pack(">BBBB4I", 0, 0, 8, 4, *[2**32 - 1] * 4), "its header"),
    ],
)
def test_decode_refuses_what_is_not_exactly_an_idx_file(content, message):
    with pytest.raises(ContentError, match=message):
        idx.decode(content)


@pytest.mark.parametrize("cut", [0, 4, len(LABELS)])
def test_gunzip_reads_all_members(cut):
    packed = gzip.compress(LABELS[:cut]) + gzip.compress(LABELS[cut:])
    assert idx.gunzip(gzip.compress(LABELS), len(LABELS)) == LABELS
    assert idx.gunzip(packed, len(LABELS)) == LABELS
    assert idx.gunzip(packed + bytes(512), len(LABELS)) == LABELS  # as written in blocks to a tape


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda packed: b"plain text", "not a sound gzip file"),
        (lambda packed: packed[:-3], "cut off"),
        (lambda packed: packed[:-8] + b"\0\0\0\0" + packed[-4:], "not a sound gzip file"),
        (lambda packed: packed + b"more", "not a sound gzip file"),
        (lambda packed: packed + packed, "more than the expected 11"),
        (lambda packed: packed + packed[:5], "cut off"),
        (lambda packed: gzip.compress(LABELS + b"\0"), "more than the expected 11"),
        (lambda packed: gzip.compress(bytes(10_000_000)), "more than the expected 11"),
    ],
)
def test_gunzip_refuses_a_spoilt_file(spoil, message):
    with pytest.raises(ContentError, match=message):
        idx.gunzip(spoil(gzip.compress(LABELS)), len(LABELS))


def test_digest_is_what_the_shell_computes():
    one, two = np.array([7, 8, 9], np.uint8), np.zeros((2, 2), np.float32)
    lines = "".join(hashlib.sha256(idx.encode(a)).hexdigest() + "\n" for a in (one, two))
    assert idx.digest([one, two]) == hashlib.sha256(lines.encode()).hexdigest()
    assert idx.digest([two, one]) != idx.digest([one, two])


@pytest.mark.parametrize("entry", [MNIST, FASHION_MNIST], ids=lambda entry: entry.name)
def test_catalogue_constants_agree_with_each_other(entry):
    listing = "".join(f"{file.sha256}\n" for file in entry.files)
    assert entry.sha256 == hashlib.sha256(listing.encode()).hexdigest()
    assert [file.size for file in entry.files] == [47_040_016, 60_008, 7_840_016, 10_008]
