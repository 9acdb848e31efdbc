"""DNS with DNSSEC on a test machine: nsd serves a signed root and zones below it, unbound validates them for everybody.

signed.test is as it should be, unsigned.test not signed, bogus.test signed with another key than its parent
vouches for, expired.test with signatures of last year, and lame.test has a server that does not know it.
"""

import subprocess
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from machine import Machine, wait_until

from tests.servers.certificates import Authority, association, read

Records = Mapping[str, Mapping[str, Sequence[str]]]
ZONES = ("signed.test", "unsigned.test", "bogus.test", "expired.test")
RESOLVER = "127.0.0.1"
REMOTE = "192.0.2.53"  # the same one, by an address that is not loopback
_NSD = "127.0.0.4"
_PLACE = "/var/lib/dns"
_HEAD = "$TTL 60\n@ IN SOA ns.signed.test. hostmaster.signed.test. 1 60 60 60 60\n@ IN NS ns.signed.test.\n"
_GLUE = f"ns.signed.test. IN A {_NSD}\n"
_SIGN = """
cd "$0"
key() { ldns-keygen -r /dev/urandom -a ECDSAP256SHA256 -k "$1"; }
for zone in signed.test bogus.test expired.test .; do
    key=$(key "$zone")
    times=
    [ $zone != expired.test ] || times="-i 20200101 -e 20200201"
    file=zone.$zone
    [ $zone != . ] || cat ds.* >> "$file"
    ldns-signzone $times -f "$file.signed" -o "$zone" "$file" "$key"
    mv "$file.signed" "$file"
    if [ $zone = bogus.test ]; then key=$(key "$zone"); fi
    [ $zone = . ] && cat "$key.key" > anchor || cat "$key.ds" > "ds.$zone"
done
"""
_NSD_CONF = f"""\
server:
  ip-address: {_NSD}
  username: ""
  zonesdir: {_PLACE}
  database: ""
  pidfile: ""
  xfrdfile: {_PLACE}/xfrd
  zonelistfile: {_PLACE}/zonelist
  cookie-secret-file: ""
  server-count: 1
remote-control:
  control-enable: no
"""
_UNBOUND_CONF = f"""\
server:
  interface: {RESOLVER}
  interface: {REMOTE}
  access-control: 0.0.0.0/0 allow
  username: ""
  chroot: ""
  directory: {_PLACE}
  pidfile: ""
  use-syslog: no
  do-not-query-localhost: no
  root-hints: {_PLACE}/hints
  trust-anchor-file: {_PLACE}/anchor
  module-config: "validator iterator"
  do-ip6: no
  num-threads: 1
  outgoing-range: 400
  num-queries-per-thread: 200
  local-zone: "test." nodefault
  qname-minimisation: no
  trust-anchor-signaling: no
remote-control:
  control-enable: no
"""


class Receivers:
    """Domains with a real mail server on 127.0.0.2, port 25, whose records are for its certificate, or not."""

    settings: ClassVar = {
        "resolver_nameservers": RESOLVER,
        "myhostname": "client.test",
        "smtp_permit_loopback_mx": "yes",
        "smtp_tls_security_level": "dane-only",
    }

    def __init__(self, ours: Authority, stranger: Authority) -> None:
        kinds = ("3 1 1", "2 1 1", "other 3 1 1", "other 2 1 1")
        self.domains = {kind: f"r{n}.signed.test" for n, kind in enumerate(kinds)}
        hosts = [f"mx.{domain}" for domain in self.domains.values()]
        self.path = ours.certificate(*hosts, shows_authority=True)
        self.records: dict[str, dict[str, list[str]]] = {}
        for (kind, domain), host in zip(self.domains.items(), hosts, strict=True):
            who = stranger.file if "other" in kind else ours.file if "2 1 1" in kind else self.path
            data = association(1, 1, read(who)).hex()
            self.records |= {domain: {"MX": [f"10 {host}."]}, host: {"A": ["127.0.0.2"]}}
            self.records[f"_25._tcp.{host}"] = {"TLSA": [f"{kind.removeprefix('other ')} {data}"]}


class SignedDns:
    """A context manager: the two servers, for records {name: {type: [texts]}}; questions go to RESOLVER, port 53."""

    def __init__(self, machine: Machine, records: Records) -> None:
        self._machine = machine
        self._records = records
        self._running: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> "SignedDns":
        machine = self._machine
        machine.path(_PLACE).mkdir()
        machine.run("ip", "address", "add", f"{REMOTE}/32", "dev", "lo")
        root = _HEAD + _GLUE + "".join(f"{zone}. IN NS ns.signed.test.\n" for zone in (*ZONES, "lame.test"))
        self._write("zone..", root)
        for zone in ZONES:
            own = [line for name in self._records if name.endswith(f".{zone}") for line in self._lines(name)]
            self._write(f"zone.{zone}", f"$ORIGIN {zone}.\n{_HEAD}{_GLUE if zone == ZONES[0] else ''}{''.join(own)}")
        machine.run("sh", "-euc", _SIGN, _PLACE)
        zones = (f'zone:\n  name: "{zone}"\n  zonefile: zone.{zone}\n' for zone in (".", *ZONES, "lame.test"))
        self._write("nsd.conf", _NSD_CONF + "".join(zones))
        self._write("unbound.conf", _UNBOUND_CONF)
        self._write("hints", f". 60 IN NS ns.signed.test.\n{_GLUE}")
        machine.path("/etc/resolv.conf").unlink(missing_ok=True)
        machine.path("/etc/resolv.conf").write_text(f"nameserver {RESOLVER}\noptions trust-ad\n")
        self._start("nsd", "-d", "-c", f"{_PLACE}/nsd.conf")
        self._start("unbound", "-d", "-c", f"{_PLACE}/unbound.conf")
        wait_until(lambda: "ANSWER SECTION" in self.ask("ns.signed.test", "A"), "DNS answers")
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self._running):
            process.terminate()
            process.wait(60)

    def ask(self, *words: str) -> str:
        """Return what drill says to a question."""
        return self._machine.run("drill", "-D", f"@{RESOLVER}", *words, check=False).stdout.decode()

    def _lines(self, name: str) -> list[str]:
        return [f"{name}. IN {kind} {text}\n" for kind, texts in self._records[name].items() for text in texts]

    def _write(self, name: str, text: str) -> None:
        self._machine.path(f"{_PLACE}/{name}").write_text(text)

    def _start(self, *words: Any) -> None:
        command = self._machine.command(words)
        self._running.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL))
