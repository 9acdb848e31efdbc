"""The laboratory of the benchmarks: a Debian root for each system, and a network of two namespaces.

One namespace holds the system under test (198.51.100.1), the other what it talks to
(198.51.100.2): a name server and Postfix's smtp-sink. Nothing leaves the machine. Roots are kept
between runs; mounts, namespaces and processes are not. Processes are known by their root directory.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
CACHE = Path(os.environ.get("BENCH_DIRECTORY", "/var/tmp/sendmail-py-bench"))
SYSTEM, PEER = "sendmail-py-b0", "sendmail-py-b1"  # network namespaces
SYSTEM_ADDRESS, PEER_ADDRESS = "198.51.100.1", "198.51.100.2"
USERS = ["alice", *(f"u{n}" for n in range(10))]
FIRST_UID = 2001
_PACKAGES = {
    "postfix": ["postfix"],
    "sendmail-py": ["python3", "python3-dnspython", "python3-filelock", "python3-daemon", "python3-cryptography"],
}


class LabError(Exception):
    """The laboratory could not be set up, or a measurement is void."""


def run(*words: object, check: bool = True) -> str:
    """Run a command and return what it printed; raises LabError."""
    done = subprocess.run(
        [str(word) for word in words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=1200,
    )
    if check and done.returncode:
        raise LabError(f"{' '.join(map(str, words))}: status {done.returncode}: {done.stdout[-600:]}")
    return done.stdout


def wait_until(condition, what: str, seconds: float = 120, pause: float = 0.02) -> None:
    """Poll until a condition holds; raises LabError after so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise LabError(f"{what}: not within {seconds:.0f} s")
        time.sleep(pause)


def inside(namespace: str) -> list[str]:
    """Return the words that run a command in a network namespace, and change nothing else."""
    return ["nsenter", f"--net=/run/netns/{namespace}"]


