"""check_client_access and its like: what a table says about a client, its greeting, a sender or a recipient."""

from collections.abc import Iterable

from ..core.address import Address
from ..formats import checks
from ..protocol.server_replies import reply
from . import access
from .restriction_scene import LOG, MISCONFIGURED, NOTE, PERMITTED, TABLE, Apply, Ask, Asking, DeferIf, Scene, Word


def _access(scene: Scene, table: str, keys: Iterable[access.Key], name: str, label: str) -> Asking:
    """Look keys up, and do what the first value says."""
    try:
        value = yield Ask(TABLE, (table, tuple(keys)))
    except OSError:
        return reply(451, "4.3.0", f"<{name}>: Temporary lookup failure")
    return (yield from act(scene, table, value, name, label)) if value is not None else None


def act(scene: Scene, table: str, value: str, name: str, label: str) -> Asking:
    """Do what a table or a policy service says of name, which label calls by its kind."""
    try:
        action = access.action_of(value, name, label)
        if action.verb in access.WISHES:
            return (yield from _wish(scene, table, action, f"<{name}>: {label}"))
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


def _wish(scene: Scene, table: str, action: access.Action, what: str) -> Asking:
    """Note what is to become of the message; raises ValueError. As in Postfix DISCARD permits; the others do not."""
    verb, text, wishes = action.verb, action.text, scene.subject.wishes
    if scene.subject.sender is None or (verb == "PREPEND" and scene.subject.facts.state == "END-OF-MESSAGE"):
        yield Ask(LOG, f"warning: {table}: {verb} means nothing at {scene.subject.facts.state}")
        return None
    if verb == "PREPEND":
        checks.parse_action(f"{verb} {text}", True)
        wishes.prepended.append(text.encode("utf-8", "surrogateescape") + b"\n")
        return None
    known = wishes.held, wishes.discarded
    checks.take(checks.parse_action(f"{verb} {text}", True), wishes)
    if verb not in ("HOLD", "DISCARD"):
        yield Ask(NOTE, (verb.lower(), f"{what} triggers {verb} {text}"))
    elif known != (wishes.held, wishes.discarded):
        yield Ask(NOTE, (verb.lower(), f"{what} {text or f'triggers {verb} action'}"))
    return PERMITTED if verb == "DISCARD" else None


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
