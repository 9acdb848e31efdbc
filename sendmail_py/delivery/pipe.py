"""One message going through one program.

The program reads the whole message from a sealed file in memory, with the lines before it that a
mailbox would have: it can be slow, stop early, or outlive us, and still never sees half a message.
What it says is kept up to a limit, for the report. Nothing here waits: the caller watches pidfd
and output.
"""

import contextlib
import errno
import fcntl
import math
import os
import signal
import time

from ..core.result import DeliveryResult, Settled, after_time_limit, deferred, from_exit_status
from ..formats import mbox
from ..host.programs import Command, end_group, exit_code, start
from .copy import Copy

OUTPUT_LIMIT = 4096
_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


class Program:
    """A program that has been started for one copy of a message; raises Settled when it cannot be.

    It may run for time_limit seconds, 0 is no limit.
    """

    def __init__(self, copy: Copy, command: Command, time_limit: float) -> None:
        self.line = command.line
        self.deadline = time.monotonic() + (time_limit or math.inf)
        self._said = bytearray()
        self._killed = False
        standard_input = _message(copy)
        try:
            child = start(command, standard_input)
        except OSError as error:
            raise Settled(deferred("4.3.0", f"cannot start a program: {error.strerror}")) from error
        except ValueError as error:
            raise Settled(deferred("4.3.5", str(error))) from error
        finally:
            os.close(standard_input)
        self.pid, self.pidfd, self.output = child.pid, child.pidfd, child.output

    def hear(self) -> bool:
        """Take in some of what the program says, for others are waiting, too; False when it says no more."""
        if self.output < 0:
            return False
        try:
            piece = os.read(self.output, 1 << 16)
        except BlockingIOError:
            return True
        if not piece:
            self._close_output()
        self._said += piece[: OUTPUT_LIMIT - len(self._said)]
        return bool(piece)

    def kill(self) -> None:
        """End the program and its process group: it has taken too long."""
        self._killed = True
        end_group(self.pid)

    def stop(self) -> None:
        """Ask the program and its process group to end, because nobody will hear of the result."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGTERM)

    def result(self) -> DeliveryResult:
        """Return what came of it, once pidfd is readable. The process stays until end()."""
        said = _printable(bytes(self._said))
        if self._killed:
            return after_time_limit(said, self.line)
        return from_exit_status(exit_code(self.pid), said, self.line)

    def end(self) -> None:
        """Let go of the process, which has ended, and of its output."""
        self._close_output()
        os.close(self.pidfd)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)

    def _close_output(self) -> None:
        if self.output >= 0:
            os.close(self.output)
            self.output = -1


def _message(copy: Copy) -> int:
    """Return a descriptor from which the message can be read, and never changed; raises Settled."""
    try:
        descriptor = os.memfd_create("message", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            with open(descriptor, "wb", closefd=False) as file:
                file.write(mbox.from_line(copy.delivery.sender, time.localtime()) + copy.fields)
                for piece in copy.pieces():
                    file.write(piece)
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
            os.lseek(descriptor, 0, os.SEEK_SET)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor
    except OSError as error:
        status = "4.3.1" if error.errno in (errno.ENOSPC, errno.ENOMEM) else "4.3.0"
        raise Settled(deferred(status, f"cannot hand the message to a program: {error.strerror}")) from error


def _printable(said: bytes) -> str:
    """Return output as text on one line."""
    text = " ".join(said.decode("utf-8", "replace").split())
    return "".join(c if c.isprintable() else "_" for c in text)
