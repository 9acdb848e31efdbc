"""A machine as the documents describe one: host.example.org, in a network with a name server, a smarthost and others.

What is in the network is tests/servers/world.py, in a network namespace of its own, so that packets really leave the
host. The authority that signs certificates there is one that the host knows.
"""

import re
import subprocess
import sys
import time
from typing import Any

from machine import HERE, LIMIT, ROOT, Machine

from tests.servers.world import ADDRESSES, NAMES, THIS_HOST
from tests.transcript import Step

WORLD = "/var/lib/world"
SOURCE = "/usr/src/sendmail-py"
# Typed on the host that the tests run on, in the world's network; for its own pid namespace 1 is the machine's first.
_WORLD = f"""
ip link set lo up
ip link add world0 type veth peer name host0 netns 1
for address in {" ".join(ADDRESSES)}; do ip addr add $address/24 dev world0; done
ip link set world0 up
exec "$@"
"""
_NETWORK = f"ip addr add {THIS_HOST}/24 dev host0; ip link set host0 up"
_NAMES = f"""
echo nameserver {NAMES} > /etc/resolv.conf
printf '127.0.0.1 localhost\\n{THIS_HOST} host.example.org host\\n' > /etc/hosts
sed -i 's/^hosts:.*/hosts: files dns/' /etc/nsswitch.conf
for user in alice bob; do useradd --create-home --user-group "$user"; done
mkdir -p /etc/ssl/private
"""
_MORE = f"""
mount -t tmpfs -o mode=1777 none /tmp
printf 'postmaster: root\\n' > /etc/aliases
mkdir -p /usr/src
ln -sfn {HERE} {SOURCE}
cat {WORLD}/authority.pem >> /etc/ssl/certs/ca-certificates.crt
"""
_PATIENCE = 60.0
_TOO_LONG = -1000
_LOOKS = re.compile(r"(mailctl (check|status|trace)|mailq|cat|grep|curl|ss)\b")


class DocumentMachine(Machine):
    """The machine; nothing of ours is installed on it yet, but what that needs is there."""

    more = _MORE  # what is done when the machine and the world are there

    def __enter__(self) -> "DocumentMachine":
        super().__enter__()
        self.script(f"mkdir {WORLD}")
        enter = ["nsenter", "-t", str(self.pid), "-p", "unshare", "--net", "sh", "-euc", _WORLD, "sh"]
        words = [*enter, sys.executable, f"{ROOT}/tests/servers/world.py", str(self.path(WORLD))]
        self._world = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        assert self._world.stdout
        assert self._world.stdout.readline() == "ready\n"
        subprocess.run(["nsenter", "-t", str(self.pid), "-n", "sh", "-euc", _NETWORK], check=True, timeout=LIMIT)
        self.script(_NAMES)
        self.script(self.more)
        return self

    def shown(self, step: Step) -> str:
        """Type a command of a transcript; one that looks is repeated until it shows what the document says."""
        end = time.monotonic() + (_PATIENCE if _LOOKS.match(step.command) else 0)
        while True:
            _, output = self.typed(step)
            if step.fits(output):
                return output
            if time.monotonic() >= end:
                promised = "\n".join(step.expected)
                raise AssertionError(f"{step.section}: {step.command}\n--- promised:\n{promised}\n--- came:\n{output}")
            time.sleep(0.2)

    def typed(self, step: Step) -> tuple[int, str]:
        """Run a command as the terminal of its user would; what stays running keeps the file, and no pipe."""
        home = "/root" if step.as_root else "/home/alice"
        where = SOURCE if step.as_root else home  # root has unpacked the source
        command = self.command(["sh", "-c", step.command], "" if step.as_root else "alice", cwd=where, HOME=home)
        answer = self.path("/var/lib/answer")
        answer.write_text("y\n")  # to a question whether to go on
        with open(self.path("/var/lib/screen"), "w+b") as screen, open(answer, "rb") as keyboard:
            try:
                done = subprocess.run(command, stdin=keyboard, stdout=screen, stderr=screen, timeout=_limit(step))
                status = done.returncode
            except subprocess.TimeoutExpired:
                status = _TOO_LONG
            screen.seek(0)
            output = screen.read().decode("utf-8", "replace")
        assert status != _TOO_LONG, f"{step.section}: {step.command}: no end after {_limit(step):.0f} s:\n{output}"
        return status, output

    def __exit__(self, *exception: Any) -> None:
        super().__exit__(*exception)  # whatever runs there ends, and the world with it
        self._world.wait(LIMIT)
        assert self._world.stdout
        self._world.stdout.close()


def _limit(step: Step) -> float:
    """Return how many seconds a command may take, on a machine that does much else."""
    return 180.0 if step.command.startswith(("apt-get ", "make ")) else LIMIT
