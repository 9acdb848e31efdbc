"""smtp_tls_policy_maps: what main.cf's tables ask of some destinations, and what a program behind a socket asks.

Guarantees: a table that cannot be asked, or says what is not understood, makes the mail wait; the program
(postfix-mta-sts-resolver and its like) is asked in a thread, so that no other mail waits for it. What it says of mail
exchangers by mx_host_pattern is kept to as by Postfix 3.10: others get no mail, and the certificate is for the host.
"""

import time
from typing import TYPE_CHECKING

from ..core.result import Scope, deferred
from ..delivery.smtp_stream import SessionError
from ..formats.sts import ENFORCE, StsPolicy
from ..formats.tables import TableError, split_name
from ..host.syslog import Log
from ..protocol.tls_policy import Requirement, parse_entry, policy_keys
from ..routing.hosts import Target
from .threads import in_thread

if TYPE_CHECKING:
    from ..host.tables import Tables

PARAMETER = "smtp_tls_policy_maps"
_REMEMBER_SECONDS = 10.0  # of what a program has said: each host of a destination asks
_LIMIT = 1000


class PolicyMaps:
    """The tables of one configuration."""

    def __init__(self, names: list[str], log: Log) -> None:
        self._names = names
        self._log = log
        self._is_slow = any(split_name(name)[0] == "socketmap" for name in names)
        self._tables: Tables | None = None
        self._said: dict[str, tuple[float, str | None]] = {}

    async def of(self, nexthop: str, target: Target) -> Requirement | None:
        """Return what is asked of a host of a nexthop, None where nothing is; raises SessionError."""
        try:
            text = await self._text(nexthop)
            requirement = parse_entry(text) if text else None
        except (TableError, ValueError) as error:
            why = f"{PARAMETER}: {error}"
            self._log.warning(why)
            raise SessionError(deferred("4.7.5", why, Scope.HOST)) from error
        if requirement:
            requirement.why = PARAMETER
            _check_host(nexthop, target, requirement)
        return requirement

    async def _text(self, nexthop: str) -> str | None:
        if not self._names:
            return None
        if self._tables is None:
            from ..host.tables import Tables  # only where it is needed: all kinds of tables cost a megabyte

            self._tables = Tables(self._names, self._log.warning)
        if not self._is_slow:
            return _first(self._tables, nexthop)
        until, text = self._said.get(nexthop, (0.0, None))
        if time.monotonic() >= until:
            tables = self._tables
            text = await in_thread(lambda: _first(tables, nexthop))
            self._said.pop(nexthop, None)
            self._said[nexthop] = time.monotonic() + _REMEMBER_SECONDS, text
            while len(self._said) > _LIMIT:
                del self._said[next(iter(self._said))]
        return text


def _first(tables: "Tables", nexthop: str) -> str | None:
    return next(filter(None, map(tables.look_up, policy_keys(nexthop))), None)


def _check_host(nexthop: str, target: Target, requirement: Requirement) -> None:
    """Raise SessionError for a host where no mail may go, by what the entry says of MTA-STS."""
    text = ""
    if requirement.failure:
        text = f"the policy of {nexthop} has failed: {requirement.failure}"
    elif requirement.mx:
        requirement.match = ("hostname",)
        if not StsPolicy(ENFORCE, requirement.mx, 0).allows(target.host):
            text = f"the policy of {nexthop} does not name host {target.host}: {' '.join(requirement.mx)[:200]}"
    if text:
        raise SessionError(deferred("4.7.5", f"{PARAMETER}: {text}", Scope.HOST))
