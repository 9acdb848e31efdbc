"""A test that hangs fails with its name and the stacks of all threads, and the tests after it run.

What a test waits for has limits of its own, far below this one. TEST_LIMIT is in seconds, 0 for none. The alarm comes
again and again: an `except` that is too wide, or a callback of an event loop, may swallow the first. Where even that
does not help, faulthandler_timeout of setup.cfg at least says where it hangs.
"""

import contextlib
import faulthandler
import os
import signal
import threading
from collections.abc import Iterator

import pytest

LIMIT = float(os.environ.get("TEST_LIMIT", "420"))
_AGAIN = 20.0


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    """Bound the fixtures."""
    with _alarm(item):
        yield


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Bound the test itself."""
    with _alarm(item):
        yield


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """Bound what is done at the end."""
    with _alarm(item):
        yield


@contextlib.contextmanager
def _alarm(item: pytest.Item) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(*_: object) -> None:
        faulthandler.dump_traceback(2)
        pytest.fail(f"{item.nodeid} has not ended after {LIMIT:.0f} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, LIMIT, _AGAIN)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
