"""How this process treats freed memory."""

import ctypes
import sys

# Parameters of mallopt(3) in glibc.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3


def keep_freed() -> bool:
    """Let glibc keep freed blocks instead of giving them back to the system; False elsewhere.

    Activations of a few hundred kilobytes come and go with each operation. Given back, each of
    them costs a page fault for every 4 KiB when it comes again: a third of the time of small
    networks, measured. The process then holds on to its peak, which these jobs reach anyway.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):  # another C library, such as musl
        return False
    largest = 2**31 - 1
    settings = ((_MMAP_THRESHOLD, 2**30), (_TRIM_THRESHOLD, largest), (_TOP_PAD, 2**26))
    results = [mallopt(parameter, value) for parameter, value in settings]
    return all(results)
