"""Becoming a daemon, by the python-daemon library (PEP 3143): the one place that imports it."""

from typing import Any, TextIO

from daemon import DaemonContext

_kept: list[Any] = []


def detach(descriptors: list[int], stderr: TextIO) -> None:
    """Leave the terminal, session and directory of the caller; only these descriptors stay open.

    What is written to standard error from now on goes to the file stderr.
    """
    context = DaemonContext(
        working_directory="/", umask=0o077, files_preserve=descriptors, stderr=stderr, detach_process=True
    )
    context.open()
    _kept.append(context)
