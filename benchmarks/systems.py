"""The systems that are compared, behind one small interface.

prepare(held, store) configures and starts an empty system: held queues mail, durably, without
delivering it; store is what mail goes to: mbox, maildir, or lmtp, a Dovecot in the same root.
at_rest(n) says that n messages are queued and nothing moves; release() has everything delivered;
is_empty() looks at the queue; logged() counts the deliveries in the log.
"""

import contextlib
import os
import shutil
from pathlib import Path

from lab import FIRST_UID, HERE, USERS, Root, run, wait_until

SIZE_LIMIT = 100_000_000
_LOG = "/var/log/mail.log"
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
    lmtp_socket, lmtp_user = "", ""

    def __init__(self) -> None:
        self.root = Root(self.name)
        self.held = False

    def prepare(self, held: bool, store: str = "mbox") -> None:
        """Start it empty, under a new configuration."""
        self.stop()
        self.held = held
        self.configure(store)
        for directory in (f"{self.queue}/{state}" for state in self.states):
            for file in self._files(directory):
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
                (self.root.path / "var/mail" / user).unlink()
            shutil.rmtree(self.root.path / "home" / user / "Maildir", ignore_errors=True)

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
        return self.is_empty(self.rest()) and sum(1 for _ in self._files(f"{self.queue}/{self.rest()}")) == count

    def is_empty(self, but: str = "") -> bool:
        """Say whether the queue, except one state, holds nothing."""
        return not any(
            next(self._files(f"{self.queue}/{state}"), None) is not None for state in self.states if state != but
        )

    def _files(self, directory: str):
        for place, _, names in os.walk(f"{self.root.path}{directory}"):
            yield from (Path(place, name) for name in names)

    def logged(self) -> int:
        """Count the deliveries that the log tells of."""
        return (self.root.path / _LOG[1:]).read_bytes().count(b"status=sent")

    def fill(self, user: str, size: int) -> int:
        """Make a user's mailbox of about this size, none for 0, and return its exact size."""
        if not size:
            return 0
        box = self.root.path / "var/mail" / user
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
        for box in (self.root.path / "var/mail" / user for user in USERS):
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
    sendmail = "/usr/sbin/sendmail"
    lmtp_socket, lmtp_user = "/var/spool/postfix/private/dovecot-lmtp", "postfix"

    def configure(self, store: str) -> None:
        settings = {
            "inet_protocols": "all",
            "myhostname": "mx.test.example",
            "mydestination": "test.example, mx.test.example, localhost",
            "header_checks": "static:HOLD" if self.held else "",
            "home_mailbox": "Maildir/" if store == "maildir" else "",
            "mailbox_transport": "lmtp:unix:private/dovecot-lmtp" if store == "lmtp" else "",
            "maillog_file": _LOG,
            "message_size_limit": SIZE_LIMIT,
            "mailbox_size_limit": 0,
        }
        self.root.call("postconf", "-e", *(f"{name}={value}" for name, value in settings.items()))
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
        return "hold"

    def release(self) -> None:
        self.root.call("postsuper", "-H", "ALL")
        self.root.call("postqueue", "-f")


class SendmailPy(System):
    """What `make install` and `mailctl setup` make of this tree."""

    name = "sendmail-py"
    queue = "/var/spool/sendmail-py"
    states = ("maildrop", "incoming", "active", "deferred", "hold")
    sendmail = "/usr/local/sbin/sendmail"
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
            "defer_transports": "local smtp" if self.held else "",
            "home_mailbox": "Maildir/" if store == "maildir" else "",
            "mailbox_transport": f"lmtp:unix:{self.lmtp_socket}" if store == "lmtp" else "",
            "maillog_file": _LOG,
            "message_size_limit": SIZE_LIMIT,
            "mailbox_size_limit": 0,
        }
        text = "".join(f"{name} = {value}\n" for name, value in settings.items())
        (self.root.path / "etc/sendmail-py/main.cf").write_text(text)

    def start(self) -> None:
        self.root.call("/usr/local/bin/mailctl", "start")

    def stop(self) -> None:
        if self.root.processes():
            self.root.call("/usr/local/bin/mailctl", "stop", check=False)
        self.root.end_processes()

    def rest(self) -> str:
        return "deferred"

    def release(self) -> None:
        self.root.call("/usr/local/bin/mailctl", "flush")  # also what defer_transports keeps back
