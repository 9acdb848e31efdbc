"""A real little milter: speaks the filter's side of the protocol with code of its own, and does as told.

    with MilterServer({"E": [b"h" + b"X-Seen\\0yes\\0", b"c"]}) as server: ... f"inet:127.0.0.1:{server.port}"

says maps a command's octet (as text) to a list of packets to answer with, or to a function of the payload that
returns such a list; without an entry the answer is "continue". None in a list says nothing any more ("hang"), "DROP"
closes the connection. flags are the protocol flags that the filter asks for, actions what it may change; macros the
octets after them. heard has (command, payload) of every packet, by connection.
"""

import struct

from tests.servers.little_server import LittleServer

UNANSWERED = {"D", "A", "Q", "K"}
_VERSION = 6
NO_REPLY = {"C": 0x1000, "H": 0x2000, "M": 0x4000, "R": 0x8000, "T": 0x10000, "L": 0x80, "N": 0x40000, "B": 0x80000}


class MilterServer(LittleServer):
    """A filter; heard tells what it was told."""

    def __init__(self, says=None, actions=0x1FF, flags=0, macros=b"", greet=True):
        super().__init__()
        self.says = says or {}
        self._agreement = struct.pack("!III", _VERSION, actions, flags) + macros
        self._flags = flags
        self._greet = greet
        self.opening = None  # what is said before the first packet
        self.heard = []

    def commands(self, session=-1):
        """Return the commands of a session as one string, macros left out."""
        return "".join(command for command, _ in self.heard[session] if command != "D")

    def payloads(self, command, session=-1):
        """Return what came with a command in a session."""
        return [payload for known, payload in self.heard[session] if known == command]

    def macros(self, session=-1):
        """Return the macros of a session by stage: {"M": {"i": ...}}."""
        found = {}
        for payload in self.payloads("D", session):
            words = payload[1:].split(b"\0")[:-1]
            found.setdefault(chr(payload[0]), {}).update(zip(words[::2], words[1::2], strict=True))
        return found

    def serve(self, end):
        heard = []
        self.heard.append(heard)
        with end.makefile("rb") as file:
            while head := file.read(4):
                (length,) = struct.unpack("!I", head)
                command, payload = file.read(1).decode(), file.read(length - 1)
                if command == "O":
                    if self.opening and not self._say(end, self.opening):
                        return
                    if self._greet:
                        self._send(end, b"O" + self._agreement)
                    continue
                heard.append((command, payload))
                if command == "Q":
                    return
                if command not in UNANSWERED and not self._answer(end, command, payload):
                    return

    def _answer(self, end, command, payload):
        if self._flags & NO_REPLY.get(command, 0):
            return True
        says = self.says.get(command, [b"c"])
        return self._say(end, says(payload) if callable(says) else says)

    def _say(self, end, says):
        for said in says:
            if said is None:
                return True
            if said == "DROP":
                return False
            if isinstance(said, tuple):  # octets as they are
                end.sendall(said[0])
            else:
                self._send(end, said)
        return True

    @staticmethod
    def _send(end, packet):
        end.sendall(struct.pack("!I", len(packet)) + packet)
