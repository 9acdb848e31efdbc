"""A machine as the documents describe one: host.example.org, in a network with a name server, a smarthost and others.

What is in the network is tests/servers/world.py, in a namespace of its own, so that packets really leave the host. The
authority that signs certificates there is one that the host knows.
"""

import re
import subprocess
import time
from pathlib import Path
from typing import Any

from machine import HERE, LIMIT, Machine

from tests.servers.world import ADDRESSES, NAMES, THIS_HOST
from tests.transcript import Step

WORLD = "/var/lib/world"
_NETWORK = f"""
mount -t tmpfs -o mode=1777 none /tmp
ip netns add world
ip link add host0 type veth peer name world0 netns world
ip addr add {THIS_HOST}/24 dev host0
ip link set host0 up
for address in {" ".join(ADDRESSES)}; do ip -n world addr add $address/24 dev world0; done
ip -n world link set lo up
ip -n world link set world0 up
echo nameserver {NAMES} > /etc/resolv.conf
printf '127.0.0.1 localhost\\n{THIS_HOST} host.example.org host\\n' > /etc/hosts
sed -i 's/^hosts:.*/hosts: files dns/' /etc/nsswitch.conf
for user in alice bob; do useradd --create-home --user-group "$user"; done
printf 'postmaster: root\\n' > /etc/aliases
mkdir -p /usr/src /etc/ssl/private
ln -sfn {HERE} /usr/src/sendmail-py
"""
# Programs that change what is not there on such a machine: its own clock, a certificate, another mail system.
_STAND_INS = {
    "timedatectl": "rm -f /run/clock",
    "certbot": f"cp {WORLD}/host.pem /etc/ssl/private/host.pem",
    "systemctl": "mailctl status > /dev/null 2>&1 || mailctl start",
    "apt-get": 'shift; cd /usr/share/doc; ls -d "$@" > /dev/null',
    "exim": f"setsid /usr/lib/exim4/exim {HERE}/tests/servers/smtp_sink.py --port 25 --dir /tmp/x >/dev/null & sleep 1",
}
_PATIENCE = 20.0
_LOOKS = re.compile(r"(mailctl (check|status|trace)|mailq|cat|grep|curl|ss)\b")


class DocumentMachine(Machine):
    """The machine; nothing is installed on it yet."""

    def __enter__(self) -> "DocumentMachine":
        super().__enter__()
        self.script(_NETWORK)
        self.script("mkdir /usr/lib/exim4; cp /usr/bin/python3 /usr/lib/exim4/exim")
        for name, text in _STAND_INS.items():
            self.path(f"/usr/bin/{name}").write_text(f"#!/bin/sh\n{text}\n")
            self.path(f"/usr/bin/{name}").chmod(0o755)
        words = ["ip", "netns", "exec", "world", self.venv_python(), f"{HERE}/tests/servers/world.py", WORLD]
        self._world = subprocess.Popen(self.command(words), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        assert self._world.stdout
        assert self._world.stdout.readline() == "ready\n"
        self.script(f"cat {WORLD}/authority.pem >> /etc/ssl/certs/ca-certificates.crt")
        return self

    def let_the_clock_be_wrong(self) -> None:
        """Give the machine a clock that `date -s` sets; the kernel's is also the host's."""
        source = Path(__file__).with_name("wrong_clock.c").read_bytes()
        self.run("tcc", "-shared", "-o", "/usr/lib/wrong_clock.so", "-", input=source)
        self.script("echo /usr/lib/wrong_clock.so > /etc/ld.so.preload")

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
        where = HERE if step.as_root else home  # root has unpacked the source
        command = self.command(["sh", "-c", step.command], "" if step.as_root else "alice", cwd=where, HOME=home)
        with open(self.path("/var/lib/screen"), "w+b") as screen:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=screen, stderr=screen, timeout=LIMIT)
            screen.seek(0)
            return done.returncode, screen.read().decode("utf-8", "replace")

    def __exit__(self, *exception: Any) -> None:
        self._world.terminate()
        self._world.wait(60)
        assert self._world.stdout
        self._world.stdout.close()
        super().__exit__(*exception)
