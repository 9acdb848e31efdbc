"""The services and their ports: who runs, who listens, and whether that is us."""

import ipaddress
import os
import re
import sys
from collections.abc import Iterator

from ....core.config import Config
from ....host.listeners import Place
from ....routing.networks import Networks
from ....services.listening import entries
from ...ask import NotRunning, ask_one
from .finding import Finding, error, warning

_LISTEN = "0A"
# Who has the first three, or the last two, in mynetworks has everybody there.
_STRANGERS = (("192.0.2.1", "100.127.0.1", "8.8.8.8"), ("2001:db8::1", "2600::1"))
_SOCKET = re.compile(r"socket:\[(\d+)\]")


def check(config: Config) -> Iterator[Finding]:
    """Yield services that do not run, and ports where somebody else or nobody listens."""
    mailctl = f"mailctl -c {config.config_directory}"
    try:
        pid = int(ask_one(config, "control", {"verb": "status"})["pid"])
    except NotRunning:
        pid = 0
        yield error("the services are not running: mail waits", f"{mailctl} start")
    wanted, complaints = entries(config, set())
    for text in complaints:
        yield error(text, f"{mailctl} config -n inet_interfaces")
    if _trusts_everybody(config) and not all(ipaddress.ip_address(e.place.address).is_loopback for e in wanted):
        text = "mynetworks holds everybody's address: this host relays for whoever reaches it, an open relay"
        yield error(text, f"{mailctl} config -e mynetworks='127.0.0.0/8 [::1]/128'")
    taken, ours = listening(), sockets_of(pid) if pid else set()
    for entry in wanted:
        inodes = set().union(*(taken.get((address, entry.place.port), set()) for address in _in_its_way(entry.place)))
        if inodes and not inodes & ours and (not pid or ours):
            who = ", ".join(sorted(owners(inodes))) or "another program"
            yield error(
                f"port {entry.place.port} is taken: {who} listens there", f"ss -ltnp 'sport = :{entry.place.port}'"
            )
        elif not inodes and pid and not entry.place.by_default:
            yield error(f"nobody listens on {entry.place}, where main.cf has {entry.kind}", f"{mailctl} reload")
        elif not inodes and pid and ":" not in entry.place.address:
            yield warning(f"nobody listens on {entry.place}, where main.cf has {entry.kind}", f"{mailctl} reload")


def _trusts_everybody(config: Config) -> bool:
    try:
        friends = Networks(config.mynetworks)
    except ValueError:  # said elsewhere
        return False
    return any(all(address in friends for address in family) for family in _STRANGERS)


def _in_its_way(place: Place) -> set[str]:
    """Return the addresses that a listener keeps others from: its own, and the one that stands for all."""
    return {place.address, "::", *(() if ":" in place.address else ("0.0.0.0",))}


def listening() -> dict[tuple[str, int], set[str]]:
    """Return the addresses and ports on which somebody listens, with the inodes of the sockets."""
    found: dict[tuple[str, int], set[str]] = {}
    for path in ("/proc/self/net/tcp", "/proc/self/net/tcp6"):
        try:
            with open(path, encoding="ascii") as file:
                rows = [line.split() for line in file][1:]
        except OSError:
            continue
        for row in rows:
            if row[3] == _LISTEN:
                address, _, port = row[1].rpartition(":")
                found.setdefault((_address(address), int(port, 16)), set()).add(row[9])
    return found


def _address(digits: str) -> str:
    """Read an address as /proc/net has it: words of four octets, each in the order of the machine."""
    octets = b"".join(int(digits[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(digits), 8))
    return str(ipaddress.ip_address(octets))


def sockets_of(pid: int) -> set[str]:
    """Return the inodes of a process's sockets; none for who may not look."""
    found = set()
    try:
        for name in os.listdir(f"/proc/{pid}/fd"):
            match = _SOCKET.match(os.readlink(f"/proc/{pid}/fd/{name}"))
            if match:
                found.add(match[1])
    except OSError:
        pass
    return found


def owners(inodes: set[str]) -> set[str]:
    """Return the programs that have one of these sockets, as far as we may know."""
    found = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        if sockets_of(int(pid)) & inodes:
            try:
                with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
                    found.add(f"{file.read().strip()} (pid {pid})")
            except OSError:
                continue
    return found
