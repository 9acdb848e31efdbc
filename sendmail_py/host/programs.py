"""Running another program for a user: never as root, with nothing of ours but three descriptors.

The child is a session and a process group of its own, so that it can be ended with all it
started. Between fork and exec it only makes system calls whose arguments were prepared before;
what fails there becomes a line of its output and an exit status, as with a shell.
"""

import contextlib
import errno
import os
import resource
import signal
from dataclasses import dataclass

from ..core.exitcodes import EX_TEMPFAIL
from .users import User

PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"
SHELL = "/bin/sh"
NOT_FOUND, NOT_EXECUTABLE = 127, 126
_PLAIN = frozenset("1234567890!@%-_=+:,./abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ \t")
_DEFAULTED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ)
_NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.EACCES)
_MAY_PASS = (errno.EAGAIN, errno.ENOMEM, errno.ETXTBSY, errno.EMFILE, errno.ENFILE, errno.EIO, errno.ESTALE)


@dataclass(frozen=True, slots=True)
class Command:
    """What to run: the line as it was written, its environment, its directory, as whom.

    user is None where this process is the user already. Files that it writes may have
    file_limit octets (0: any number), and it may open as many files as we once could. Programs of
    the same user and share count together where few may run at once. must_enter: without its
    directory it does not run. shell is a command that gets the line as its last word, always.
    """

    line: str
    environment: dict[str, str]
    directory: str
    user: User | None
    file_limit: int = 0
    share: str = ""
    must_enter: bool = False
    shell: str = ""


@dataclass(slots=True)
class Child:
    """A running program: its process, a descriptor that is readable when it has ended, and its output."""

    pid: int
    pidfd: int
    output: int


def candidates(line: str, named_shell: str = "") -> list[tuple[str, list[str]]]:
    """Return what to execute, in order: the program itself if no shell is needed, then the shell."""
    if named_shell:
        words = named_shell.split()
        return [(words[0], [*words, line])]
    shell = (SHELL, ["sh", "-c", line])
    words = line.split() if _PLAIN.issuperset(line) else []
    if not words:
        return [shell]
    if "/" in words[0]:
        return [(words[0], words)]
    return [(f"{directory}/{words[0]}", words) for directory in PATH.split(":")] + [shell]


def start(command: Command, standard_input: int) -> Child:
    """Start a program with this descriptor as its input; raises OSError, and ValueError for a user who is root."""
    if os.getuid() == 0 and (command.user is None or command.user.uid == 0):
        raise ValueError("a program is never run as root")
    os.close(os.pidfd_open(os.getpid()))  # where this is not allowed, nothing has begun yet
    prepared = _prepare(command)
    output, theirs = os.pipe2(os.O_CLOEXEC)
    pid = 0
    try:
        pid = os.fork()
        if not pid:
            _be_the_program(prepared, command.user if os.getuid() == 0 else None, standard_input, theirs)
        child = Child(pid, os.pidfd_open(pid), output)
    except BaseException:
        os.close(output)
        if pid:
            end_group(pid)
            os.waitpid(pid, 0)
        raise
    finally:
        os.close(theirs)
    os.set_blocking(output, False)
    return child


def end_group(pid: int) -> None:
    """Kill a program with all of its process group; it must not have been waited for."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)  # before its setsid() it is no group


def exit_code(pid: int) -> int:
    """Return the exit status of a program that has ended (negative: a signal), which stays a zombie."""
    ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert ended is not None
    return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A command in the octets that the system calls take, so that the child has nothing to work out."""

    candidates: list[tuple[bytes, list[bytes]]]
    environment: dict[bytes, bytes]
    directory: bytes
    must_enter: bool
    limits: list[tuple[int, tuple[int, int]]]
    descriptors: int


def _prepare(command: Command) -> _Prepared:
    ways = candidates(command.line, command.shell)
    found = [(os.fsencode(path), [os.fsencode(word) for word in words]) for path, words in ways]
    environment = {os.fsencode(name): os.fsencode(value) for name, value in command.environment.items()}
    limits = [(resource.RLIMIT_CORE, (0, 0)), (resource.RLIMIT_NOFILE, _original_files())]
    if command.file_limit:
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        limit = command.file_limit if hard == resource.RLIM_INFINITY else min(hard, command.file_limit)
        limits.append((resource.RLIMIT_FSIZE, (limit, limit)))
    return _Prepared(
        found, environment, os.fsencode(command.directory or "/"), command.must_enter, limits, _open_files()
    )


def _open_files() -> int:
    """Return a number above every descriptor that this process may have."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return 1 << 20 if soft == resource.RLIM_INFINITY else soft


def _original_files() -> tuple[int, int]:
    """Return the usual limit of open files: programs that loop over all of them should not take long."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return (1024 if hard == resource.RLIM_INFINITY else min(1024, hard)), hard


def _be_the_program(prepared: _Prepared, user: User | None, standard_input: int, output: int) -> None:
    """Become the program; never returns."""
    code = EX_TEMPFAIL
    try:
        os.setsid()
        for number, descriptor in enumerate((standard_input, output, output)):
            os.dup2(descriptor, number, inheritable=True)
        os.closerange(3, prepared.descriptors)
        for number in _DEFAULTED:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        for kind, limit in prepared.limits:
            resource.setrlimit(kind, limit)
        os.umask(0o077)
        if user is not None:
            _become(user)
        try:
            os.chdir(prepared.directory)
        except OSError:
            if prepared.must_enter:
                raise
            os.chdir("/")
        code = _execute(prepared)
    except BaseException as error:
        os.write(2, f"cannot be started: {error}\n".encode(errors="replace"))
    finally:
        os._exit(code)


def _become(user: User) -> None:
    groups = list(user.groups) or [user.gid]
    os.setgroups(groups)
    os.setresgid(user.gid, user.gid, user.gid)
    os.setresuid(user.uid, user.uid, user.uid)
    if os.getresuid() != (user.uid,) * 3 or os.getresgid() != (user.gid,) * 3 or set(os.getgroups()) != set(groups):
        raise OSError(errno.EPERM, f"could not become uid {user.uid}")


def _execute(prepared: _Prepared) -> int:
    """Execute the first candidate that there is; returns the exit status when none can be."""
    code = NOT_FOUND
    for path, words in prepared.candidates:
        try:
            os.execve(path, words, prepared.environment)
        except OSError as error:
            if error.errno in _NOT_THERE and path != prepared.candidates[-1][0]:
                continue
            os.write(2, b"%s: %s\n" % (path, os.strerror(error.errno or 0).encode()))
            if error.errno in _MAY_PASS:
                return EX_TEMPFAIL
            code = NOT_FOUND if error.errno in (errno.ENOENT, errno.ENOTDIR) else NOT_EXECUTABLE
            break
    return code
