"""Mail by SMTP: Postfix's smtp-source at the peer's end against the system under test.

Each message is on disk before its 250 in both systems. What was accepted must be there at the end: in the sink and
in the log where mail is relayed, on hold where it is kept.
"""

import subprocess
import threading
import time

from lab import HERE, PEER, SYSTEM_ADDRESS, LabError, Network, Root, Sink, inside, run, wait_until
from systems import System

SESSIONS = (1, 20, 100)
SIZES = {"100 kB": 102_400, "10 MB": 10_485_760}
IDLE, ACTIVE = 1000, 200


class Accept:
    """The scenarios; count is how many messages a run sends over many sessions."""

    def __init__(self, count: int, network: Network, postfix: Root) -> None:
        self.count = count
        self._network = network
        self._postfix = postfix

    def send(
        self, count: int, sessions: int, size: int = 4096, reuse: bool = True, to: str = "bob@remote.example"
    ) -> float:
        """Send messages; returns how many a second were accepted. Raises LabError unless all were."""
        words = ["/usr/sbin/smtp-source", "-l", size, "-m", count, "-s", sessions, "-f", "alice@test.example"]
        words += ["-t", to, *(["-d"] if reuse else []), f"{SYSTEM_ADDRESS}:25"]
        started = time.monotonic()
        run(*inside(PEER), "chroot", self._postfix.path, *words)
        return count / (time.monotonic() - started)

    def measure_live(self, system: System) -> dict[str, float]:
        """Accept while what was accepted is relayed to the sink."""
        figures = {}
        for sessions in SESSIONS:
            rate, cpu = self._relayed(system, self._count(sessions), sessions)
            figures |= {f"live, {sessions} msgs/s": rate, f"live, {sessions} CPU us": cpu}
        return figures

    def _relayed(self, system: System, count: int, sessions: int) -> tuple[float, float]:
        """Return how many messages a second were accepted, and the CPU that each took from end to end, in us."""
        system.prepare(held=False, listens=True)
        sink = Sink(self._network, self._postfix)
        try:
            self._greet()
            spent = system.root.cpu()
            rate = self.send(count, sessions)
            wait_until(lambda: sink.count() >= count and system.is_empty(), f"{system.name}: all is relayed")
            spent = system.root.cpu() - spent
            time.sleep(1.2)  # a message too many would come late, and the sink counts once a second at least
            if not sink.count() == system.logged() == count:
                raise LabError(f"{system.name}: accepted {count}, relayed {sink.count()}, logged {system.logged()}")
        finally:
            sink.close()
        return rate, spent / count * 1e6

    def measure_held(self, system: System) -> dict[str, float]:
        """Accept what then stays on hold."""
        return {
            f"held, {sessions} msgs/s": self._held(system, self._count(sessions), sessions) for sessions in SESSIONS
        }

    def measure_single(self, system: System) -> dict[str, float]:
        """The same with a connection for each message."""
        return {"held, one each msgs/s": self._held(system, self.count, 20, reuse=False)}

    def measure_sizes(self, system: System) -> dict[str, float]:
        """The same with larger messages."""
        counts = {"100 kB": max(40, self.count // 5), "10 MB": max(20, self.count // 100)}
        return {f"held, {name} msgs/s": self._held(system, counts[name], 20, size) for name, size in SIZES.items()}

    def _held(self, system: System, count: int, sessions: int, size: int = 4096, reuse: bool = True) -> float:
        system.prepare(held=True, listens=True)
        self._greet()
        rate = self.send(count, sessions, size, reuse)
        wait_until(lambda: system.at_rest(count), f"{system.name}: what was accepted is on hold", 60, 0.2)
        return rate

    def measure_idle(self, system: System) -> dict[str, float]:
        """The greeting, and the memory, with idle sessions beside active ones; Postfix has too few processes for it."""
        if system.name == "postfix":
            return {}
        system.prepare(held=True, listens=True)
        words = [*inside(PEER), "/usr/bin/python3", "-I", HERE / "clients.py", SYSTEM_ADDRESS, IDLE]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        with subprocess.Popen([str(word) for word in words], **pipes) as clients:
            clients.stdout.readline()
            sender = threading.Thread(target=self.send, args=(self.count * 4, ACTIVE))
            sender.start()
            waits, peak = [], 0
            while sender.is_alive():
                clients.stdin.write("greet\n")
                clients.stdin.flush()
                waits.append(float(clients.stdout.readline()))
                peak = max(peak, system.root.pss())
                time.sleep(0.05)
            clients.stdin.close()
        wait_until(lambda: system.at_rest(self.count * 4), f"{system.name}: what was accepted is on hold", 60, 0.2)
        waits.sort()
        return {
            "greeting p99 ms": waits[int(len(waits) * 0.99)],
            "greeting, worst ms": waits[-1],
            "1,200 sessions MB": peak / 1000,
        }

    def _count(self, sessions: int) -> int:
        return (
            self.count if sessions > 1 else max(50, self.count // 4)
        )  # one session waits for the disk most of the time

    def _greet(self) -> None:
        """Have the server started, as one that is in use is."""
        run(*inside(PEER), "/usr/bin/python3", "-I", HERE / "clients.py", SYSTEM_ADDRESS, 1)
