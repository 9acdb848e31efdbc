"""DKIM signatures of what the SMTP client sends: made last, over the octets that go out (docs/decisions/008).

Mail is signed that was submitted here: by sendmail(1), by who has logged in, or from mynetworks; and whose From has a
domain of dkim_domains, or one below it. Guarantees: what others wrote is never signed; the body is read from the
queue file in blocks; while a key or a table cannot be read the mail waits.
"""

import asyncio
import os
import time
from dataclasses import replace

from ..core.config import Config
from ..core.delivery import Delivery
from ..core.envelope import Envelope
from ..core.result import Scope, deferred
from ..formats import dkim
from ..formats.address_list import parse_address_list
from ..formats.header import field_text, fields, split_header
from ..host.dkim_keys import Key, read_key
from ..host.syslog import Log
from ..host.tables import Tables
from ..protocol.transparency import ContentEncoder
from ..routing.networks import Networks
from ..spool.message_file import read_head
from .content import blocks, split_content
from .dkim_domains import Signing, domains_above, signings


class DkimSigner:
    """The signatures of one configuration."""

    def __init__(self, config: Config, log: Log) -> None:
        self._config = config
        self._log = log
        self._domains = Tables(config.dkim_domains, log.warning)
        self._friends = Networks(config.mynetworks)
        self._keys: dict[str, tuple[tuple[int, int, int], Key]] = {}

    async def prepare(self, delivery: Delivery) -> bool:
        """Sign a delivery as others are to see it, once; False when it has to wait, and its results say so."""
        seen = delivery.seen()
        if seen.signed:
            return True
        try:
            signatures = await asyncio.to_thread(self._signatures, seen)
        except (OSError, ValueError) as error:
            text = f"DKIM: {error}"
            self._log.warning(f"{delivery.queue_id}: {text}")
            delivery.end_all(deferred("4.7.0", text, Scope.MESSAGE))
            return False
        if signatures:
            delivery.outward = replace(seen, header=signatures + seen.header, signed=True)
        else:
            seen.signed = True
        return True

    def _signatures(self, seen: Delivery) -> bytes:
        """Return the fields that sign a message; in a thread. Raises OSError, ValueError."""
        head, _ = split_content(seen.fd, seen.content_offset, seen.size)
        text = seen.header + head
        sections = split_header(text)
        assert sections is not None
        wanted = self._wanted(text[: sections.end], seen.fd)
        if not wanted:
            return b""
        encoder = ContentEncoder(self._config.smtp_line_length_limit, in_chunks=True)
        wire = encoder.encode(text[: sections.end] + b"\n")
        header = list(fields(wire[: wire.rindex(b"\r\n")]))
        body = dkim.BodyHash()
        at = sections.body - len(seen.header)
        for block in blocks(seen.fd, seen.content_offset + at, seen.size - at):
            body.update(encoder.encode(block))
        body.update(encoder.end())
        digest = body.digest()
        names = dkim.signed_names(name for name, _ in header)
        return b"".join(self._signature(signing, header, names, digest) for signing in wanted)

    def _signature(self, signing: Signing, header: list[tuple[bytes, bytes]], names: list[bytes], body: bytes) -> bytes:
        key = self._key(signing.path)
        now = int(time.time())
        unsigned = dkim.unsigned_field(signing.domain, signing.selector, key.algorithm, now, names, body)
        return dkim.signed_field(unsigned, key.sign(dkim.signed_text(header, names, unsigned)))

    def _key(self, path: str) -> Key:
        """Return a key, read again when its file has changed."""
        status = os.stat(path)
        mark = status.st_ino, status.st_mtime_ns, status.st_size
        known = self._keys.get(path)
        if known is None or known[0] != mark:
            known = self._keys[path] = mark, read_key(path)
        return known[1]

    # --- whose mail it is ---------------------------------------------------------------------

    def _wanted(self, header: bytes, descriptor: int) -> list[Signing]:
        domain = _from_domain(header)
        for name in domains_above(domain) if domain else ():
            value = self._domains.look_up(name)
            if value is not None:
                return signings(self._config, name, value) if self._is_ours(read_head(descriptor)) else []
        return []

    def _is_ours(self, envelope: Envelope) -> bool:
        """Say whether who submitted the message is one of us."""
        submitter = envelope.submitter
        if not (envelope.client or submitter.protocol or submitter.helo):
            return True  # sendmail(1), or a report of ours
        address = envelope.client.removesuffix("]").rpartition("[")[2]
        return bool(submitter.sasl_username) or address in self._friends


def _from_domain(header: bytes) -> str:
    """Return the domain of the author; "" where From is missing, is there twice, or cannot be read."""
    found = [raw for name, raw in fields(header) if name == b"from"]
    try:
        authors = parse_address_list(field_text(found[0])) if len(found) == 1 else []
    except ValueError:
        return ""
    domain = authors[0].address.domain.lower() if authors else ""
    try:
        return domain if domain.isascii() else domain.encode("idna").decode("ascii")
    except UnicodeError:
        return ""
