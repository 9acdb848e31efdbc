"""Becoming a daemon, by the python-daemon library (PEP 3143): the one place that imports it."""

from typing import Any

from daemon import DaemonContext

_kept: list[Any] = []


def detach(descriptors: list[int]) -> None:
    """Leave the terminal, session and directory of the caller; only these descriptors stay open."""
    context = DaemonContext(working_directory="/", umask=0o077, files_preserve=descriptors, detach_process=True)
    context.open()
    _kept.append(context)
