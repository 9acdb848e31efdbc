"""DNS questions for mail: MX and address look-ups, asynchronous, cached, asked once at a time.

The only door to dnspython, which is imported when the first question is asked. No exception
of it passes this file: whatever is not a clear answer is Found.TEMPORARY. Answers are cached
for their TTL (TTL 0: used once) in a table of bounded size. Nothing is validated here: an answer
is secure when a name server that is trusted with that says so for every part of it (RFC 6840 5.8).
"""

import asyncio
import random
import re
import struct
import time
from collections.abc import Awaitable, Callable, Container, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ..core.lookup import AddressAnswer, Found, MxAnswer, TlsaAnswer
from .dns_wire import over_tcp, over_udp
from .name_servers import Server

if TYPE_CHECKING:
    import dns.message

CACHE_LIMIT = 5000
_TTL_LIMIT = 86400
_NEGATIVE_TTL_LIMIT = 300
_ROUNDS = 3
_FIRST_WAIT = 4.0
_CNAME_LIMIT = 8
_IMPOSSIBLE = (255, 255, 255, b"")  # a TLSA record that is there, and of no use
_AUTHENTIC = 0x20  # the flag AD
_TRUNCATED = 0x02  # of the third octet of the header
_HOST_NAME = re.compile(r"[A-Za-z0-9._\-\u0080-\U0010ffff]+")


