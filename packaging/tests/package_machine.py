"""A Debian machine under its own systemd, for packages: they are built in one, and installed in others.

Below it lies what make-root made, never written. systemd is the real one, in namespaces and a
control group of its own; it ends, with everything on the machine, when the tests do.
"""

import contextlib
import os
import subprocess
from pathlib import Path

from tests.integration.root.machine import HOST, LIMIT, ROOT, Machine, layered, wait_until

PLACE = Path(os.environ.get("PACKAGES_DIRECTORY", "/var/tmp/sendmail-py-packages"))
BELOW = Path(os.environ.get("CALLERS_DIRECTORY", "/var/tmp/sendmail-py-callers"))
BUILT = "/srv/packages"
_GROUPS = next(path for path in (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup")) if path.exists())
_BEGIN = f"""
layer=$1 below=$2 built=$3 place=$4 prepare=$5
{layered("$place", "$layer:$below")}
mount -t sysfs -o ro none sys
mount -t cgroup2 none sys/fs/cgroup
mkdir -p "srv/packages"
mount --bind "$built" "srv/packages"
echo {HOST} | tee etc/mailname etc/hostname > /proc/sys/kernel/hostname
printf '127.0.0.1 localhost\\n127.0.0.1 {HOST} host\\n' > etc/hosts
printf 'postmaster: root\\n' > etc/aliases
: > etc/resolv.conf
echo uninitialized > etc/machine-id
rm -f etc/systemd/system/*.wants/* etc/systemd/system/dbus-*
for unit in dovecot.socket systemd-firstboot.service systemd-logind.service console-getty.service \\
    systemd-networkd.service systemd-networkd.socket systemd-machine-id-commit.service atd.service; do
    ln -sf /dev/null "etc/systemd/system/$unit"
done
ip link set lo up
eval "$prepare"
echo ready
exec 1>&2 < /dev/null
container=other exec chroot . /lib/systemd/systemd --unit=multi-user.target --show-status=false --log-level=err
"""
_USERS = """
mkdir -p /home
for user in alice bob; do
    useradd --create-home --user-group --shell /bin/sh "$user"
    chmod 700 "/home/$user"
done
"""
# A mail exchanger for what is relayed: it keeps each message that it takes, below /var/tmp/relayed.
_EXCHANGER = """
import socketserver
class Session(socketserver.StreamRequestHandler):
    def handle(self):
        self.say("220 mx.example")
        for line in self.rfile:
            verb = line[:4].upper()
            if verb == b"DATA":
                self.say("354 go on")
                with open("/var/tmp/relayed", "ab") as file:
                    for line in iter(self.rfile.readline, b".\\r\\n"):
                        file.write(line)
            self.say("221 bye" if verb == b"QUIT" else "250 fine")
    def say(self, text):
        self.wfile.write(text.encode() + b"\\r\\n")
socketserver.ThreadingTCPServer.allow_reuse_address = True
socketserver.ThreadingTCPServer(("127.0.0.1", 2525), Session).serve_forever()
"""


_LOG = "/var/log/sendmail-py.log"


class PackageMachine(Machine):
    """The machine; `prepare` is a shell script that changes its root before it starts."""

    begin = _BEGIN

    def __init__(self, built: Path, prepare: str = "true") -> None:
        self.places = (*map(str, (PLACE / "layer", BELOW / "root", built, PLACE / "machine")), prepare)

    def __enter__(self) -> "PackageMachine":
        self._group = _GROUPS / f"sendmail-py-packages.{os.getpid()}"
        self._group.mkdir(exist_ok=True)
        namespaces = "--mount --net --pid --uts --ipc --cgroup --fork --kill-child --propagation private".split()
        enter = 'echo $$ > "$0/cgroup.procs"; exec setpriv --pdeathsig KILL unshare "$@"'
        words = ["sh", "-c", enter, self._group, *namespaces, "sh", "-c", self.begin, "sh", *self.places]
        self._first = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._first.stdout
        said = self._first.stdout.readline()
        assert said == "ready\n", f"the machine did not start: {said!r}"
        of_unshare = self._first.pid
        self.pid = int(Path(f"/proc/{of_unshare}/task/{of_unshare}/children").read_text().split()[0])
        up = ["systemctl", "is-system-running"]
        wait_until(lambda: self.run(*up, check=False).stdout.strip() in (b"running", b"degraded"), "systemd runs")
        self.script(_USERS)
        return self

    def __exit__(self, *_: object) -> None:
        self._first.kill()
        self._first.wait(LIMIT)
        wait_until(self._is_group_gone, "the machine's processes are gone")

    def _is_group_gone(self) -> bool:
        with contextlib.suppress(OSError):
            for path in sorted(self._group.rglob("*"), reverse=True):
                if path.is_dir():
                    path.rmdir()
            self._group.rmdir()
        return not self._group.exists()

    def exchanger(self, verb: str = "start") -> None:
        """Start or stop the mail exchanger at 127.0.0.1:2525."""
        if verb == "stop":
            self.run("systemctl", "stop", "exchanger")
        else:
            self.run("systemd-run", "-q", "--unit=exchanger", "python3", "-c", _EXCHANGER)

    def relayed(self, text: str) -> None:
        """Wait until the exchanger has a message with this line of text, once."""
        path = self.path("/var/tmp/relayed")
        wait_until(
            lambda: path.exists() and path.read_text().splitlines().count(text) == 1,
            f"{text!r} is relayed\n{self.log()}",
        )

    def send(self, program: str, recipient: str, text: str, user: str = "alice", *words: str) -> None:
        """Send a message through a program as an ordinary user."""
        self.run(program, *words, recipient, user=user, input=f"Subject: {text}\n\n{text}\n".encode())

    def rotate_the_log(self) -> None:
        """The distribution's logrotate and the package's file, three times while mail comes in: no line is lost."""
        wait_until(lambda: "queue is empty" in self.script("mailq"), "what came before is not in the new log")
        self.configure(maillog_file=_LOG)
        self.run("systemctl", "reload", "sendmail-py")
        submit = "while [ ! -e /run/rotated-often ]; do echo x | /usr/sbin/sendmail bob; echo taken; done"
        sender = subprocess.Popen(self.command(["sh", "-euc", submit], user="alice"), stdout=subprocess.PIPE)
        for count in (1, 2, 3):
            wait_until(lambda: self.script(f"cat {_LOG}").count("removed") >= 5, "mail goes while the log is rotated")
            self.run("logrotate", "-s", "/run/rotated", "-f", "/etc/logrotate.conf")
            assert len(self.script(f"ls {_LOG}.*").split()) == count
        self.script("touch /run/rotated-often")
        messages = sender.communicate(timeout=LIMIT)[0].count(b"taken")
        assert sender.returncode == 0 and messages >= 15
        everything = f"zcat -f {_LOG}*"
        wait_until(lambda: self.script(everything).count(": removed\n") == messages, "all of it is delivered")
        log = self.script(everything)
        for word in (" login=alice ", " message-id=", " (queue active)", " status=sent "):
            assert log.count(word) == messages, (word, log)
        holding = f"ls -l /proc/[0-9]*/fd 2>/dev/null | grep -c '{_LOG}[.]' || true"
        wait_until(lambda: self.script(holding) == "0\n", "nobody has the old log")
        self.run("mailctl", "config", "-X", "maillog_file")
        self.script(f"systemctl reload sendmail-py; rm {_LOG}* /run/rotated*")

    def main_pid(self) -> int:
        """Return the pid of the unit's main process; 0 when it does not run."""
        return int(self.script("systemctl show -P MainPID sendmail-py"))

    def log(self) -> str:
        """Return what the journal has of our services."""
        return self.run("journalctl", "-q", "--no-pager", check=False).stdout.decode("utf-8", "replace")[-8000:]


def what_lacks() -> str:
    """Return what this host lacks for the machine, "" where it can be."""
    made = subprocess.run([Path(__file__).with_name("make-root"), "--check"], stdout=subprocess.DEVNULL)
    return "the root of packaging/tests/make-root (`make test-packages`)" if made.returncode else ""


__all__ = ["BUILT", "HOST", "ROOT", "PackageMachine", "wait_until", "what_lacks"]
