"""A real little socketmap server: answers netstrings "name key" from a dictionary, or is rude as told.

    with SocketmapServer({"virtual bob": "OK alice"}) as server: ... f"socketmap:inet:127.0.0.1:{server.port}:virtual"

A question that is not there is answered with NOTFOUND. An answer "SILENT" says nothing, "DROP" closes the
connection, "NOISE" sends what is no netstring.
"""

from tests.servers.little_server import LittleServer


class SocketmapServer(LittleServer):
    """questions tells what was asked."""

    def __init__(self, answers, path=""):
        super().__init__(path)
        self.answers = answers
        self.questions = []

    def serve(self, end):
        data = b""
        while block := end.recv(4096):
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
            return False
        end.sendall(b"noise" * 30000 if text == "NOISE" else f"{len(text.encode())}:{text},".encode())
        return True
