"""A real little policy server: answers as a function of the attributes says, or is rude as told.

    with PolicyServer(lambda asked: "DUNNO") as server: ... f"check_policy_service inet:127.0.0.1:{server.port}"

An answer None says nothing, "DROP" closes the connection, and octets are sent as they are.
"""

from tests.servers.little_server import LittleServer


class PolicyServer(LittleServer):
    """questions has what was asked."""

    def __init__(self, answer, path=""):
        super().__init__(path)
        self._answer = answer
        self.questions = []

    def serve(self, end):
        data = b""
        while block := end.recv(65536):
            data += block
            while b"\n\n" in data:
                lines, _, data = data.partition(b"\n\n")
                asked = dict(line.split("=", 1) for line in lines.decode().split("\n"))
                self.questions.append(asked)
                said = self._answer(asked)
                if said == "DROP":
                    return
                if said is not None:
                    end.sendall(said if isinstance(said, bytes) else f"action={said}\n\n".encode())
