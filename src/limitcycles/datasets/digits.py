"""The 8x8 digits that ship inside scikit-learn: real data with no download."""

import numpy as np
from sklearn.datasets import load_digits

from limitcycles.datasets import idx
from limitcycles.datasets.errors import DatasetError

LICENCE = "CC BY 4.0"
CITATION = "Optical Recognition of Handwritten Digits: Alpaydin and Kaynak (1998)"
TRAIN = 1_437
# idx.digest of the four arrays that `load` returns.
SHA256 = "f4d72ddf875daa57413664996235f2f333515a69b6db9b53ee206ad78e1653a0"


def load() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Train images, train labels, test images, test labels, all uint8.

    1,797 images of 8x8 pixels, in the order of the file: the first 1,437 train, the last 360 test
    (80 and 20 %). Neighbours in the file tend to be by the same writer, so this split is a little
    harder than a random one. The file counts ink from 0 to 16; here that is 0 to 255, rounded to
    whole grey levels, so that every built-in dataset is bytes.

    Raises
    ------
    DatasetError
        The installed scikit-learn ships other data.
    """
    images, labels = load_digits(return_X_y=True)
    grey = np.rint(images.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    labels = labels.astype(np.uint8)
    arrays = (grey[:TRAIN], labels[:TRAIN], grey[TRAIN:], labels[TRAIN:])
    found = idx.digest(arrays)
    if found != SHA256:
        raise DatasetError(
            f"digits: the installed scikit-learn ships other data (SHA-256 {found}, expected "
            f"{SHA256}): install the version in the constraints file."
        )
    return arrays
