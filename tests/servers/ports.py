"""Ports for tests and little servers, each given out once: no two processes are given one, whatever else runs.

    port = free_port()

The kernel's own choice (port 0) is free only while it is bound: a moment later it may be the next client's. Here each
process has blocks of its own, below the ports of which the kernel chooses. An abstract socket holds a block: it is of
the network namespace, as ports are, and goes with its process. Nobody listens at the port on any address of IPv4 or
IPv6, by TCP or UDP.
"""

import errno
import os
import socket
import threading
from collections.abc import Iterator

_SIZE = 100
_LOWEST, _USUAL = 10000, 32768
_lock = threading.Lock()
_claims: list[socket.socket] = []


def free_port() -> int:
    """Return a port where nobody listens, and that this process has not been given before."""
    with _lock:
        return next(port for port in _ports if _is_free(port))


def _blocks() -> Iterator[int]:
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as file:
        first = int(file.read().split()[0])
    # Where the kernel's own begin too low, chance has to do as everywhere else.
    yield from range(_LOWEST, (first if first > _LOWEST + 10 * _SIZE else _USUAL) - _SIZE, _SIZE)


def _claimed() -> Iterator[int]:
    for first in _blocks():
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0sendmail-py-tests ports from {first}")
        except OSError as error:
            claim.close()
            if error.errno != errno.EADDRINUSE:
                raise
            continue
        _claims.append(claim)
        yield from range(first, first + _SIZE)
    raise AssertionError("other tests have all the ports")


def _is_free(port: int) -> bool:
    for family, host in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            try:
                with socket.socket(family, kind) as end:
                    if family == socket.AF_INET6:
                        end.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                    end.bind((host, port))
            except OSError as error:
                if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):  # there may be no IPv6
                    return False
    return True


_ports = _claimed()


def _forget() -> None:
    """Leave the blocks to the parent; a child claims its own."""
    global _ports, _lock
    _lock = threading.Lock()
    _ports = _claimed()


os.register_at_fork(after_in_child=_forget)
