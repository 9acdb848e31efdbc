"""strace on one running process: which system calls touch some paths, and faults injected into them.

A run without injection tells which calls there are; each of them is then a Fault to inject: the
n-th call of its name, in its thread, that touches its path.
"""

import os
import re
import signal
import subprocess
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from tests.integration.instance import wait_until

WHOLE = os.environ.get("CI") == "true" or os.environ.get("FAULTS") == "all"
ERRORS = ("EIO", "ENOSPC", "EDQUOT", "EMFILE")
_CALL = re.compile(r"^(?:\[pid +)?(?P<pid>\d+)?\]? *(?P<name>[a-z_0-9]+)\((?P<rest>.*)$")


@dataclass(frozen=True)
class Fault:
    """The n-th call of a name in a thread of this kind (main or pool) that touches a path pattern."""

    kind: str
    syscall: str
    path: str
    ordinal: int
    effect: str = "signal=SIGKILL"

    def earlier(self) -> "Fault":
        """Return the call before it: of those that several threads share, none may have made so many in another run."""
        return replace(self, ordinal=max(1, self.ordinal - 1))

    def __str__(self) -> str:
        return f"{self.effect} at {self.syscall} {self.ordinal} on {self.path} ({self.kind})"


def with_effects(faults: Iterable[Fault]) -> list[Fault]:
    """Return a kill and every error for each fault; a sample of them in the small version."""
    sites = list(dict.fromkeys(faults))
    found = [Fault(f.kind, f.syscall, f.path, f.ordinal) for f in sites]
    found += [Fault(f.kind, f.syscall, f.path, f.ordinal, f"error={e}") for f in sites for e in ERRORS]
    return found


def sample(faults: list[Fault], count: int) -> list[Fault]:
    """Return all faults where the whole is asked for, else about count of them, spread evenly."""
    if WHOLE or len(faults) <= count:
        return faults
    return [faults[i * len(faults) // count] for i in range(count)]


# --- one process under strace ----------------------------------------------------------------


class Strace:
    """strace attached to threads of a running process, for calls on some paths only."""

    def __init__(self, output: Path, threads: Iterable[int], paths: Iterable[str], fault: Fault | None = None) -> None:
        self.output = output
        threads = list(threads)
        command = ["strace", "-q", "-y", "-o", str(output)]
        for path in paths:
            command += ["-P", path]
        if fault is not None:
            command += ["-e", f"trace={fault.syscall}"]
            command += ["-e", f"inject={fault.syscall}:{fault.effect}:when={fault.ordinal}"]
        for thread in threads:
            command += ["-p", str(thread)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(lambda: all(_is_traced(thread) for thread in threads), "strace is attached")

    def end(self) -> list[str]:
        """Detach; returns the lines of the trace."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        return self.output.read_text("utf-8", "replace").splitlines()


def _is_traced(thread: int) -> bool:
    try:
        status = Path(f"/proc/{thread}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True  # it is gone; the run will tell
    return "TracerPid:\t0\n" not in status


def was_hit(lines: list[str]) -> bool:
    """Say whether a trace shows its injection."""
    return any("(INJECTED)" in line or "killed by SIGKILL" in line for line in lines)


def threads_of(pid: int, kind: str) -> list[int]:
    """Return the main thread, or the others, of a process."""
    others = [int(name) for name in os.listdir(f"/proc/{pid}/task") if int(name) != pid]
    return others if kind == "pool" else [pid]


def faults_in(lines: list[str], kind: str, paths: dict[str, str]) -> list[Fault]:
    """Return the faults for the calls of a trace; paths maps each real path to its pattern."""
    found: list[Fault] = []
    counts: Counter[tuple[str, str, str]] = Counter()
    for line in lines:
        call = _CALL.match(line)
        if call is None or "resumed>" in line:
            continue
        arguments = call["rest"].rpartition(" = ")[0]  # what a call returns is no reason for strace to select it
        touched = [p for p in paths if f'"{p}"' in arguments or f"<{p}>" in arguments]
        for path in touched:
            counts[call["pid"] or "", call["name"], path] += 1
        if touched:
            best = min(touched, key=lambda p: counts[call["pid"] or "", call["name"], p])
            found.append(Fault(kind, call["name"], paths[best], counts[call["pid"] or "", call["name"], best]))
    return list(dict.fromkeys(found))
