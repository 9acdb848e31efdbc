"""A real little DNS server for tests and the demo: UDP and TCP on one loopback port.

A zone is {name: entry}; an entry maps record types to lists of texts ("MX": ["10 mx.test."]) and
may hold "ttl": seconds, "rcode": "SERVFAIL", "silent": true (no answer), "truncate": true (UDP
answers are cut), "leave_cname": true (the client must follow), "no_soa": true (nothing says how
long a "no" counts), "garble": true (the answer's end is noise), "secure": true (an answer made of such entries
alone has the flag AD, as if DNSSEC had been validated, when the question has it). A name that is not there is NXDOMAIN.

    python tests/servers/name_server.py --port P --zone FILE.json
"""

import argparse
import json
import os
import socket
import struct
import sys
import threading

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset

if not __package__:  # as a program
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from tests.servers.ports import free_port


class NameServer:
    """A context manager; address is what resolver_nameservers wants, questions what was asked."""

    def __init__(self, zone, port=0, host="127.0.0.1"):
        self.zone = {name.rstrip(".").lower(): entry for name, entry in zone.items()}
        self.questions = []
        self._tcp, self._udp = _bind_both(port, host)
        self.port = self._udp.getsockname()[1]
        self.address = f"{host}:{self.port}"

    def __enter__(self):
        for serve in (self._serve_udp, self._serve_tcp):
            threading.Thread(target=serve, daemon=True).start()
        return self

    def __exit__(self, *_):
        for end in (self._tcp, self._udp):
            try:
                end.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits in it
            except OSError:
                pass
            end.close()

    def _serve_udp(self):
        while True:
            try:
                wire, client = self._udp.recvfrom(4096)
                answer = self._answer(wire, "udp")
                if answer:
                    self._udp.sendto(answer, client)
            except OSError:
                return

    def _serve_tcp(self):
        while True:
            try:
                end, _ = self._tcp.accept()
            except OSError:
                return
            with end, end.makefile("rb") as file:
                end.settimeout(5)
                try:
                    (length,) = struct.unpack("!H", file.read(2))
                    answer = self._answer(file.read(length), "tcp")
                    if answer:
                        end.sendall(struct.pack("!H", len(answer)) + answer)
                except (OSError, struct.error):
                    pass

    def _answer(self, wire, how):
        try:
            query = dns.message.from_wire(wire)
        except dns.exception.DNSException:
            return None  # also the empty datagram that shutdown() makes
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        kind = dns.rdatatype.to_text(question.rdtype)
        self.questions.append((name, kind, how))
        response = dns.message.make_response(query, recursion_available=True)
        entry = self.zone.get(name)
        if entry and entry.get("silent"):
            return None
        if entry and entry.get("truncate") and how == "udp":
            response.flags |= dns.flags.TC
            return response.to_wire()
        self._fill(response, name, kind, bool(query.flags & dns.flags.AD))
        if entry and entry.get("garble"):
            return response.to_wire()[:-3] + os.urandom(8)
        return response.to_wire(max_size=65535)

    def _fill(self, response, name, kind, wants_ad):
        is_secure = wants_ad
        for _ in range(10):
            entry = self.zone.get(name)
            is_secure = is_secure and bool((entry or {}).get("secure"))
            if is_secure:
                response.flags |= dns.flags.AD
            else:
                response.flags &= ~dns.flags.AD
            if entry is None:
                response.set_rcode(dns.rcode.NXDOMAIN)
                break
            if "rcode" in entry:
                response.set_rcode(dns.rcode.from_text(entry["rcode"]))
                return
            ttl = entry.get("ttl", 60)
            if kind in entry:
                response.answer.append(rrset(name, ttl, kind, entry[kind]))
                return
            if "CNAME" not in entry:
                break
            response.answer.append(dns.rrset.from_text(f"{name}.", ttl, "IN", "CNAME", *entry["CNAME"]))
            if entry.get("leave_cname"):
                return
            name = entry["CNAME"][0].rstrip(".").lower()
        if not (entry or {}).get("no_soa"):
            soa = "ns.test. admin.test. 1 60 60 60 60"
            response.authority.append(dns.rrset.from_text("test.", 60, "IN", "SOA", soa))


def rrset(name, ttl, kind, texts):
    """Return records; TLSA is sent as written, also what dnspython would not make."""
    if kind == "TLSA":
        datas = [bytes([*map(int, text.split()[:3])]) + bytes.fromhex(text.split()[3]) for text in texts]
        made = dns.rrset.RRset(dns.name.from_text(name), dns.rdataclass.IN, dns.rdatatype.TLSA)
        made.update_ttl(ttl)
        for data in datas:
            made.add(dns.rdata.GenericRdata(dns.rdataclass.IN, dns.rdatatype.TLSA, data))
        return made
    return dns.rrset.from_text(f"{name}.", ttl, "IN", kind, *texts)


def _bind_both(port, host):
    tcp = socket.create_server((host, port or free_port()))
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(tcp.getsockname())
    return tcp, udp


def main():
    parser = argparse.ArgumentParser(description="A little DNS server on 127.0.0.1.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--zone", required=True, help="a JSON file: {name: {type: [records]}}")
    options = parser.parse_args()
    with open(options.zone, encoding="utf-8") as file:
        zone = json.load(file)
    with NameServer(zone, options.port) as server:
        print(f"ready {server.port}", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
