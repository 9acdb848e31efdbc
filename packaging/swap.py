"""Put a new tree in the place of an old one in one step, and the old one where the new one was: swap.py NEW PLACE.

A sendmail that starts meanwhile finds the one or the other. Where the system cannot exchange two names it takes two
steps, with nothing between them, and the old tree is then at NEW.old.
"""

import ctypes
import os
import sys

_HERE = -100  # AT_FDCWD
_EXCHANGE = 2


def swap(new: str, place: str) -> None:
    """Do it; raises OSError."""
    if os.path.lexists(place):
        if _exchanged(new, place):
            return
        os.rename(place, f"{new}.old")
    os.rename(new, place)


def _exchanged(new: str, place: str) -> bool:
    try:
        exchange = ctypes.CDLL(None).renameat2
    except AttributeError:
        return False
    return bool(exchange(_HERE, os.fsencode(new), _HERE, os.fsencode(place), _EXCHANGE) == 0)


if __name__ == "__main__":
    swap(sys.argv[1], sys.argv[2])