class Resolver:
    """Answers MX and address questions of one event loop.

    servers are asked in turn; timeout is in seconds for a whole question with its CNAMEs.
    families are the record types that an address look-up asks for: "A", "AAAA" or both. trusted are
    the addresses of servers whose word on DNSSEC counts: where one of the servers is, no other is asked
    anything, for what the one finds forged the other might tell as if it were nothing.
    """

    def __init__(
        self,
        servers: Sequence[Server],
        timeout: float,
        families: tuple[str, ...] = ("AAAA", "A"),
        trusted: Container[str] = (),
    ) -> None:
        self._servers = servers
        self._trusted = trusted
        self._timeout = timeout
        self._families = families
        self._cache: dict[tuple[str, str], tuple[float, Any]] = {}
        self._asking: dict[tuple[str, str], asyncio.Future[Any]] = {}

    @property
    def has_dnssec(self) -> bool:
        """True when an answer may come out as secure."""
        return any(host in self._trusted for host, _ in self._servers)

    async def mx(self, domain: str) -> MxAnswer:
        """Look the MX records of a domain up."""
        return MxAnswer(*await self._records(domain, "MX"))

    async def addresses(self, host: str) -> AddressAnswer:
        """Look the addresses of a host up, in all families; found in one is found."""
        answers = await asyncio.gather(*(self._records(host, family) for family in self._families))
        answers.sort(key=lambda answer: answer.is_secure)  # the name behind aliases is that of a secure answer, if any
        addresses = tuple(address for answer in answers for address in answer.records)
        if addresses:
            secure = tuple(address for answer in answers if answer.is_secure for address in answer.records)
            return AddressAnswer(Found.YES, addresses, "", secure, answers[-1].canonical)
        for wanted in (Found.TEMPORARY, Found.NO_DOMAIN):
            for answer in answers:
                if answer.found is wanted:
                    return AddressAnswer(answer.found, (), answer.reason)
        if answers:
            return AddressAnswer(Found.NO_DATA, (), f"no {' or '.join(sorted(self._families))} record")
        return AddressAnswer(Found.TEMPORARY, (), "no address family is in use")

    async def tlsa(self, name: str) -> TlsaAnswer:
        """Look the TLSA records of a service up, such as _25._tcp.mx.example."""
        found, records, reason, is_secure, _ = await self._records(name, "TLSA")
        return TlsaAnswer(found, records, reason, is_secure)

    async def is_secure_alias(self, name: str) -> bool | None:
        """Say whether DNSSEC vouches for a name being an alias, whatever it stands for; None: it cannot be told."""
        answer = await self._records(name, "CNAME")
        return answer.is_secure if answer.found is Found.YES else None

    async def names(self, pointer: str) -> AddressAnswer:
        """Look the names of a host up by its name in in-addr.arpa or ip6.arpa; they are no more than claims."""
        found, records, reason, _, _ = await self._records(pointer, "PTR")
        names = tuple(name for name in records if _HOST_NAME.fullmatch(name))
        return AddressAnswer(Found.NO_DATA if found is Found.YES and not names else found, names, reason)

    async def texts(self, name: str) -> AddressAnswer:
        """Look the TXT records of a name up, the strings of each joined."""
        found, records, reason, _, _ = await self._records(name, "TXT")
        return AddressAnswer(found, records, reason)

    async def _records(self, name: str, kind: str) -> "_Records":
        key = name.rstrip(".").lower(), kind
        kept = self._cache.get(key)
        if kept and kept[0] > time.monotonic():
            records: _Records = kept[1]
            return records
        asking = self._asking.get(key)
        if asking is None:
            asking = asyncio.ensure_future(self._ask_and_keep(key))
            self._asking[key] = asking
            asking.add_done_callback(lambda _: self._asking.pop(key, None))
        answer: _Records = await asyncio.shield(asking)
        return answer

    async def _ask_and_keep(self, key: tuple[str, str]) -> "_Records":
        name, kind = key
        if not _HOST_NAME.fullmatch(name):
            return _Records(Found.NO_DOMAIN, (), "not a host name")
        try:
            answer, ttl = await asyncio.wait_for(_follow(name, kind, self._ask), self._timeout)
        except TimeoutError:
            return _Records(Found.TEMPORARY, (), "the name servers did not answer in time")
        if ttl > 0 and answer.found is not Found.TEMPORARY:
            while len(self._cache) >= CACHE_LIMIT:
                del self._cache[next(iter(self._cache))]
            self._cache[key] = time.monotonic() + ttl, answer
        return answer

    async def _ask(self, query: "dns.message.QueryMessage") -> "dns.message.Message | str":
        """Return the first clear answer of a server, or why there is none."""
        trusted = [server for server in self._servers if server[0] in self._trusted]
        servers = trusted or list(self._servers)
        wait = min(_FIRST_WAIT, self._timeout / (2 * len(servers)))
        trouble = "no answer"
        if trusted:
            query.flags |= _AUTHENTIC
        for _ in range(_ROUNDS):
            silent = False
            for server in servers:
                try:
                    response = await _exchange(query, server, wait)
                except TimeoutError:
                    trouble, silent = f"no answer from {server[0]}", True
                    continue
                except OSError as error:
                    trouble = f"name server {server[0]}: {error.strerror or error}"
                    continue
                if isinstance(response, str):
                    trouble = f"name server {server[0]}: {response}"
                    continue
                if not trusted:  # then it says so unasked, and its word does not count
                    response.flags &= ~_AUTHENTIC
                return response
            if not silent:
                break
            wait *= 2
        return trouble


class _Records(NamedTuple):
    """What a question came to."""

    found: Found
    records: tuple[Any, ...] = ()
    reason: str = ""
    is_secure: bool = False
    canonical: str = ""


_Ask = Callable[["dns.message.QueryMessage"], Awaitable["dns.message.Message | str"]]


