"""The event loop of a service with many connections: uvloop where it is installed, and descriptors enough."""

import asyncio
import importlib
import resource
from collections.abc import Callable

_DESCRIPTORS = 16384


def allow_descriptors() -> None:
    """Raise the soft limit of descriptors as far as the hard one allows: clients, and batches of up to 64 files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(_DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """Return what makes an event loop."""
    try:
        factory: Callable[[], asyncio.AbstractEventLoop] = importlib.import_module("uvloop").new_event_loop
    except ImportError:
        return asyncio.new_event_loop
    return factory
