"""What the little servers have in common: they listen on loopback or at a path, and a thread serves each connection.

A context manager; who derives from it says in serve() what becomes of a connection. In the end nobody is served.
"""

import contextlib
import socket
import threading

from tests.servers.ports import free_port


class LittleServer:
    """port is 0 where it listens at a path; connections and clients tell who came, ends are those that are there.

    ending is set in the end.
    """

    def __init__(self, path="", host="127.0.0.1", port=0):
        self.connections = 0
        self.clients = []
        self.ends = set()
        self.ending = threading.Event()
        if path:
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(str(path))
            self.listener.listen(128)
        else:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            self.listener = socket.create_server((host, port or free_port()), family=family, backlog=128)
        self.port = 0 if path else self.listener.getsockname()[1]

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.ending.set()
        shut(self.listener)
        self.drop_all()

    def drop_all(self):
        """Close the connections that there are."""
        for end in list(self.ends):
            shut(end)

    def serve(self, end):
        """Talk over a connection to its end, which an OSError is too; it is closed then."""
        raise NotImplementedError

    def _accept(self):
        while True:
            try:
                end, client = self.listener.accept()
            except OSError:
                return
            self.clients.append(client[0] if client else "")
            self.connections += 1
            self.ends.add(end)
            threading.Thread(target=self._serve, args=(end,), daemon=True).start()

    def _serve(self, end):
        try:
            self.serve(end)
        except OSError:
            pass
        finally:
            self.ends.discard(end)
            shut(end)


def shut(end):
    """Close a socket, and wake the threads that wait in it."""
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