async def _follow(name: str, kind: str, ask: _Ask) -> tuple[_Records, float]:
    """Ask, following CNAMEs that the server left to us; returns the records and their TTL."""
    import dns.exception
    import dns.message
    import dns.name
    import dns.rcode

    ttl: float = _TTL_LIMIT
    is_secure = True
    try:
        target = first = dns.name.from_text(name)
    except dns.name.IDNAException:
        return _Records(Found.TEMPORARY, (), "not a valid internationalised name"), 0
    except (dns.exception.DNSException, UnicodeError):
        return _Records(Found.NO_DOMAIN, (), "not a possible name"), 0
    for _ in range(_CNAME_LIMIT):
        response = await ask(dns.message.make_query(target, kind))
        if isinstance(response, str):
            return _Records(Found.TEMPORARY, (), response), 0
        try:
            chain = response.resolve_chaining()  # type: ignore[attr-defined]
        except (dns.exception.DNSException, AttributeError) as error:
            return _Records(Found.TEMPORARY, (), f"answer not understood: {type(error).__name__}"), 0
        ttl = min(ttl, chain.minimum_ttl)
        is_secure = is_secure and bool(response.flags & _AUTHENTIC)
        canonical = "" if chain.canonical_name == first else _text(chain.canonical_name)
        records = tuple(map(_value, chain.answer or ())) + (_IMPOSSIBLE,) * len(response.errors)
        if records:
            return _Records(Found.YES, records, "", is_secure, canonical), ttl
        if response.rcode() == dns.rcode.NXDOMAIN:
            return _Records(Found.NO_DOMAIN, (), "Host not found", is_secure, canonical), _negative_ttl(response, ttl)
        if chain.canonical_name == target:
            return _Records(Found.NO_DATA, (), f"no {kind} record", is_secure, canonical), _negative_ttl(response, ttl)
        target = chain.canonical_name
    return _Records(Found.TEMPORARY, (), "too many CNAMEs"), 0


def _negative_ttl(response: "dns.message.Message", ttl: float) -> float:
    """Return how long a "no" counts: not at all without an authority's SOA (RFC 2308 5)."""
    return min(ttl, _NEGATIVE_TTL_LIMIT) if response.authority else 0


def _value(record: Any) -> Any:
    """Return MX as (preference, host), TLSA as its four fields, PTR and CNAME as a name, TXT and addresses as text."""
    if hasattr(record, "exchange"):
        return record.preference, _text(record.exchange)
    if hasattr(record, "mtype"):
        return record.usage, record.selector, record.mtype, record.cert
    if hasattr(record, "strings"):
        return b"".join(record.strings).decode("utf-8", "replace")
    if hasattr(record, "target"):
        return _text(record.target)
    return record.address


def _text(name: Any) -> str:
    text: str = name.to_text(omit_final_dot=True)
    return text.removesuffix(".").lower()


async def _exchange(query: "dns.message.QueryMessage", server: Server, wait: float) -> "dns.message.Message | str":
    """Ask one server over UDP, and over TCP when the answer is cut; raises OSError, TimeoutError."""
    import dns.rcode
    import dns.rdatatype

    query.id = random.SystemRandom().randrange(65536)
    wire = query.to_wire()
    answer = await over_udp(wire, server, wait)
    if answer[2] & _TRUNCATED:
        try:
            answer = await asyncio.wait_for(over_tcp(wire, server), wait)
        except EOFError:
            return "answer cut short"
    response = _parse(answer, query.question[0].rdtype == dns.rdatatype.TLSA)
    if response is None or not query.is_response(response):
        return "answer not understood"
    if response.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        return dns.rcode.to_text(response.rcode())
    return response


def _parse(answer: bytes, has_tlsa: bool) -> "dns.message.Message | None":
    import dns.message

    try:
        return dns.message.from_wire(answer, ignore_trailing=True)
    except Exception:  # octets of strangers: whatever they break, it is no answer
        return _parse_most(answer) if has_tlsa and len(answer) >= 12 else None


def _parse_most(answer: bytes) -> "dns.message.Message | None":
    """Return a whole answer without those records that dnspython takes for impossible, such as digests cut short."""
    import dns.message
    import dns.name
    import dns.wire

    parser = dns.wire.Parser(answer, 12)
    questions, *others = struct.unpack("!HHHH", answer[4:12])
    try:
        for _ in range(questions):
            dns.name.from_wire_parser(parser)
            parser.get_bytes(4)
        for _ in range(sum(others)):
            dns.name.from_wire_parser(parser)
            parser.get_bytes(parser.get_struct("!HHIH")[3])
        return dns.message.from_wire(answer, ignore_trailing=True, continue_on_error=True)
    except Exception:  # likewise
        return None
