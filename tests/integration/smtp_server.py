"""An instance with an SMTP server on loopback, and clients for it."""

import smtplib
import socket
from pathlib import Path

from tests.integration.agent_harness import free_port
from tests.integration.instance import LIMIT, Instance

STRANGERS = {"mynetworks": "192.0.2.0/24"}  # loopback is nobody's friend


class Served(Instance):
    """The instance; port is where it listens."""

    def __init__(self, path: Path, **settings: object) -> None:
        self.port = free_port()
        super().__init__(path, **{"smtpd_port": self.port} | settings)

    def client(self, host: str = "127.0.0.1") -> smtplib.SMTP:
        """Return a connected client."""
        return smtplib.SMTP(host, self.port, timeout=LIMIT)

    def connect(self, host: str = "127.0.0.1") -> "Line":
        """Return a bare connection."""
        return Line(socket.create_connection((host, self.port), timeout=LIMIT))

    def connect_and_ask(self, sender: str) -> str:
        """Return the answer to a first RCPT of a sender."""
        with self.connect() as line:
            line.reply()
            line.say("EHLO c.test", f"MAIL FROM:<{sender}>", "RCPT TO:<games@here.test>", "QUIT")
            return line.replies()[2]

    @staticmethod
    def free_port() -> int:
        """Return a port where nobody listens."""
        return int(free_port())


class Line:
    """A connection to which octets are said, and from which replies are read."""

    def __init__(self, end: socket.socket) -> None:
        self.end = end
        self.file = end.makefile("rb")

    def __enter__(self) -> "Line":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        self.file.close()
        self.end.close()

    def say(self, *lines: str) -> None:
        """Send lines of text."""
        self.end.sendall("".join(line + "\r\n" for line in lines).encode())

    def reply(self) -> str:
        """Return the last line of the next reply, "" at the end of the connection."""
        while line := self.file.readline().decode():
            if line[3:4] != "-":
                return line.rstrip("\r\n")
        return ""

    def replies(self) -> list[str]:
        """Return all replies up to the end of the connection."""
        return list(iter(self.reply, ""))

    def ask(self, line: str) -> str:
        """Send a line and return its answer."""
        self.say(line)
        return self.reply()

    def to_data(self, sender: str = "alice@a.test", *to: str) -> None:
        """Go as far as DATA."""
        for line in ("EHLO c.test", f"MAIL FROM:<{sender}>", *(f"RCPT TO:<{r}>" for r in to or ("games@here.test",))):
            assert self.ask(line)[:1] == "2", line
        assert self.ask("DATA")[:3] == "354"
