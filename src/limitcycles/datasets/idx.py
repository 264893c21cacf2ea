"""The IDX format of the MNIST files, read strictly and written.

An IDX file is two zero bytes, a type code, the number of dimensions, each dimension as a big-endian
uint32, then the numbers in C order, big-endian.
"""

import gzip
import hashlib
import io
import struct
import zlib
from collections.abc import Iterable

import numpy as np

from limitcycles.datasets.errors import ContentError

_TYPES = {
    0x08: np.dtype("u1"),
    0x09: np.dtype("i1"),
    0x0B: np.dtype(">i2"),
    0x0C: np.dtype(">i4"),
    0x0D: np.dtype(">f4"),
    0x0E: np.dtype(">f8"),
}


def decode(content: bytes) -> np.ndarray:
    """The array in an IDX file, in native byte order; a read-only view where the bytes allow it.

    Raises
    ------
    ContentError
        The magic number is wrong, the header is cut off, or the length is not exactly what the
        header says.
    """
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in _TYPES or content[3] == 0:
        raise ContentError(f"it is not an IDX file: it starts with the bytes {content[:4].hex()}")
    dtype, dimensions = _TYPES[content[2]], content[3]
    start = 4 + 4 * dimensions
    if len(content) < start:
        raise ContentError(f"its header is cut off after {len(content)} of {start} bytes")
    shape = struct.unpack(f">{dimensions}I", content[4:start])
    expected = start + int(np.prod(shape, dtype=object)) * dtype.itemsize
    if len(content) != expected:
        raise ContentError(
            f"it has {len(content)} bytes, its header (shape {shape}) says {expected}"
        )
    array = np.frombuffer(content, dtype, offset=start).reshape(shape)
    return array.astype(dtype.newbyteorder("="), copy=False)


def encode(array: np.ndarray) -> bytes:
    """The IDX file of an array of uint8, int8, int16, int32, float32 or float64."""
    for code, dtype in _TYPES.items():
        if dtype == array.dtype.newbyteorder(">"):
            header = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
            return header + array.astype(dtype, order="C", copy=False).tobytes()
    raise ContentError(f"an IDX file cannot hold {array.dtype}")


def gunzip(content: bytes, limit: int) -> bytes:
    """What a gzip file holds, at most `limit` bytes, of one member or of several in a row.

    Raises
    ------
    ContentError
        It is no gzip file, is cut off, fails a checksum, has something after its end, or unpacks
        to more than `limit` bytes.
    """
    try:
        with gzip.open(io.BytesIO(content)) as file:
            unpacked = file.read(limit + 1)
    except EOFError as error:
        raise ContentError("it is a gzip file that is cut off") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise ContentError(f"it is not a sound gzip file ({error})") from error
    if len(unpacked) > limit:
        raise ContentError(f"it unpacks to more than the expected {limit} bytes")
    return unpacked


def digest(arrays: Iterable[np.ndarray]) -> str:
    """SHA-256 of arrays in their order: of the SHA-256 of each as an IDX file, one hex line each.

    The shell computes the same from the four files, whatever delivered them:

        sha256sum train-images-idx3-ubyte train-labels-idx1-ubyte \\
            t10k-images-idx3-ubyte t10k-labels-idx1-ubyte | cut -c-64 | sha256sum
    """
    lines = (f"{hashlib.sha256(encode(array)).hexdigest()}\n" for array in arrays)
    return hashlib.sha256("".join(lines).encode()).hexdigest()
