"""Unix sockets between the processes: JSON records with descriptors, and who is calling.

Records travel over SOCK_SEQPACKET, so a record is whole or absent. Descriptors that come in
are close-on-exec. Paths longer than sun_path holds (107 octets) are reached through
/proc/self/fd/N/name.
"""

import array
import contextlib
import json
import os
import socket
import struct
from collections.abc import Iterator
from typing import Any

RECORD_LIMIT = 200_000
DESCRIPTOR_LIMIT = 64
_BUFFER = 1 << 20
# Worked out once: a record is sent or received for each message, and flags of an enum are slow to join.
_SPACE = socket.CMSG_SPACE(DESCRIPTOR_LIMIT * struct.calcsize("i"))
_CUT = int(socket.MSG_TRUNC) | int(socket.MSG_CTRUNC)
_CLOSED_ON_EXEC = int(socket.MSG_CMSG_CLOEXEC)
_encode = json.JSONEncoder(separators=(",", ":")).encode


def pair() -> tuple[socket.socket, socket.socket]:
    """Return two connected record sockets."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in ends:
        roomy(end)
    return ends


def roomy(end: socket.socket) -> None:
    """Ask for buffers that hold a few records; the kernel may give less."""
    for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
        end.setsockopt(socket.SOL_SOCKET, option, _BUFFER)


def send_record(end: socket.socket, record: object, descriptors: list[int] | None = None) -> None:
    """Send one record with its descriptors; raises OSError (BlockingIOError when full)."""
    data = _encode(record).encode()
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
    end.sendmsg([data], ancillary)


def receive_record(end: socket.socket) -> tuple[Any, list[int]] | None:
    """Receive one record and its descriptors; None when the other side has closed.

    Raises OSError, and ValueError for what is no JSON.
    """
    data, ancillary, flags, _ = end.recvmsg(RECORD_LIMIT, _SPACE, _CLOSED_ON_EXEC)
    descriptors = array.array("i")
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors.frombytes(payload[: len(payload) - len(payload) % descriptors.itemsize])
    if data and not flags & _CUT:
        try:
            return json.loads(data.decode("utf-8", "surrogatepass")), list(descriptors)
        except (ValueError, RecursionError) as error:
            fault = str(error)
    else:
        fault = "record too long" if data else ""
    for descriptor in descriptors:  # also an empty record may carry some
        os.close(descriptor)
    if data:
        raise ValueError(fault)
    return None


def peer(end: socket.socket) -> tuple[int, int]:
    """Return pid and uid of the process that connected the other end (SO_PEERCRED)."""
    pid, uid, _ = struct.unpack("iII", end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("iII")))
    return int(pid), int(uid)


def peer_uid(end: socket.socket) -> int:
    """Return the uid of the process at the other end (SO_PEERCRED)."""
    return peer(end)[1]


def may_steer(uid: int) -> bool:
    """Say whether a caller may steer the services: root, and the user they run as."""
    return uid in (0, os.getuid())


@contextlib.contextmanager
def _short(path: str) -> Iterator[str]:
    if len(os.fsencode(path)) <= 107:
        yield path
        return
    directory, name = os.path.split(path)
    descriptor = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{name}"
    finally:
        os.close(descriptor)


def listen(path: str, mode: int, kind: int = socket.SOCK_SEQPACKET) -> socket.socket:
    """Bind a listening socket (of records) at path, in place of a dead one, with this file mode."""
    end = socket.socket(socket.AF_UNIX, kind | socket.SOCK_NONBLOCK)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    with _short(path) as name:
        end.bind(name)
    os.chmod(path, mode)
    end.listen(128)
    return end


def connect(path: str, timeout: float | None = None) -> socket.socket:
    """Connect to a record socket; raises OSError."""
    end = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        end.settimeout(timeout)
        with _short(path) as name:
            end.connect(name)
    except BaseException:
        end.close()
        raise
    return end
