"""One seed, and a random stream of its own for each purpose."""

import zlib

import numpy as np


def stream(seed: int, purpose: str) -> int:
    """Seed of the generator for one purpose ("initialisation", "sampler", "dropout")."""
    sequence = np.random.SeedSequence([seed, zlib.crc32(purpose.encode())])
    return int(sequence.generate_state(1, np.uint64)[0] >> 1)
