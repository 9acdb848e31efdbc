"""What the whole does, shown on one screen: mail piped to sendmail reaches a mailbox and a remote MX.

Makes an instance in a temporary directory, runs the very commands that a user would type, and
stops and removes all of it. Exit status 0 means that both messages arrived. Needs no privileges,
no configuration and no network: the name server and the remote mail server are small ones on
loopback. Ends by itself within LIMIT seconds, whatever happens.
"""

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.servers.name_server import NameServer  # noqa: E402
from tests.servers.smtp_sink import SmtpSink  # noqa: E402

LIMIT = 120
WAIT = 30
REMOTE = "someone@remote.example"
ZONE = {"remote.example": {"MX": ["10 mx.remote.example."]}, "mx.remote.example": {"A": ["127.0.0.1"]}}

CRON_MESSAGE = """\
From: root (Cron Daemon)
To: {user}
Subject: Cron <{user}@demo> run-parts --report /etc/cron.daily
MIME-Version: 1.0
Content-Type: text/plain; charset=UTF-8
Content-Transfer-Encoding: 8bit
X-Cron-Env: <SHELL=/bin/sh>
X-Cron-Env: <LOGNAME={user}>

backup: 42 files copied
.
(the lone dot above is part of the message, for cron passes -i)
"""

REMOTE_MESSAGE = """\
To: {remote}
Bcc: nobody-must-see-this@remote.example
Subject: relayed by MX

Hello from the demo.
"""


class DemoError(Exception):
    """Something did not happen that should have; the text says what."""


class Demo:
    """One run: the instance in `directory`, and what it relays to."""

    def __init__(self, directory: Path, name_server: NameServer, sink: SmtpSink) -> None:
        self.directory = directory
        self.name_server = name_server
        self.sink = sink
        self.user = pwd.getpwuid(os.getuid()).pw_name
        self.environment = {"MAIL_CONFIG": str(directory), "PATH": os.environ.get("PATH", os.defpath)}
        self.output = directory.parent / "output"

    def run(self) -> None:
        """Show everything; raises DemoError."""
        self.make_instance()
        self.local_mail()
        self.remote_mail()
        self.show_log()

    def make_instance(self) -> None:
        """Make the instance; its one peculiarity is where its DNS and the remote port 25 are."""
        title("An instance in a directory of its own, run by its owner", "no system file is read or changed")
        self.command("mailctl", "-c", str(self.directory), "init")
        settings = {
            "myhostname": "demo.example",
            "mydestination": "demo.example",
            "myorigin": "demo.example",
            "resolver_nameservers": self.name_server.address,
            "smtp_tcp_port": str(self.sink.port),
        }
        self.command("mailctl", "config", "-e", *(f"{name}={value}" for name, value in settings.items()))
        self.command("mailctl", "start")
        self.command("mailctl", "status")

    def local_mail(self) -> None:
        """Do what cron does when a job has written something."""
        title(f"cron mails {self.user}", "cron's own command line and header: no Date, no Message-ID")
        message = CRON_MESSAGE.format(user=self.user)
        self.command("sendmail", "-FCronDaemon", "-i", "-B8BITMIME", "-oem", self.user, message=message)
        mailbox = self.directory / "mail" / self.user
        wait_until(lambda: mailbox.exists() and b"42 files copied" in mailbox.read_bytes(), "the mail in the mailbox")
        show(f"cat {mailbox}", mailbox.read_text("utf-8", "replace"))

    def remote_mail(self) -> None:
        """Accept mail while the services are down, then relay it to the domain's mail exchanger."""
        title(f"mail to {REMOTE}, with the services stopped", "sendmail accepts it all the same: it is on disk")
        self.command("mailctl", "stop")
        self.command("sendmail", "-i", "-t", message=REMOTE_MESSAGE.format(remote=REMOTE))
        if REMOTE not in self.command("mailq"):
            raise DemoError("mailq does not show the waiting message")
        title("the services start", "the MX of remote.example is looked up, and its host takes the message")
        self.command("mailctl", "start")
        wait_until(lambda: self.sink.messages, "the message at the remote mail server")
        for message in self.sink.messages:
            show("(received by the remote mail server)", envelope_and_text(message))
        if any(b"Bcc:" in message.content for message in self.sink.messages):
            raise DemoError("the Bcc field was sent")
        wait_until(lambda: "empty" in self.ask("mailq"), "an empty queue")
        self.command("mailq")

    def show_log(self) -> None:
        """Show what was logged, in Postfix's line shape."""
        title("the log", "in Postfix's line shape, for the tools that read it")
        log = (self.directory / "maillog").read_text("utf-8", "replace")
        show(f"cat {self.directory}/maillog", log)
        if log.count("status=sent") != 3:
            raise DemoError("the log lacks a delivery")

    def command(self, name: str, *arguments: str, message: str | None = None) -> str:
        """Run one of our commands and show it with its output; raises DemoError when it fails."""
        text = self.ask(name, *arguments, message=message)
        show(" ".join((name, *arguments)) + (" < message" if message else ""), text)
        return text

    def ask(self, name: str, *arguments: str, message: str | None = None) -> str:
        """Run one of our commands; its output goes to a file, since a daemon would keep a pipe open."""
        with open(self.output, "w+b") as file:
            done = subprocess.run(
                [ROOT / "bin" / name, *arguments],
                input=(message or "").encode(),
                stdout=file,
                stderr=subprocess.STDOUT,
                env=self.environment,
                timeout=WAIT + 60,
            )
        text = self.output.read_text("utf-8", "replace")
        if done.returncode:
            raise DemoError(f"{name} {' '.join(arguments)} ended with status {done.returncode}: {text}")
        return text

    def stop(self) -> None:
        """Stop the services; a master that does not hear is ended."""
        pid_file = self.directory / "run" / "master.pid"
        try:
            if pid_file.exists():
                self.ask("mailctl", "stop")
        except (DemoError, OSError, subprocess.TimeoutExpired):
            os.kill(int(pid_file.read_text()), signal.SIGKILL)  # its services end with it


