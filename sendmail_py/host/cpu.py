"""The processor's time of this process: what it has had, and what its main thread was kept waiting for it."""

import time

_PATH = "/proc/self/schedstat"  # nanoseconds on a processor, nanoseconds runnable without one, of the main thread


def wanted_seconds() -> float:
    """Return how long this process has run or could have; on a busy machine that is more than it got."""
    try:
        with open(_PATH, encoding="ascii") as file:
            waited = int(file.read().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):  # a kernel without these statistics
        waited = 0.0
    return time.process_time() + waited
