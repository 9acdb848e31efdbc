"""A host that answers nobody: its connections are neither taken nor refused, as behind a firewall or a dead route.

    with SilentHost("127.0.0.3", port): ...

Nothing but loopback is needed: a listener whose queue is full lets the kernel drop what comes.
"""

import socket


class SilentHost:
    """A context manager."""

    def __init__(self, host, port):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._ends = [socket.socket(family)]
        self._ends[0].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._ends[0].bind((host, port))
        self._ends[0].listen(0)
        for _ in range(3):
            end = socket.socket(family)
            end.setblocking(False)
            end.connect_ex((host, port))
            self._ends.append(end)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for end in self._ends:
            end.close()
