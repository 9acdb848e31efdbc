"""A real little socketmap server: answers netstrings "name key" from a dictionary, or is rude as told.

    with SocketmapServer({"virtual bob": "OK alice"}) as server: ... f"socketmap:inet:127.0.0.1:{server.port}:virtual"

A question that is not there is answered with NOTFOUND. An answer "SILENT" says nothing, "DROP" closes the
connection, "NOISE" sends what is no netstring.
"""

import socket
import threading


class SocketmapServer:
    """A context manager; questions tells what was asked, connections how often somebody came."""

    def __init__(self, answers, path=""):
        self.answers = answers
        self.questions = []
        self.connections = 0
        self._ends = []
        if path:
            self._listener = socket.socket(socket.AF_UNIX)
            self._listener.bind(path)
            self._listener.listen()
            self.port = 0
        else:
            self._listener = socket.create_server(("127.0.0.1", 0))
            self.port = self._listener.getsockname()[1]

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        for end in (self._listener, *self._ends):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            end.close()

    def drop_all(self):
        """Close the connections that there are."""
        for end in self._ends:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def _accept(self):
        while True:
            try:
                end, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._ends.append(end)
            threading.Thread(target=self._serve, args=(end,), daemon=True).start()

    def _serve(self, end):
        data = b""
        while True:
            try:
                block = end.recv(4096)
            except OSError:
                return
            if not block:
                return
            data += block
            while b":" in data:
                length, _, rest = data.partition(b":")
                if len(rest) <= int(length):
                    break
                question, data = rest[: int(length)].decode(), rest[int(length) + 1 :]
                self.questions.append(question)
                if not self._answer(end, self.answers.get(question, "NOTFOUND ")):
                    return

    def _answer(self, end, text):
        if text == "SILENT":
            return True
        if text == "DROP":
            end.shutdown(socket.SHUT_RDWR)
            return False
        end.sendall(b"noise" * 30000 if text == "NOISE" else f"{len(text.encode())}:{text},".encode())
        return True
