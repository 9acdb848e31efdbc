"""check_client_access and its like: what a table says about a client, its greeting, a sender or a recipient."""

from collections.abc import Iterable

from ..core.address import Address
from ..protocol.server_replies import reply
from . import access
from .restriction_scene import LOG, MISCONFIGURED, PERMITTED, TABLE, Apply, Ask, Asking, DeferIf, Scene, Word


def _access(scene: Scene, table: str, keys: Iterable[access.Key], name: str, label: str) -> Asking:
    """Look keys up, and do what the first value says."""
    try:
        value = yield Ask(TABLE, (table, tuple(keys)))
    except OSError:
        return reply(451, "4.3.0", f"<{name}>: Temporary lookup failure")
    if value is None:
        return None
    try:
        action = access.action_of(value, name, label)
    except ValueError as error:
        yield Ask(LOG, f"warning: {table}: {error}")
        return MISCONFIGURED
    if action.verb in ("WARN", "INFO"):
        yield Ask(LOG, f"{action.verb.lower()}: {label} <{name}>: {action.text or 'access table'}")
        return None
    if action.verb == "OK":
        return PERMITTED
    if action.verb == "RESTRICTIONS":
        return Apply(action.text)
    if action.verb.startswith("DEFER_IF") and action.reply:
        return DeferIf(action.verb == "DEFER_IF_PERMIT", action.reply)
    return action.reply


def _check_client_access(scene: Scene, table: str) -> Asking:
    client = scene.subject.client
    names = [] if client.name == "unknown" else list(access.domain_keys(client.name))
    keys = [*names, *access.address_keys(client.address)]
    return (yield from _access(scene, table, keys, str(client), "Client host"))


def _check_helo_access(scene: Scene, table: str) -> Asking:
    helo = scene.subject.helo
    return (yield from _access(scene, table, access.domain_keys(helo), helo, "Helo command")) if helo else None


def _check_mail_access(scene: Scene, table: str, address: Address | None, label: str) -> Asking:
    if address is None:
        return None
    keys = access.mail_keys(address, scene.domains.delimiters)
    return (yield from _access(scene, table, keys, str(address), label))


def _check_sender_access(scene: Scene, table: str) -> Asking:
    return (yield from _check_mail_access(scene, table, scene.subject.sender, "Sender address"))


def _check_recipient_access(scene: Scene, table: str) -> Asking:
    return (yield from _check_mail_access(scene, table, scene.subject.recipient, "Recipient address"))


ACCESS_WORDS: dict[str, Word] = {
    "check_client_access": _check_client_access,
    "check_helo_access": _check_helo_access,
    "check_sender_access": _check_sender_access,
    "check_recipient_access": _check_recipient_access,
}
