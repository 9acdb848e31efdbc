"""The systems that are compared, behind one small interface.

prepare(held, store) configures and starts an empty system: held queues mail, durably, without
delivering it; store is what mail goes to: mbox, maildir, or lmtp, a Dovecot in the same root; listens has it take
mail by SMTP from the peer's end, and then held mail stays on hold. With waits all mail for other hosts is deferred,
for hours. With tls mail leaves under TLS or not at all.
at_rest(n) says that n messages are queued and nothing moves; release() has everything delivered;
is_empty() looks at the queue; logged() counts the deliveries in the log.
"""

import contextlib
import os
import shutil
import socket
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from lab import FIRST_UID, HERE, PEER_ADDRESS, USERS, LabError, Root, run, wait_until

SIZE_LIMIT = 100_000_000
MOVING = ("maildrop", "incoming", "active")
_LOG = "/var/log/mail.log"
_METRICS = "/run/sendmail-py.metrics"
_DOVECOT = """\
base_dir = /run/dovecot
log_path = /var/log/dovecot.log
protocols = lmtp
ssl = no
auth_username_format = %Ln
mail_location = maildir:~/Maildir
first_valid_uid = 1000
passdb {{
  driver = static
  args = nopassword
}}
userdb {{
  driver = passwd
}}
service lmtp {{
  unix_listener {socket} {{
    mode = 0600
    user = {user}
  }}
}}
"""