class Root:
    """A directory with a Debian system, in which one mail system runs."""

    def __init__(self, name: str) -> None:
        self.path = CACHE / name
        self._mounted: list[Path] = []
        if not (CACHE / f"{name}.made").exists():
            self._make(name)
        for kind, source in (("proc", "/proc"), ("dev", "/dev")):
            target = self.path / kind
            if not os.path.ismount(target):
                run("mount", "--bind", source, target)
                self._mounted.append(target)
        self._write_users()
        self._write_network()

    def _make(self, name: str) -> None:
        print(f"making {self.path} (once; minutes)", file=sys.stderr, flush=True)
        base = CACHE / "base"
        if not (CACHE / "base.made").exists():
            shutil.rmtree(base, ignore_errors=True)
            CACHE.mkdir(parents=True, exist_ok=True)
            if not shutil.which("debootstrap"):
                run("apt-get", "install", "-y", "-q", "debootstrap")
            run("debootstrap", "--variant=minbase", _suite(), base, *_mirror())
            (CACHE / "base.made").touch()
        shutil.rmtree(self.path, ignore_errors=True)
        run("cp", "-a", base, self.path)
        policy = self.path / "usr/sbin/policy-rc.d"
        policy.write_text("#!/bin/sh\nexit 101\n")  # starts no service
        policy.chmod(0o755)
        for file in ("hostname", "mailname"):
            (self.path / "etc" / file).write_text("mx.test.example\n")
        self._install(_PACKAGES[name])
        (CACHE / f"{name}.made").touch()

    def _install(self, packages: list[str]) -> None:
        for file in ("resolv.conf", "hosts"):
            shutil.copy(f"/etc/{file}", self.path / "etc" / file)
        install = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *packages]
        run("chroot", self.path, "env", "DEBIAN_FRONTEND=noninteractive", *install)

    def need(self, program: str, packages: list[str]) -> None:
        """Install packages, unless the program that they bring is there."""
        if not (self.path / program[1:]).exists():
            print(f"installing {' '.join(packages)} in {self.path}", file=sys.stderr, flush=True)
            run("chroot", self.path, "apt-get", "update", "-q", check=False)
            self._install(packages)
            self._write_network()

    def _write_network(self) -> None:
        (self.path / "etc/resolv.conf").write_text(f"nameserver {PEER_ADDRESS}\n")
        (self.path / "etc/hosts").write_text(f"127.0.0.1 localhost\n{SYSTEM_ADDRESS} mx.test.example mx\n")

    def _write_users(self) -> None:
        for offset, user in enumerate(USERS):
            uid = FIRST_UID + offset
            home = self.path / "home" / user
            if not home.exists():
                home.mkdir(parents=True)
                os.chown(home, uid, uid)
                with open(self.path / "etc/passwd", "a", encoding="ascii") as file:
                    file.write(f"{user}:x:{uid}:{uid}::/home/{user}:/bin/sh\n")
                with open(self.path / "etc/group", "a", encoding="ascii") as file:
                    file.write(f"{user}:x:{uid}:\n")

    def command(self, *words: str) -> list[str]:
        """Return the words that run a command in this root and in the system's namespace."""
        return [*inside(SYSTEM), "chroot", str(self.path), *words]

    def call(self, *words: str, check: bool = True, given: str = "") -> None:
        """Run a command there, given some input; what it leaves running keeps nothing of ours open."""
        done = subprocess.run(
            self.command(*words),
            input=given.encode(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=120,
        )
        if check and done.returncode:
            raise LabError(f"{words}: status {done.returncode}")

    def processes(self) -> list[int]:
        """Return the pids of all processes whose root directory is this, or a jail within it."""
        found = []
        top = str(self.path)
        for name in os.listdir("/proc"):
            with contextlib.suppress(OSError):
                if name.isdigit() and f"{os.readlink(f'/proc/{name}/root')}/".startswith(f"{top}/"):
                    found.append(int(name))
        return found

    def pss(self) -> int:
        """Return the proportional memory of these processes in kB."""
        total = 0
        for pid in self.processes():
            with contextlib.suppress(OSError, AttributeError):
                text = Path(f"/proc/{pid}/smaps_rollup").read_text()
                total += int(re.search(r"^Pss:\s+(\d+)", text, re.M).group(1))
        return total

    def cpu(self) -> float:
        """Return the seconds of CPU that these processes, and children of theirs that have ended, have used so far.

        What the peer has running here does not count.
        """
        own = os.stat(f"/run/netns/{SYSTEM}").st_ino
        ticks = 0
        for pid in self.processes():
            with contextlib.suppress(OSError):
                if os.stat(f"/proc/{pid}/ns/net").st_ino == own:
                    ticks += sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:15]))
        return ticks / os.sysconf("SC_CLK_TCK")

    def end_processes(self) -> None:
        """End what is left in this root, by pid."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            for pid in self.processes():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            with contextlib.suppress(LabError):
                return wait_until(lambda: not self.processes(), "processes end", 5)
        return None

    def close(self) -> None:
        """End the processes and undo the mounts."""
        self.end_processes()
        for target in self._mounted:
            run("umount", "-l", target, check=False)


class Network:
    """The two namespaces with their name server; a context manager."""

    def __enter__(self) -> "Network":
        self.close()
        for name in (SYSTEM, PEER):
            run("ip", "netns", "add", name)
            run("ip", "-n", name, "link", "set", "lo", "up")
        run("ip", "-n", SYSTEM, "link", "add", "b0", "type", "veth", "peer", "name", "b1", "netns", PEER)
        for name, device, address in ((SYSTEM, "b0", SYSTEM_ADDRESS), (PEER, "b1", PEER_ADDRESS)):
            run("ip", "-n", name, "addr", "add", f"{address}/24", "dev", device)
            run("ip", "-n", name, "link", "set", device, "up")
        names = ["/usr/bin/python3", "-I", str(HERE / "names.py"), PEER_ADDRESS, SYSTEM_ADDRESS]
        self._names = self.start(*names)
        return self

    def __exit__(self, *_: object) -> None:
        self._names.terminate()
        self._names.wait()
        self.close()

    def close(self) -> None:
        """Remove the namespaces."""
        for name in (SYSTEM, PEER):
            run("ip", "netns", "del", name, check=False)

    def start(self, *words: str, output=subprocess.DEVNULL) -> subprocess.Popen:
        """Start a command at the peer's end."""
        words = (*inside(PEER), *words)
        return subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.DEVNULL)


