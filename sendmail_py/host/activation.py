"""Sockets that systemd opened and passes (sd_listen_fds(3)): LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES.

Guarantees: only what was meant for this process is taken, and no process started from here takes it again.
"""

import os
import socket
from typing import NamedTuple

from .listeners import Place

_FIRST = 3


class Passed(NamedTuple):
    """A listening socket, its name in the unit, and where it listens."""

    name: str
    place: Place
    socket: socket.socket


def passed_sockets() -> tuple[list[Passed], list[str]]:
    """Return the sockets that were passed, and a complaint for each that is no listening TCP socket."""
    pid, number = os.environ.pop("LISTEN_PID", ""), os.environ.pop("LISTEN_FDS", "")
    names = os.environ.pop("LISTEN_FDNAMES", "").split(":")
    found: list[Passed] = []
    complaints: list[str] = []
    if pid != str(os.getpid()) or not number.isdigit():
        return found, complaints
    for at in range(int(number)):
        name = names[at] if at < len(names) else ""
        try:
            end = socket.socket(fileno=_FIRST + at)
            place = _place(end)
        except (OSError, ValueError) as error:
            complaints.append(f"socket {name or _FIRST + at} of systemd: {error}; nobody listens there")
            continue
        end.set_inheritable(False)
        end.setblocking(False)
        found.append(Passed(name, place, end))
    return found, complaints


def _place(end: socket.socket) -> Place:
    if end.family not in (socket.AF_INET, socket.AF_INET6) or end.type != socket.SOCK_STREAM:
        raise ValueError("it is no TCP socket")
    if not end.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        raise ValueError("it does not listen; Accept=no is needed")
    address, port = end.getsockname()[:2]
    return Place(address, port)