class System:
    """What both have in common."""

    name = ""
    queue = ""
    states: tuple[str, ...] = ()
    mailq = ""
    lmtp_socket, lmtp_user = "", ""

    def __init__(self) -> None:
        self.root = Root(self.name)
        self.held = self.listens = self.waits = self.tls = False

    def prepare(
        self, held: bool, store: str = "mbox", listens: bool = False, waits: bool = False, tls: bool = False
    ) -> None:
        """Start it empty, under a new configuration."""
        self.stop()
        self.held, self.listens, self.waits, self.tls = held, listens, waits, tls
        self.configure(store)
        for state in self.states:
            for file in self.files(state):
                file.unlink()
        self.remove_mail()
        (self.root.path / _LOG[1:]).write_text("")
        os.sync()
        if store == "lmtp":
            self._start_dovecot()
        self.start()

    def _start_dovecot(self) -> None:
        self.root.need("/usr/sbin/dovecot", ["dovecot-lmtpd"])
        text = _DOVECOT.format(socket=self.lmtp_socket, user=self.lmtp_user)
        (self.root.path / "etc/dovecot/bench.conf").write_text(text)
        self.root.call("dovecot", "-c", "/etc/dovecot/bench.conf")
        wait_until((self.root.path / self.lmtp_socket[1:]).is_socket, "Dovecot starts", 10)

    def remove_mail(self) -> None:
        """Empty all mailboxes."""
        for user in USERS:
            with contextlib.suppress(FileNotFoundError):
                self.mailbox(user).unlink()
            shutil.rmtree(self.root.path / "home" / user / "Maildir", ignore_errors=True)

    def network(self) -> dict[str, str]:
        """Return the settings of the SMTP server, which have the same names in both."""
        if not self.listens:
            return {}
        return {"inet_interfaces": "all", "mynetworks": f"127.0.0.0/8 {PEER_ADDRESS}"}

    def waiting(self) -> dict[str, str]:
        """Return the settings of what is deferred for hours, which have the same names in both."""
        shortest, longest = ("2h", "3h") if self.waits else ("300s", "4000s")
        return {"minimal_backoff_time": shortest, "maximal_backoff_time": longest}

    def security(self) -> dict[str, str]:
        """Return the settings of TLS with other servers, which have the same names in both."""
        return {"smtp_tls_security_level": "encrypt" if self.tls else "may"}

    def configure(self, store: str) -> None:
        raise NotImplementedError

    def start(self) -> None:
        raise NotImplementedError

    def stop(self) -> None:
        raise NotImplementedError

    def release(self) -> None:
        raise NotImplementedError

    def rest(self) -> str:
        """Return the state in which held mail lies."""
        raise NotImplementedError

    def at_rest(self, count: int) -> bool:
        """Say whether so many messages are queued and nothing is under way."""
        return self._is_none(MOVING) and sum(1 for _ in self.files(self.rest())) == count

    def is_empty(self) -> bool:
        """Say whether the queue holds nothing."""
        return self._is_none(self.states)

    def _is_none(self, states: tuple[str, ...]) -> bool:
        return not any(next(self.files(state), None) is not None for state in states)

    def files(self, state: str) -> Iterator[Path]:
        """Yield the queue's files of a state."""
        for place, _, names in os.walk(f"{self.root.path}{self.queue}/{state}"):
            yield from (Path(place, name) for name in names)

    def steer(self, verb: str, ids: Iterable[str] = ()) -> None:
        """Hold, release, requeue or delete some messages, or all that are queued."""
        raise NotImplementedError

    def looks(self) -> dict[str, Callable[[], None]]:
        """Return what else an administrator looks at, by name, each as a function."""
        return {}

    def mailbox(self, user: str) -> Path:
        """Return a user's mailbox."""
        return self.root.path / "var/mail" / user

    def logged(self) -> int:
        """Count the deliveries that the log tells of."""
        return (self.root.path / _LOG[1:]).read_bytes().count(b"status=sent")

    def fill(self, user: str, size: int) -> int:
        """Make a user's mailbox of about this size, none for 0, and return its exact size."""
        if not size:
            return 0
        box = self.mailbox(user)
        entry = b"From alice@test.example Mon Jan  5 12:00:00 2026\nSubject: old\n\n" + b"old mail\n" * 400 + b"\n"
        block = entry * ((1 << 20) // len(entry))
        with open(box, "wb") as file:
            for _ in range(size // len(block)):
                file.write(block)
            os.fsync(file.fileno())
        uid = FIRST_UID + USERS.index(user)
        os.chown(box, uid, uid)
        box.chmod(0o600)
        return box.stat().st_size

    def delivered(self, from_octet: int = 0) -> int:
        """Count the messages in all mailboxes, after their first so many octets."""
        texts = []
        for box in map(self.mailbox, USERS):
            if box.exists():
                with open(box, "rb") as file:
                    file.seek(from_octet)
                    texts.append(b"\n" + file.read())
        news = [self.root.path / "home" / user / "Maildir/new" for user in USERS]
        return sum(text.count(b"\nFrom ") for text in texts) + sum(len(os.listdir(new)) for new in news if new.exists())


class Postfix(System):
    """Debian's Postfix with Debian's main.cf."""

    name = "postfix"
    queue = "/var/spool/postfix"
    states = ("maildrop", "incoming", "active", "deferred", "hold", "defer", "bounce")
    sendmail, mailq = "/usr/sbin/sendmail", "/usr/bin/mailq"
    lmtp_socket, lmtp_user = "/var/spool/postfix/private/dovecot-lmtp", "postfix"

    def configure(self, store: str) -> None:
        settings = {
            "inet_protocols": "all",
            "myhostname": "mx.test.example",
            "mydestination": "test.example, mx.test.example, localhost",
            "header_checks": "static:HOLD" if self.held else "",
            "defer_transports": "smtp" if self.waits else "",
            "home_mailbox": "Maildir/" if store == "maildir" else "",
            "mailbox_transport": "lmtp:unix:private/dovecot-lmtp" if store == "lmtp" else "",
            "maillog_file": _LOG,
            "message_size_limit": SIZE_LIMIT,
            "mailbox_size_limit": 0,
            "inet_interfaces": "loopback-only",
            "smtp_tls_connection_reuse": "yes" if self.tls else "no",
            "smtp_tls_session_cache_database": "btree:${data_directory}/smtp_scache",
        }
        settings |= self.network() | self.waiting() | self.security()
        self.root.call("postconf", "-e", *(f"{name}={value}" for name, value in settings.items()))
        # what smtp_tls_connection_reuse needs, and Debian has commented out
        self.root.call("postconf", "-M", "tlsproxy/unix=tlsproxy unix - - y - 0 tlsproxy")
        (self.root.path / "etc/aliases").write_text("postmaster: root\n")
        self.root.call("newaliases")
        jail = self.root.path / "var/spool/postfix/etc"
        jail.mkdir(exist_ok=True)
        for file in ("resolv.conf", "hosts", "services", "nsswitch.conf"):
            with contextlib.suppress(FileNotFoundError):
                shutil.copy(self.root.path / "etc" / file, jail / file)

    def start(self) -> None:
        self.root.call("postfix", "start")
        wait_until(lambda: (self.root.path / "var/spool/postfix/public/pickup").exists(), "Postfix starts", 10)

    def stop(self) -> None:
        self.root.call("postfix", "stop", check=False)
        self.root.end_processes()

    def rest(self) -> str:
        return "deferred" if self.waits else "hold"

    def steer(self, verb: str, ids: Iterable[str] = ()) -> None:
        option = {"hold": "-h", "release": "-H", "requeue": "-r", "delete": "-d"}[verb]
        self.root.call("postsuper", option, "-" if ids else "ALL", given="\n".join(ids))

    def release(self) -> None:
        self.root.call("postsuper", "-H", "ALL")
        self.root.call("postqueue", "-f")


class SendmailPy(System):
    """What `make install` and `mailctl setup` make of this tree."""

    name = "sendmail-py"
    queue = "/var/spool/sendmail-py"
    states = ("maildrop", "incoming", "active", "deferred", "hold")
    sendmail, mailq = "/usr/local/sbin/sendmail", "/usr/local/bin/mailq"
    lmtp_socket, lmtp_user = "/run/dovecot-lmtp", "sendmail-py-net"

    def __init__(self) -> None:
        super().__init__()
        run("make", "-C", HERE.parent, "install", f"DESTDIR={self.root.path}")
        self.root.call("/usr/local/bin/mailctl", "setup")

    def configure(self, store: str) -> None:
        settings = {
            "myhostname": "mx.test.example",
            "myorigin": "test.example",
            "mydestination": "test.example, mx.test.example, localhost",
            "defer_transports": "smtp" if self.waits else "local smtp" if self.held and not self.listens else "",
            "header_checks": "static:HOLD" if self.held and self.listens else "",
            "home_mailbox": "Maildir/" if store == "maildir" else "",
            "mailbox_transport": f"lmtp:unix:{self.lmtp_socket}" if store == "lmtp" else "",
            "maillog_file": _LOG,
            "message_size_limit": SIZE_LIMIT,
            "mailbox_size_limit": 0,
        }
        settings |= self.network() | self.waiting() | self.security()
        if self.waits:
            settings["metrics_listen"] = f"unix:{_METRICS}"
        text = "".join(f"{name} = {value}\n" for name, value in settings.items())
        (self.root.path / "etc/sendmail-py/main.cf").write_text(text)

    def start(self) -> None:
        self.root.call("/usr/local/bin/mailctl", "start")

    def stop(self) -> None:
        if self.root.processes():
            self.root.call("/usr/local/bin/mailctl", "stop", check=False)
        self.root.end_processes()

    def rest(self) -> str:
        return "hold" if self.listens and not self.waits else "deferred"

    def steer(self, verb: str, ids: Iterable[str] = ()) -> None:
        self.root.call("/usr/local/bin/mailctl", "queue", verb, "-" if ids else "ALL", given="\n".join(ids))

    def looks(self) -> dict[str, Callable[[], None]]:
        return {
            "mailctl status": lambda: self.root.call("/usr/local/bin/mailctl", "status"),
            "flush of a domain": lambda: self.root.call("/usr/local/bin/mailctl", "flush", "-d", "nowhere.example"),
            "GET /metrics": lambda: _scrape(self.root.path / _METRICS[1:]),
        }

    def release(self) -> None:
        self.root.call("/usr/local/bin/mailctl", "flush")  # also what defer_transports keeps back


def _scrape(path: Path) -> None:
    """Read the metrics once, over a socket; raises LabError."""
    with socket.socket(socket.AF_UNIX) as end:
        end.connect(str(path))
        end.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        text = b""
        while more := end.recv(1 << 16):
            text += more
    if b"queue_messages" not in text:
        raise LabError(f"no metrics: {text[:200]!r}")
