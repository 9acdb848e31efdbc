"""Rewriting with its tables, and the rewriting of an envelope and a header as intake and the SMTP client do it.

check_rewriting() runs before the services start.
"""

from collections.abc import Callable
from typing import TypeVar

from ..core.address import Address
from ..core.config import Config
from ..core.envelope import Envelope, Recipient
from ..core.errors import ConfigError
from ..formats.tables import TableError
from ..formats.xtext import original_recipient
from ..host.read_file import Warn
from ..routing.resolve import Routing
from ..routing.rewrite import (
    CLASSES,
    ENVELOPE_RECIPIENT,
    ENVELOPE_SENDER,
    RewriteMaps,
    Rewriter,
    class_of_field,
    one_address,
)
from .routes import check_names, check_tables, look_up

_TABLES = (
    *("canonical_maps", "sender_canonical_maps", "recipient_canonical_maps"),
    *("smtp_generic_maps", "sender_bcc_maps", "recipient_bcc_maps"),
)
_CLASSES = ("canonical_classes", "sender_canonical_classes", "recipient_canonical_classes", "masquerade_classes")
_NO_COPY_REPORTS = ("NEVER",)

_T = TypeVar("_T")
Change = Callable[[bytes, Address], Address]


def rewriter_of(config: Config, routing: Routing, warn: Warn) -> Rewriter:
    """Return the rewriting of a configuration; raises ValueError."""
    return Rewriter(config, routing, RewriteMaps(*(look_up(getattr(config, name), warn) for name in _TABLES)))


def rewrite_envelope(envelope: Envelope, rewriter: Rewriter) -> None:
    """Replace the addresses of a qualified envelope; raises TableError, and has then changed nothing."""
    if not rewriter.is_active:
        return
    sender = _tried(lambda: rewriter.rewritten(envelope.sender, ENVELOPE_SENDER))
    paths = [r.forward_path for r in envelope.recipients]
    new = _tried(lambda: [rewriter.rewritten(path, ENVELOPE_RECIPIENT) for path in paths])
    envelope.reverse_path = sender
    for recipient, address in zip(envelope.recipients, new, strict=True):
        if address != recipient.forward_path:
            recipient.original = recipient.original or original_recipient(recipient.forward_path)
            recipient.forward_path = address


def rewritten(address: Address, kind: str, rewriter: Rewriter) -> Address:
    """Return what a qualified address becomes; raises TableError."""
    return _tried(lambda: rewriter.rewritten(address, kind)) if rewriter.is_active else address


def add_copies(envelope: Envelope, rewriter: Rewriter) -> None:
    """Add the recipients of always_bcc, sender_bcc_maps and recipient_bcc_maps; nobody is told of their failures."""
    if envelope.verify or envelope.refused:
        return
    addresses = [r.forward_path for r in envelope.recipients]
    for address in _tried(lambda: rewriter.copies(envelope.sender, addresses)):
        envelope.recipients.append(Recipient(address, notify=_NO_COPY_REPORTS))


def field_change(rewriter: Rewriter) -> Change:
    """Return the change of the addresses in the header of one message; each is looked up once."""
    known: dict[tuple[str, str, str], Address] = {}

    def change(name: bytes, address: Address) -> Address:
        kind = class_of_field(name)
        key = kind, address.local_part, address.domain
        if key not in known:
            known[key] = _tried(lambda: rewriter.rewritten(address, kind))
        return known[key]

    return change


def _tried(look: Callable[[], _T]) -> _T:
    try:
        return look()
    except ValueError as error:
        raise TableError(f"address rewriting: {error}") from error


def check_rewriting(config: Config) -> None:
    """Raise ConfigError for what no address could be rewritten by."""
    checks: list[tuple[str, Callable[[list[str]], object]]] = [(name, check_tables) for name in _TABLES]
    checks += [(name, _check_classes) for name in _CLASSES]
    checks += [(name, check_names) for name in ("masquerade_domains", "masquerade_exceptions")]
    for name, check in checks:
        try:
            check(getattr(config, name))
        except ValueError as error:
            raise ConfigError(f"{config.origin(name)}: {name}: {error}") from error
    try:
        if config.always_bcc:
            one_address(config.always_bcc)
    except ValueError as error:
        raise ConfigError(f"{config.origin('always_bcc')}: always_bcc: {error}") from error


def _check_classes(names: list[str]) -> None:
    for name in names:
        if name not in CLASSES:
            raise ValueError(f"{name}: {', '.join(CLASSES)} may stand here")
