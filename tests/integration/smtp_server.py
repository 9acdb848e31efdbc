"""An instance with an SMTP server on loopback, and clients for it."""

import base64
import hashlib
import smtplib
import socket
import ssl
from pathlib import Path

from tests.integration.instance import LIMIT, Instance
from tests.servers.ports import free_port

STRANGERS = {"mynetworks": "192.0.2.0/24"}  # loopback is nobody's friend


class Served(Instance):
    """The instance; port is where it listens."""

    def __init__(self, path: Path, **settings: object) -> None:
        self.port = free_port()
        # One process: tests look at what is in it. Those of several say so.
        super().__init__(path, **{"smtpd_port": self.port, "smtpd_process_limit": 1} | settings)

    def client(self, host: str = "127.0.0.1") -> smtplib.SMTP:
        """Return a connected client."""
        return smtplib.SMTP(host, self.port, timeout=LIMIT)

    def connect(self, host: str = "127.0.0.1") -> "Line":
        """Return a bare connection."""
        return Line(socket.create_connection((host, self.port), timeout=LIMIT))

    def connect_from(self, address: str) -> "Line":
        """Return a bare connection from another address of loopback."""
        return Line(socket.create_connection(("127.0.0.1", self.port), timeout=LIMIT, source_address=(address, 0)))

    def connect_and_ask(self, sender: str) -> str:
        """Return the answer to a first RCPT of a sender."""
        with self.connect() as line:
            line.reply()
            line.say("EHLO c.test", f"MAIL FROM:<{sender}>", "RCPT TO:<games@here.test>", "QUIT")
            return line.replies()[2]


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

    def words(self) -> list[str]:
        """Return the first word of each line of the next reply."""
        found = []
        while line := self.file.readline().decode():
            found.append(line[4:].split()[0])
            if line[3:4] != "-":
                break
        return found

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


class Submission(Served):
    """An instance with all three kinds of listeners, a certificate of its own making, and users."""

    def __init__(self, path: Path, users: dict[str, str] | None = None, **settings: object) -> None:
        self.submission, self.submissions = free_port(), free_port()
        ports = {"submission_port": self.submission, "submissions_port": self.submissions}
        super().__init__(path, **ports | {"smtpd_error_sleep_time": "0s", "smtpd_auth_failure_delay": "0s"} | settings)
        self.set_users(users or {})

    def set_users(self, users: dict[str, str]) -> None:
        """Write the password file, with hashes that cost nothing."""
        file = self.path / "users"
        file.touch(mode=0o600)
        file.write_text("".join(f"{user}:{cheap_hash(password)}\n" for user, password in users.items()))

    def starttls(self) -> smtplib.SMTP:
        """Return a client of submission_port, under TLS."""
        client = smtplib.SMTP("127.0.0.1", self.submission, timeout=LIMIT)
        client.starttls(context=ssl._create_unverified_context())
        client.ehlo("c.test")
        return client

    def wrapped(self) -> smtplib.SMTP_SSL:
        """Return a client of submissions_port."""
        context = ssl._create_unverified_context()
        client = smtplib.SMTP_SSL("127.0.0.1", self.submissions, timeout=LIMIT, context=context)
        client.ehlo("c.test")
        return client

    def connect_wrapped(self) -> Line:
        """Return a bare connection to submissions_port, under TLS."""
        end = socket.create_connection(("127.0.0.1", self.submissions), timeout=LIMIT)
        return Line(ssl._create_unverified_context().wrap_socket(end))

    def bare(self) -> Line:
        """Return a connection to submission_port, past the greeting."""
        line = Line(socket.create_connection(("127.0.0.1", self.submission), timeout=LIMIT))
        line.reply()
        return line


def cheap_hash(password: str) -> str:
    """Return a scrypt hash of a password that is made in no time."""
    digest = hashlib.scrypt(password.encode(), salt=b"salt", n=4, r=1, p=1, dklen=32)
    salt, text = (base64.b64encode(part).decode().rstrip("=") for part in (b"salt", digest))
    return f"$scrypt$ln=2,r=1,p=1${salt}${text}"
