"""A machine of its own for tests of the installed root instance: nothing of the host is changed.

It has its own mounts, network (loopback only), processes and host name. /etc is a copy; the
directories that an installation or its mail fills are empty file systems in memory. It ends,
with all its processes, when its standard input is closed: also when the tests die.
"""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
HERE = "/var/lib/checkout"  # the checkout as the machine sees it, wherever it lies on the host
LIMIT = 60.0
SPOOL = "/var/spool/sendmail-py"
LOG = "/var/log/mail.log"
HOST = "host.example.org"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_BEGIN = f"""
set -eu
ulimit -c 0
mount -t tmpfs -o mode=755 none /var/lib
mkdir /var/lib/checkout /var/lib/etc /var/lib/usr /var/lib/usr-work
mount --bind "$1" {HERE}
mount -t overlay -o lowerdir=/usr,upperdir=/var/lib/usr,workdir=/var/lib/usr-work none /usr
rm -f /usr/sbin/sendmail /usr/lib/sendmail /usr/bin/mailq /usr/bin/newaliases
cp -a /etc/. /var/lib/etc
mount --bind /var/lib/etc /etc
for directory in /usr/local /root /home /run /var/spool /var/mail /var/log; do
    mkdir -p "$directory"
    mount -t tmpfs -o mode=755 none "$directory"
done
chgrp mail /var/mail
chmod 2775 /var/mail
ln -s ../mail /var/spool/mail
rm -rf /etc/sendmail-py
for user in sendmail-py sendmail-py-net alice bob carol mallory; do userdel "$user" 2>/dev/null || true; done
printf 'passwd: files\ngroup: files\nshadow: files\nhosts: files\n' > /etc/nsswitch.conf
echo {HOST} > /etc/mailname
echo {HOST} > /proc/sys/kernel/hostname
printf 'postmaster: root\\n' > /etc/aliases
ip link set lo up
exec python3 -IS -c '
import signal, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the first process: what has lost its parent ends here
print("ready", flush=True)
sys.stdin.read()
'
"""


def layered(place: str, lower: str) -> str:
    """Return the beginning of a shell script that makes a machine: an empty layer in memory over other directories.

    The machine's root is the current directory then, with /dev, /proc, /run and /tmp of its own; it lies at place.
    """
    return f"""
set -eu
ulimit -c 0
umask 022
mount -t tmpfs -o mode=755 none "{place}"
cd "{place}"
mkdir written work root
mount -t overlay -o "lowerdir={lower},upperdir=$PWD/written,workdir=$PWD/work" none root
cd root
mount -t proc none proc
mount -t tmpfs -o mode=755 none dev
for device in null zero full random urandom tty; do
    : > "dev/$device"
    mount --bind "/dev/$device" "dev/$device"
done
mkdir -m 1777 dev/shm
mkdir dev/pts
mount -t devpts -o newinstance,ptmxmode=666 none dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
for directory in run tmp; do mount -t tmpfs -o mode=755 none "$directory"; done
chmod 1777 tmp
"""


def wait_until(condition: Callable[[], object], what: str, limit: float = LIMIT) -> Any:
    """Wait until condition() is true and return what it returned."""
    end = time.monotonic() + limit
    while not (found := condition()):
        assert time.monotonic() < end, f"after {limit:.0f} s still not: {what}"
        time.sleep(0.05)
    return found