class Sink:
    """Postfix's smtp-sink at the peer's end; count() says how many messages it took."""

    def __init__(self, network: Network, postfix: Root, address: str = f"{PEER_ADDRESS}:25") -> None:
        self._file = CACHE / "sink.out"
        with open(self._file, "wb") as output:
            words = [
                "chroot",
                str(postfix.path),
                "/usr/sbin/smtp-sink",
                "-c",
                "-u",
                "nobody",
                address,
                "1024",
            ]
            self._process = network.start(*words, output=output)
        time.sleep(0.3)
        if self._process.poll() is not None:
            raise LabError("smtp-sink does not start")

    def count(self) -> int:
        """Return the number of messages taken so far."""
        with open(self._file, "rb") as file:
            file.seek(max(0, os.path.getsize(self._file) - 300))
            found = re.findall(rb"mesg=(\d+)", file.read())
        return int(found[-1]) if found else 0

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait()


class TlsSink(Sink):
    """The same behind stunnel, which answers EHLO and STARTTLS; a session may be resumed, a connection used again."""

    def __init__(self, network: Network, postfix: Root) -> None:
        postfix.need("/usr/bin/stunnel4", ["stunnel4", "openssl"])
        place = postfix.path / "etc/stunnel"
        pair = ["-keyout", place / "sink.pem", "-out", place / "sink.crt"]
        if not (place / "sink.crt").exists():
            subject = ["-subj", "/CN=mx.remote.example", "-newkey", "rsa:2048", "-nodes", "-days", "3650"]
            run("openssl", "req", "-x509", *subject, *pair)
        (place / "sink.conf").write_text(_STUNNEL)
        super().__init__(network, postfix, "127.0.0.1:2525")
        self._stunnel = network.start("chroot", str(postfix.path), "/usr/bin/stunnel4", "/etc/stunnel/sink.conf")
        time.sleep(0.5)
        if self._stunnel.poll() is not None:
            super().close()
            raise LabError("stunnel does not start")

    def close(self) -> None:
        """End both."""
        self._stunnel.terminate()
        self._stunnel.wait()
        super().close()


_STUNNEL = f"""\
foreground = quiet
pid =
output = /dev/null
[smtp]
accept = {PEER_ADDRESS}:25
connect = 127.0.0.1:2525
protocol = smtp
cert = /etc/stunnel/sink.crt
key = /etc/stunnel/sink.pem
"""


def _suite() -> str:
    text = Path("/etc/os-release").read_text()
    found = re.search(r"^VERSION_CODENAME=(\w+)", text, re.M)
    return found.group(1) if found else "bookworm"


def _mirror() -> list[str]:
    """Return the archive from which this machine's own apt takes this suite, for debootstrap."""
    suite = re.escape(_suite())
    line = rf"^deb (?:\[.*?\] )?(\S+) {suite} main"
    stanza = rf"^URIs: *(\S+).*?^Suites:[^\n]* {suite}\b(?!-)"
    for file in [*Path("/etc/apt").glob("sources.list.d/*"), Path("/etc/apt/sources.list")]:
        for part in file.read_text().split("\n\n") if file.suffix in (".list", ".sources") and file.is_file() else ():
            found = re.search(line, part, re.M) or re.search(stanza, part, re.M | re.S)
            if found:
                return [found.group(1)]
    return []
