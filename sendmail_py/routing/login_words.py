"""reject_sender_login_mismatch and its like: may this user use this sender's address?

smtpd_sender_login_maps say who owns an address: user@domain first, without its extension then, then
user where the domain is ours, then @domain. Users are compared without regard to case, as in Postfix.
"""

from collections.abc import Iterator

from ..core.address import Address
from ..protocol.server_replies import reply
from . import access
from .restriction_scene import TABLE, Ask, Asking, Scene, Word, rejected

_LABEL = "Sender address"


def owner_keys(address: Address, delimiters: str, is_ours: bool) -> Iterator[access.Key]:
    """Yield the keys of an address that has a domain."""
    local_part, domain = address.local_part.lower(), address.domain.lower()
    at = min((p for p in map(local_part.find, delimiters) if p > 0), default=0)
    users = [local_part, local_part[:at]] if at else [local_part]
    for number, user in enumerate(users):
        yield f"{user}@{domain}", number > 0
    if is_ours:
        yield from ((user, True) for user in users)
    yield f"@{domain}", True


def _owners(scene: Scene, sender: Address) -> Asking:
    """Return the users that own an address, as a table has them; None where nobody is named."""
    domains = scene.domains
    address = Address(sender.local_part, sender.domain or domains.origin)
    keys = tuple(owner_keys(address, domains.delimiters, domains.is_final(address.domain)))
    for table in domains.login_maps:
        found = yield Ask(TABLE, (table, keys))
        if found is not None:
            return found  # type: ignore[no-any-return]
    return None


def _mismatch(scene: Scene, logged_in: bool, not_logged_in: bool, unknown_is_well: bool = False) -> Asking:
    """Check who has logged in, and who has not, as far as it is asked for."""
    sender, user = scene.subject.sender, scene.subject.facts.sasl_username
    if not sender or not scene.domains.login_maps or not (logged_in if user else not_logged_in):
        return None
    try:
        owners = yield from _owners(scene, sender)
    except OSError:
        return reply(451, "4.3.0", f"<{sender}>: Temporary lookup failure")
    if not user:
        return None if owners is None else rejected(553, "5.7.1", str(sender), _LABEL, "not logged in")
    if owners is None and unknown_is_well:
        return None
    names = str(owners or "").replace(",", " ").split()
    if user.casefold() in (name.casefold() for name in names):
        return None
    return rejected(553, "5.7.1", str(sender), _LABEL, f"not owned by user {user}")


def _sender_login_mismatch(scene: Scene, _: str) -> Asking:
    return (yield from _mismatch(scene, True, True))


def _authenticated(scene: Scene, _: str) -> Asking:
    return (yield from _mismatch(scene, True, False))


def _known(scene: Scene, _: str) -> Asking:
    return (yield from _mismatch(scene, True, False, unknown_is_well=True))


def _unauthenticated(scene: Scene, _: str) -> Asking:
    return (yield from _mismatch(scene, False, True))


LOGIN_WORDS: dict[str, Word] = {
    "reject_sender_login_mismatch": _sender_login_mismatch,
    "reject_authenticated_sender_login_mismatch": _authenticated,
    "reject_known_sender_login_mismatch": _known,
    "reject_unauthenticated_sender_login_mismatch": _unauthenticated,
}