class Machine:
    """A context manager. run() is a command on it, path() its files as seen from the host."""

    begin = _BEGIN  # a shell script: it makes the machine, says "ready", and stays as its first process
    places = (str(ROOT),)  # its arguments

    def __enter__(self) -> "Machine":
        namespaces = ["--mount", "--net", "--pid", "--uts", "--ipc", "--fork", "--kill-child", "--mount-proc"]
        command = ["unshare", *namespaces, "--propagation", "private", "sh", "-c", self.begin, "sh", *self.places]
        self._first = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._first.stdout
        said = self._first.stdout.readline()
        assert said == "ready\n", f"the machine did not start: {said!r}"
        of_unshare = self._first.pid
        self.pid = int(Path(f"/proc/{of_unshare}/task/{of_unshare}/children").read_text().split()[0])
        return self

    def __exit__(self, *_: object) -> None:
        assert self._first.stdin
        self._first.stdin.close()
        try:
            self._first.wait(LIMIT)
        finally:
            self._first.kill()

    # --- commands -----------------------------------------------------------------------------

    def command(self, words: Sequence[object], user: str = "", *, cwd: str = "/", **environment: str) -> list[str]:
        """Return the command line that runs a command on the machine, as a user where one is named."""
        enter = ["nsenter", "-t", str(self.pid), "-r", "-m", "-n", "-p", "-u", "-i"]
        become = [f"--reuid={user}", f"--regid={user}", "--init-groups"] if user else []
        if user == "nobody":
            become = ["--reuid=nobody", "--regid=nogroup", "--clear-groups"]
        variables = [f"{name}={value}" for name, value in environment.items()]
        clean = ["env", "-i", "-C", cwd, f"PATH={_PATH}", "LC_ALL=C.UTF-8", *variables]
        return [*enter, *(["setpriv", *become] if user else []), *clean, *map(str, words)]

    def run(
        self,
        *words: object,
        user: str = "",
        input: bytes = b"",
        check: bool = True,
        cwd: str = "/",
        umask: int = -1,
        limit: float = LIMIT,
        **environment: str,
    ) -> "subprocess.CompletedProcess[bytes]":
        """Run a command to its end."""
        command = self.command(words, user, cwd=cwd, **environment)
        done = subprocess.run(command, input=input, capture_output=True, timeout=limit, umask=umask)
        if check:
            assert done.returncode == 0, f"{words}: status {done.returncode}: {done.stderr.decode()}\n{self.log()}"
        return done

    def script(self, text: str, user: str = "", check: bool = True) -> str:
        """Run a shell script and return what it prints."""
        return self.run("sh", "-euc", text, user=user, check=check).stdout.decode()

    def python(self, text: str, *words: object, user: str = "") -> str:
        """Run a Python program and return what it prints."""
        return self.run("python3", "-I", "-c", text, *words, user=user).stdout.decode()

    def path(self, path: str) -> Path:
        """Return a file of the machine; absolute symbolic links on the way would lead to the host's."""
        return Path(f"/proc/{self.pid}/root{path}")

    # --- the installation ---------------------------------------------------------------------

    def install(self) -> None:
        """make install, as a distribution's administrator types it."""
        self.run("make", "-s", "-C", HERE, "install", "PREFIX=/usr/local", umask=0o077)

    def set_up(self, **settings: object) -> None:
        """Run mailctl setup, and set parameters in main.cf."""
        self.run("mailctl", "setup")
        self.configure(maillog_file=LOG, **settings)

    def configure(self, **settings: object) -> None:
        """Set parameters in main.cf."""
        for name, value in settings.items():
            self.run("mailctl", "config", "-e", f"{name}={value}")

    def start(self) -> None:
        """Start the services; they must be ready then."""
        command = self.command(["mailctl", "start"])  # with no pipe: a service that inherits it would never end it
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=2, stderr=2, timeout=LIMIT)
        assert done.returncode == 0, self.log()

    @contextlib.contextmanager
    def traced(self, calls: str) -> Iterator[list[tuple[str, str]]]:
        """Run the services under strace for the length of the block; after it the list holds (pid, call)."""
        self.script("rm -rf /var/log/trace; mkdir /var/log/trace")
        words = ["strace", "-ff", "-qq", "-s", "200", "-o", "/var/log/trace/of", "-e", f"trace={calls}"]
        tracer = subprocess.Popen(self.command([*words, "mailctl", "start"]), stdin=subprocess.DEVNULL, stdout=2)
        traced: list[tuple[str, str]] = []
        try:
            wait_until(lambda: self.run("mailctl", "status", check=False).stdout.count(b"ready") >= 2, "ready")
            yield traced
        finally:
            self.stop()
            tracer.wait(LIMIT)
        for path in sorted(self.path("/var/log/trace").iterdir()):  # a file for each process: no call is cut in two
            traced += [(path.suffix, line) for line in path.read_text("utf-8", "replace").splitlines()]

    def stop(self) -> None:
        """Stop the services, if they run."""
        if self.path("/run/sendmail-py/master.pid").exists():
            self.run("mailctl", "stop")

    def submit(self, user: str, *words: object, text: str = "hello", **more: Any) -> None:
        """Pipe a message to sendmail as a user."""
        message = f"Subject: {text}\n\n{text}\n".encode()
        self.run("/usr/local/bin/sendmail", *words, user=user, input=message, **more)

    # --- what came of it ----------------------------------------------------------------------

    def log(self) -> str:
        """Return the log so far."""
        path = self.path(LOG)
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def mailbox(self, user: str) -> str:
        """Return a user's mbox, "" when there is none."""
        path = self.path(f"/var/mail/{user}")
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def wait_for_mail(self, user: str, text: str) -> str:
        """Wait until a message with this text is in a mailbox; returns that message."""
        try:
            box = wait_until(lambda: text in (found := self.mailbox(user)) and found, f"{text!r} in {user}'s mailbox")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log()}") from None
        return next(part for part in str(box).split("\nFrom ") if text in part)

    def wait_for_log(self, text: str) -> str:
        """Wait for a log line with this text and return it."""
        return str(
            wait_until(lambda: next((line for line in self.log().splitlines() if text in line), ""), f"log: {text}")
        )

    def services(self) -> dict[str, int]:
        """Return the pids, as the machine counts them, of the services that run."""
        lines = self.run("mailctl", "status").stdout.decode().splitlines()
        found = {line.split()[0]: int(line.split()[2]) for line in lines if " pid " in line and line[0] == " "}
        return found | {"master": int(self.path("/run/sendmail-py/master.pid").read_text())}

    def status_of(self, pid: int) -> dict[str, str]:
        """Return /proc/PID/status of a process of the machine."""
        text = self.run("cat", f"/proc/{pid}/status").stdout.decode()
        return {line.partition(":")[0]: line.partition(":")[2].strip() for line in text.splitlines()}

    def venv_python(self) -> str:
        """Return the interpreter with the tests' own dependencies, as the machine sees it."""
        return f"{HERE}/.venv/bin/python" if (ROOT / ".venv/bin/python").exists() else sys.executable

    def maildrop(self) -> list[str]:
        """Return the names in maildrop/."""
        return sorted(os.listdir(self.path(f"{SPOOL}/maildrop")))