def wait_until(condition, what: str) -> None:
    """Wait for something to happen; raises DemoError when it does not."""
    end = time.monotonic() + WAIT
    while not condition():
        if time.monotonic() > end:
            raise DemoError(f"after {WAIT} s still missing: {what}")
        time.sleep(0.05)


def title(text: str, remark: str) -> None:
    """Print a heading."""
    print(f"\n=== {text}\n    ({remark})", flush=True)


def show(command: str, text: str) -> None:
    """Print a command and its output, indented."""
    print(f"$ {command}", *text.splitlines(), sep="\n    ", flush=True)


def envelope_and_text(message) -> str:
    """Return a message as the sink got it."""
    lines = [f"MAIL FROM:{message.sender}", *(f"RCPT TO:{recipient}" for recipient in message.recipients)]
    return "\n".join(lines) + "\n" + message.content.replace(b"\r\n", b"\n").decode("utf-8", "replace")


def out_of_time(number: int, frame: object) -> None:
    """End a run that takes too long, through its clean-up."""
    raise DemoError(f"not done within {LIMIT} s")


def main() -> int:
    """Run the demo; returns the exit status."""
    signal.signal(signal.SIGALRM, out_of_time)
    signal.alarm(LIMIT)
    top = Path(tempfile.mkdtemp(prefix="sendmail-py-demo-"))
    error = ""
    try:
        with NameServer(ZONE) as name_server, SmtpSink() as sink:
            demo = Demo(top / "instance", name_server, sink)
            try:
                demo.run()
            except (DemoError, OSError, subprocess.TimeoutExpired) as failure:
                error = str(failure)
                log = demo.directory / "maillog"
                print(log.read_text("utf-8", "replace") if log.exists() else "(no log)", file=sys.stderr)
            finally:
                demo.stop()
    finally:
        signal.alarm(0)
        shutil.rmtree(top, ignore_errors=True)
    print(f"\n=== FAILED: {error}" if error else "\n=== Both messages arrived; everything is stopped and removed.")
    return 1 if error else 0


if __name__ == "__main__":
    sys.exit(main())
