"""The words of smtpd_*_restrictions: what each one looks at, and what it says to it.

A word is a function of what is known of a client and its transaction. It permits, rejects with a
reply, defers under a condition, or has no opinion (None). What it must ask of the world (DNS,
user data base) it yields, so that this file decides and somebody else looks up. Replies, codes
and texts are Postfix's.
"""

import ipaddress
import re

from ..core.address import Address
from ..core.lookup import Found
from ..protocol.reply import Reply
from ..protocol.server_replies import reply
from .access_words import ACCESS_WORDS
from .dns_lists import DNS_WORDS
from .login_words import LOGIN_WORDS
from .policy_words import POLICY_WORDS
from .restriction_scene import (
    DOMAIN,
    LISTED,
    NULL_MX,
    PERMITTED,
    REVERSE,
    SLEEP,
    Ask,
    Asking,
    Client,
    DeferIf,
    Result,
    Scene,
    Word,
    is_authorized,
    rejected,
)

_LABEL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")


# --- everybody -----------------------------------------------------------------------------------


def _permit(scene: Scene, _: str) -> Result:
    return PERMITTED


def _reject(scene: Scene, _: str) -> Result:
    return scene.rejected(554, "5.7.1", "Access denied")


def _defer(scene: Scene, _: str) -> Result:
    return scene.rejected(450, "4.3.2", "Try again later")


def _defer_if_permit(scene: Scene, _: str) -> Result:
    return DeferIf(True, scene.rejected(450, "4.7.0", "defer_if_permit requested"))


def _defer_if_reject(scene: Scene, _: str) -> Result:
    return DeferIf(False, scene.rejected(450, "4.7.0", "defer_if_reject requested"))


def _sleep(scene: Scene, seconds: str) -> Asking:
    yield Ask(SLEEP, int(seconds))
    return None


# --- the client ----------------------------------------------------------------------------------


def _permit_mynetworks(scene: Scene, _: str) -> Result:
    return PERMITTED if scene.subject.client.in_mynetworks else None


def _permit_sasl_authenticated(scene: Scene, _: str) -> Result:
    return PERMITTED if scene.subject.facts.sasl_username else None


def _reject_unknown_client(scene: Scene, _: str) -> Asking:
    client = scene.subject.client
    _, forward = yield Ask(REVERSE, client.address)
    return _unknown_client(client, forward, "4.7.25", "cannot find your hostname")


def _reject_unknown_reverse_client(scene: Scene, _: str) -> Asking:
    client = scene.subject.client
    reverse, _forward = yield Ask(REVERSE, client.address)
    return _unknown_client(client, reverse, "4.7.1", "cannot find your reverse hostname")


def _unknown_client(client: Client, found: Found, status: str, text: str) -> Result:
    """A temporary failure defers at once: what follows may depend on the name."""
    return None if found is Found.YES else reply(450, status, f"Client host rejected: {text}, [{client.address}]")


# --- HELO ----------------------------------------------------------------------------------------


def is_host_name(name: str) -> bool:
    """Say whether a name has the form of a host's."""
    name = name.removesuffix(".")
    labels = name.split(".")
    return len(name) <= 255 and all(map(_LABEL.fullmatch, labels)) and not all(map(str.isdigit, labels))


def is_address_literal(text: str) -> bool:
    """Say whether [text] is an address literal of RFC 5321 4.1.3."""
    inner = text[1:-1] if text.startswith("[") and text.endswith("]") else ""
    family, colon, rest = inner.partition(":")
    try:
        if colon and family.lower() == "ipv6":
            ipaddress.IPv6Address(rest)
        else:
            ipaddress.IPv4Address(inner)
    except ValueError:
        return False
    return True


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _helo(scene: Scene, code: int, text: str) -> Reply:
    return rejected(code, "5.5.2" if code >= 500 else "4.7.1", scene.subject.helo, "Helo command", text)


def _reject_invalid_helo(scene: Scene, _: str) -> Result:
    helo = scene.subject.helo
    if helo.startswith("["):
        return None if is_address_literal(helo) else _helo(scene, 501, "invalid ip address")
    return None if not helo or is_host_name(helo) or _is_ip(helo) else _helo(scene, 501, "Invalid name")


def _reject_non_fqdn_helo(scene: Scene, _: str) -> Result:
    helo = scene.subject.helo
    if helo.startswith("["):
        return _reject_invalid_helo(scene, "")
    if not helo or (is_host_name(helo) and "." in helo.removesuffix(".")):
        return None
    return _helo(scene, 504, "need fully-qualified hostname")


def _reject_unknown_helo(scene: Scene, _: str) -> Asking:
    helo = scene.subject.helo
    if not helo or helo.startswith("["):
        return _reject_invalid_helo(scene, "")
    found = yield Ask(DOMAIN, helo.removesuffix("."))
    if found is Found.TEMPORARY:
        return DeferIf(True, _helo(scene, 450, "Host not found"))
    return None if found in (Found.YES, NULL_MX) else _helo(scene, 450, "Host not found")


# --- addresses -----------------------------------------------------------------------------------


def _non_fqdn(address: Address | None, label: str) -> Result:
    if not address or address.domain.startswith("["):
        return None
    domain = address.domain.removesuffix(".")
    if "." in domain and is_host_name(domain if domain.isascii() else "a.b"):
        return None
    return rejected(504, "5.5.2", str(address), label, "need fully-qualified address")


