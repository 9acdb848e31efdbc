"""A Debian 12 that has just been installed, for what the documents tell an administrator to type.

Below it lies the root that make-fresh made, never written: what is typed changes a layer in memory, which is gone with
the machine. apt-get is the real one; it takes its packages from make-fresh's repository, as a directory. The source is
unpacked in /usr/src. The network is that of document_machine.py, and nothing leads out of it. Whatever has been started
there ends with the machine, whose processes have a namespace of their own.
"""

import os
import subprocess
from pathlib import Path

from document_machine import SOURCE, WORLD, DocumentMachine
from machine import HOST, LIMIT, ROOT, layered

MAKE_FRESH = Path(__file__).with_name("make-fresh")
PLACE = Path(os.environ.get("FRESH_DIRECTORY", "/var/tmp/sendmail-py-fresh"))
_BEGIN = f"""
place=$1 checkout=$2
{layered("$place/machine", "$place/root")}
mount -t tmpfs -o mode=755 none var/spool
ln -s ../mail var/spool/mail
mount --bind "$place/repository" srv/debian
mkdir usr/src/sendmail-py
tar -c -C "$checkout" --exclude='./.*' --exclude=./dist --exclude=__pycache__ . |
    tar -x --no-same-owner -C usr/src/sendmail-py
echo {HOST} | tee etc/mailname etc/hostname > /proc/sys/kernel/hostname
ip link set lo up
exec chroot . sh -c 'echo ready; cat > /dev/null; :'
"""
# What changes that which is not there on such a machine: its own clock, a certificate, another mail system.
_STAND_INS = {
    "timedatectl": "rm -f /run/clock",
    "certbot": f"cp {WORLD}/host.pem /etc/ssl/private/host.pem",
    "exim": f"""mkdir -p /usr/lib/exim4; cp /usr/bin/python3 /usr/lib/exim4/exim
setsid /usr/lib/exim4/exim {SOURCE}/tests/servers/smtp_sink.py --port 25 --dir /tmp/x >/dev/null & sleep 1""",
}


def what_lacks() -> str:
    """Return what this host lacks for the machine, "" where it can be."""
    made = subprocess.run([MAKE_FRESH, "--check"], stdout=subprocess.DEVNULL)
    return "the fresh Debian root (`make test-deps`)" if made.returncode else ""


class DebianMachine(DocumentMachine):
    """The machine; alice and bob have homes there, and ca-certificates will add the authority of its network."""

    begin = _BEGIN
    places = (str(PLACE), str(ROOT))
    more = f"""
    mkdir -p /usr/local/share/ca-certificates
    cp {WORLD}/authority.pem /usr/local/share/ca-certificates/authority.crt
    printf 'postmaster: root\\n' > /etc/aliases
    """

    def let_things_go_wrong(self) -> None:
        """Bring in the stand-ins, and a clock that `date -s` sets; the kernel's is also the host's."""
        for name, text in _STAND_INS.items():
            self.path(f"/usr/bin/{name}").write_text(f"#!/bin/sh\n{text}\n")
            self.path(f"/usr/bin/{name}").chmod(0o755)
        source = Path(__file__).with_name("wrong_clock.c").read_bytes()
        library = str(self.path("/usr/lib/wrong_clock.so"))
        subprocess.run(["tcc", "-shared", "-o", library, "-"], input=source, check=True, timeout=LIMIT)
        self.script("echo /usr/lib/wrong_clock.so > /etc/ld.so.preload")

    def log(self) -> str:
        """Return the log so far; where no syslog is, ours has a file."""
        path = self.path("/var/log/sendmail-py.log")
        return path.read_text("utf-8", "replace") if path.exists() else ""
