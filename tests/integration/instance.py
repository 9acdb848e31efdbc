"""An instance of the whole system in one directory, for tests: the real commands and services.

    with Instance(tmp_path / "instance", mydestination="here.test", myorigin="here.test") as instance:
        instance.start()
        instance.submit(b"Subject: x\\n\\nhello\\n", "root")
        assert b"hello" in instance.wait_for_mail("root")

Every wait polls and is bounded; leaving the block stops the services. Commands run with a nearly
empty environment, and as another user where `user` is given (root only).
"""

import os
import pwd
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
LIMIT = 60.0
DOMAIN = "here.test"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def me() -> str:
    """Return the login name that the tests run as."""
    return pwd.getpwuid(os.getuid()).pw_name


def wait_until(condition: Callable[[], object], what: str, limit: float = LIMIT) -> Any:
    """Wait until condition() is true and return what it returned; fails with `what` (and more, if callable)."""
    end = time.monotonic() + limit
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"after {limit:.0f} s still not: {what}")
        time.sleep(0.02)


class Instance:
    """One instance; `settings` are lines of its main.cf. user runs everything as that user (root only)."""

    def __init__(self, path: Path | str, user: str = "", tree: Path = ROOT, **settings: object) -> None:
        self.path = Path(path)
        self.tree = tree
        self.user = user
        self.environment = {"MAIL_CONFIG": str(self.path), "PATH": PATH}
        if user:
            account = pwd.getpwnam(user)
            self.path.mkdir(mode=0o700)
            os.chown(self.path, account.pw_uid, account.pw_gid)
        self.mailctl("init", check=True)
        self.configure(myhostname=DOMAIN, mydestination=DOMAIN, myorigin=DOMAIN, **settings)

    def __enter__(self) -> "Instance":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def configure(self, **settings: object) -> None:
        """Set parameters in main.cf; the last setting of a name counts."""
        with open(self.path / "main.cf", "a", encoding="utf-8") as file:
            file.writelines(f"{name} = {value}\n" for name, value in settings.items())

    # --- commands ---------------------------------------------------------------------------

    def run(
        self,
        *words: object,
        input: bytes | None = b"",
        check: bool = False,
        user: str = "",
        limit: float = LIMIT,
        **more: object,
    ) -> "subprocess.CompletedProcess[bytes]":
        """Run one of our programs (a name of bin/) or a path; returns status, stdout and stderr."""
        program, *rest = map(str, words)
        command = [program if "/" in program else f"{self.tree}/bin/{program}", *rest]
        user = user or self.user
        if user:
            command = as_user(user, command)
        options = {"env": self.environment, "cwd": "/", "capture_output": True} | more
        done = subprocess.run(command, input=input, timeout=limit, **options)
        if check:
            assert done.returncode == 0, f"{words}: status {done.returncode}: {done.stderr!r}\n{self.log()}"
        return done

    def mailctl(self, *words: str, **more: object) -> "subprocess.CompletedProcess[bytes]":
        """Run mailctl for this instance."""
        return self.run("mailctl", "-c", self.path, *words, **more)

    def submit(self, message: bytes, *words: str, check: bool = True, **more: object) -> int:
        """Pipe a message to sendmail with these arguments; returns its exit status."""
        return self.run("sendmail", *words, input=message, check=check, **more).returncode

    def mailq(self) -> str:
        """Return what mailq prints."""
        return self.run("mailq", check=True).stdout.decode()

    def count(self) -> int:
        """Return the number of queued messages."""
        return int(self.mailctl("queue", "count", check=True).stdout)

    # --- running ----------------------------------------------------------------------------

    def start(self, check: bool = True) -> "subprocess.CompletedProcess[bytes]":
        """Start the services and wait until they work; their stderr goes to the file `output`."""
        with open(self.path.parent / f"{self.path.name[:50]}.output", "ab") as file:
            done = self.mailctl("start", capture_output=False, stdout=file, stderr=file)
        if check:
            assert done.returncode == 0, f"start: status {done.returncode}\n{self.output()}\n{self.log()}"
        return done

    def output(self) -> str:
        """Return what `mailctl start` and its services said outside the log."""
        path = self.path.parent / f"{self.path.name[:50]}.output"
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def stop(self) -> None:
        """Stop the services, if they run; they may be about to end by themselves."""
        if self.master_pid():
            done = self.mailctl("stop", limit=90)
            self.wait_for(lambda: not self.master_pid(), f"stopped (mailctl stop: {done.stderr!r})")

    def reload(self) -> "subprocess.CompletedProcess[bytes]":
        """Have main.cf read again."""
        return self.mailctl("reload")

    def master_pid(self) -> int:
        """Return the pid of the running master, 0 when there is none."""
        try:
            pid = int((self.path / "run" / "master.pid").read_text())
        except (FileNotFoundError, ValueError):
            return 0
        return pid if is_alive(pid) else 0

    def pid_of(self, service: str) -> int:
        """Return the pid of a ready service, 0 when there is none now."""
        return next(iter(self.pids_of(service)), 0)

    def pids_of(self, service: str) -> list[int]:
        """Return the pids of all ready processes of a service."""
        text = self.mailctl("status").stdout.decode()
        return [int(pid) for pid in re.findall(rf"^  {service} +pid (\d+) +ready", text, re.MULTILINE)]

    # --- what came of it --------------------------------------------------------------------

    def mailbox(self, user: str) -> bytes:
        """Return the text of a user's mbox, b"" when there is none."""
        path = self.path / "mail" / user
        return path.read_bytes() if path.exists() else b""

    def wait_for_mail(self, user: str, containing: bytes = b"", count: int = 1) -> bytes:
        """Wait until a mailbox holds so many messages with this text; returns the whole mailbox."""
        wanted = containing or b"\nReturn-Path: "

        def is_there() -> bytes:
            text = self.mailbox(user)
            return text if text.count(wanted) >= count else b""

        return self.wait_for(is_there, f"{count} x {wanted!r} in the mailbox of {user}")

    def wait_empty(self) -> None:
        """Wait until nothing is queued."""
        self.wait_for(lambda: self.count() == 0, "an empty queue")

    def log(self) -> str:
        """Return the log so far."""
        path = self.path / "maillog"
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def wait_for_log(self, pattern: str, count: int = 1) -> list[str]:
        """Wait until so many lines of the log match a regular expression; returns these lines."""

        def matching() -> list[str]:
            found = [line for line in self.log().splitlines() if re.search(pattern, line)]
            return found if len(found) >= count else []

        return self.wait_for(matching, f"{count} x {pattern!r} in the log")

    def wait_for(self, condition: Callable[[], object], what: str) -> Any:
        """Wait for a condition; on failure the log is shown."""
        try:
            return wait_until(condition, what)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.output()}{self.log()}") from None


def is_alive(pid: int) -> bool:
    """Say whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def as_user(user: str, command: list[str]) -> list[str]:
    """Return a command that runs another one as an ordinary user; for root."""
    account = pwd.getpwnam(user)
    return ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups", *command]