def _reject_non_fqdn_sender(scene: Scene, _: str) -> Result:
    return _non_fqdn(scene.subject.sender, "Sender address")


def _reject_non_fqdn_recipient(scene: Scene, _: str) -> Result:
    return _non_fqdn(scene.subject.recipient, "Recipient address")


def _unknown_domain(scene: Scene, address: Address | None, label: str, detail: str) -> Asking:
    if not address or not address.domain or address.domain.startswith("[") or scene.domains.is_final(address.domain):
        return None
    found = yield Ask(DOMAIN, address.domain.removesuffix("."))
    if found is Found.YES:
        return None
    if found == NULL_MX:
        text = f"Domain {address.domain} does not accept mail (nullMX)"
        is_sender = label == "Sender address"
        return rejected(550 if is_sender else 556, "5.7.27" if is_sender else "5.1.10", str(address), label, text)
    rejection = rejected(450, f"4.1.{detail}", str(address), label, "Domain not found")
    return DeferIf(True, rejection) if found is Found.TEMPORARY else rejection


def _reject_unknown_sender_domain(scene: Scene, _: str) -> Asking:
    return (yield from _unknown_domain(scene, scene.subject.sender, "Sender address", "8"))


def _reject_unknown_recipient_domain(scene: Scene, _: str) -> Asking:
    return (yield from _unknown_domain(scene, scene.subject.recipient, "Recipient address", "2"))


def _permit_auth_destination(scene: Scene, _: str) -> Result:
    to = scene.subject.recipient
    try:
        return PERMITTED if to and is_authorized(scene.domains, to) else None
    except OSError:
        return _not_now(to)


def _unauthorized(scene: Scene, code: int, status: str) -> Result:
    to = scene.subject.recipient
    try:
        is_refused = to is not None and to and not is_authorized(scene.domains, to)
    except OSError:
        return _not_now(to)
    return reply(code, status, f"<{to}>: Relay access denied") if is_refused else None


def _not_now(address: Address | None) -> Result:
    """Return the answer where the tables of relay_domains cannot be asked."""
    return reply(451, "4.3.0", f"<{address}>: Temporary lookup failure")


def _reject_unauth_destination(scene: Scene, _: str) -> Result:
    return _unauthorized(scene, 554, "5.7.1")


def _defer_unauth_destination(scene: Scene, _: str) -> Result:
    return _unauthorized(scene, 454, "4.7.1")


def unlisted(address: Address | None, label: str, status: str) -> Asking:
    """Reject an address of ours that there is not."""
    if not address:
        return None
    try:
        why = yield Ask(LISTED, address)
    except OSError:
        return reply(451, "4.3.0", f"<{address}>: Temporary lookup failure")
    return rejected(550, status, str(address), label, why) if why else None


def _reject_unlisted_recipient(scene: Scene, _: str) -> Asking:
    scene.recipient_checked = True
    return (yield from unlisted(scene.subject.recipient, "Recipient address", "5.1.1"))


def _reject_unlisted_sender(scene: Scene, _: str) -> Asking:
    return (yield from unlisted(scene.subject.sender, "Sender address", "5.1.0"))


WARN_IF_REJECT = "warn_if_reject"
# What keeps a server from being an open relay: one of these must be able to say no.
CLOSING = frozenset(("reject", "defer", "defer_if_permit", "reject_unauth_destination", "defer_unauth_destination"))
WORDS: dict[str, Word] = {
    "permit": _permit,
    "reject": _reject,
    "defer": _defer,
    "defer_if_permit": _defer_if_permit,
    "defer_if_reject": _defer_if_reject,
    "sleep": _sleep,
    "permit_mynetworks": _permit_mynetworks,
    "permit_sasl_authenticated": _permit_sasl_authenticated,
    "reject_unknown_client_hostname": _reject_unknown_client,
    "reject_unknown_reverse_client_hostname": _reject_unknown_reverse_client,
    "reject_invalid_helo_hostname": _reject_invalid_helo,
    "reject_non_fqdn_helo_hostname": _reject_non_fqdn_helo,
    "reject_unknown_helo_hostname": _reject_unknown_helo,
    "reject_non_fqdn_sender": _reject_non_fqdn_sender,
    "reject_non_fqdn_recipient": _reject_non_fqdn_recipient,
    "reject_unknown_sender_domain": _reject_unknown_sender_domain,
    "reject_unknown_recipient_domain": _reject_unknown_recipient_domain,
    "permit_auth_destination": _permit_auth_destination,
    "reject_unauth_destination": _reject_unauth_destination,
    "defer_unauth_destination": _defer_unauth_destination,
    "reject_unlisted_recipient": _reject_unlisted_recipient,
    "reject_unlisted_sender": _reject_unlisted_sender,
}
# Names of old that Postfix takes too.
WORDS |= {
    "reject_invalid_hostname": _reject_invalid_helo,
    "reject_non_fqdn_hostname": _reject_non_fqdn_helo,
    "reject_unknown_hostname": _reject_unknown_helo,
    "reject_unknown_client": _reject_unknown_client,
    "reject_unknown_address": _reject_unknown_sender_domain,
    "check_recipient_maps": _reject_unlisted_recipient,
}
WORDS |= ACCESS_WORDS | DNS_WORDS | LOGIN_WORDS | POLICY_WORDS
TAKES_TABLE = frozenset(word for word in WORDS if word.startswith("check_") and word.endswith("_access"))
TAKES_NUMBER = frozenset(("sleep",))
