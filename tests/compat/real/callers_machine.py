"""A Debian machine on which real programs call the installed sendmail.

Below it lies the root that make-root made, never written: what the tests and the programs write
is in memory, and gone with the machine. The product comes in as a package would bring it:
`make install PREFIX=/usr DESTDIR=...`, then `mailctl setup` inside.
"""

import email
import email.message
import email.policy
import os
import subprocess
from pathlib import Path
from typing import Any

from tests.integration.root.machine import HOST, LIMIT, ROOT, Machine, layered, wait_until

MAKE_ROOT = Path(__file__).with_name("make-root")
PLACE = Path(os.environ.get("CALLERS_DIRECTORY", "/var/tmp/sendmail-py-callers"))
_OVERLAY = """
mount -t tmpfs none "$1" && cd "$1" && mkdir lower upper work root &&
mount -t overlay -o "lowerdir=$PWD/lower,upperdir=$PWD/upper,workdir=$PWD/work" none root
"""
_BEGIN = f"""
place=$1 checkout=$2
{layered("$place/machine", "$place/root")}
echo {HOST} | tee etc/mailname etc/hostname > /proc/sys/kernel/hostname
printf '127.0.0.1 localhost\\n127.0.0.1 {HOST} host\\n' > etc/hosts
printf 'passwd: files\\ngroup: files\\nshadow: files\\nhosts: files\\n' > etc/nsswitch.conf
printf 'postmaster: root\\n' > etc/aliases
: > etc/resolv.conf
ip link set lo up
make -s -C "$checkout" install PREFIX=/usr "DESTDIR=$PWD" >&2
exec chroot . python3 -IS -c '
import signal, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the first process: what has lost its parent ends here
print("ready", flush=True)
sys.stdin.read()
'
"""
_USERS = """
mkdir -p /home
for user in alice bob carol; do
    useradd --create-home --user-group --shell /bin/sh "$user"
    chmod 700 "/home/$user"
done
usermod --comment 'Alice Example,,,' alice
echo 'alice:wonderland' | chpasswd
"""


def what_lacks() -> str:
    """Return what this host lacks for the machine, "" where it can be."""
    if subprocess.run([MAKE_ROOT, "--check"], stdout=subprocess.DEVNULL).returncode:
        return "the Debian root of real programs (`make test-deps`)"
    probe = ["unshare", "--mount", "--propagation", "private", "sh", "-c", _OVERLAY, "sh", str(PLACE / "machine")]
    return "the right to mount an overlay" if subprocess.run(probe, capture_output=True).returncode else ""


class Mail:
    """A delivered message: its lines as text, and its header parsed."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.header = email.message_from_string(text.partition("\n")[2], policy=email.policy.compat32)

    def __getitem__(self, name: str) -> str:
        """Return the value of a field that stands in the header exactly once."""
        values = self.header.get_all(name, [])
        assert len(values) == 1, f"{name}: {values}"
        return str(values[0])

    @property
    def body(self) -> str:
        """The body as it lies in the mailbox."""
        return self.text.partition("\n\n")[2]

    @property
    def decoded(self) -> str:
        """The body without its transfer encoding."""
        payload = self.header.get_payload(decode=True)
        assert isinstance(payload, bytes)
        return payload.decode("utf-8")


class CallersMachine(Machine):
    """The machine, with three users; alice has a password."""

    begin = _BEGIN
    places = (str(PLACE), str(ROOT))

    def __init__(self) -> None:
        self._daemons: list[subprocess.Popen[bytes]] = []

    def prepare(self) -> None:
        """Set up and start the mail system."""
        self.script(_USERS)
        self.set_up(maildrop_scan_delay="2s")
        self.start()

    def shell(self, text: str, user: str = "alice", *, check: bool = True, **more: Any) -> str:
        """Run a shell script in the user's home, with the environment of a login; returns what it printed."""
        home = f"/home/{user}" if user != "root" else "/root"
        more = {"cwd": home, "HOME": home, "USER": user, "LOGNAME": user} | more
        done = self.run("sh", "-euc", text, user=user, check=check, **more)
        assert not check or not done.stderr, done.stderr.decode()
        return done.stdout.decode()

    def write(self, path: str, text: str, user: str = "alice", mode: int = 0o600) -> str:
        """Write a file as its owner; returns the path."""
        self.run("sh", "-c", 'cat > "$0"; chmod "$1" "$0"', path, f"{mode:o}", user=user, input=text.encode())
        return path

    def spawn(self, *words: object) -> None:
        """Start a daemon that stays in the foreground; it ends with the machine."""
        self._daemons.append(subprocess.Popen(self.command(words), stdin=subprocess.DEVNULL, stdout=2, stderr=2))

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        for daemon in self._daemons:
            daemon.wait(LIMIT)

    def mail(self, user: str, text: str) -> Mail:
        """Wait for a message with this text in a user's mailbox; it must be there once."""
        self.wait_for_mail(user, text)
        messages = self.mailbox(user).removeprefix("From ").removesuffix("\n\n").split("\n\nFrom ")
        found = [message for message in messages if text in f"{message}\n"]  # what is quoted parts nothing
        assert len(found) == 1, found
        mail = Mail(f"From {found[0]}\n")
        assert mail.header["Delivered-To"] == f"{user}@{HOST}"  # the first; forwarded mail has others
        return mail


__all__ = ["HOST", "CallersMachine", "Mail", "wait_until", "what_lacks"]
