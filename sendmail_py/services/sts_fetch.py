"""The policy of a domain from its policy host, or what another process has just got: blocking, run in a thread.

Guarantees: of many who want a policy at one time, in several processes, one asks; what was fetched is durable before
it counts; a fetch that fails leaves the policy that was there, and is not repeated at once.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..core.config import Config
from ..formats.sts import Kept, StsPolicy, parse_policy
from ..host.tls import Context, TlsError, checking_context
from ..spool.sts_store import StsStore

_PATH = "/.well-known/mta-sts.txt"


class StsError(Exception):
    """There is no policy to be had; the text says why."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be fetched: the version that the TXT record names; again: also when that is known."""

    domain: str
    id: str
    addresses: Sequence[str]
    again: bool = False
    trouble: str = ""  # why there are no addresses


def policy_host(domain: str) -> str:
    """Return the host that has the policy of a domain."""
    return f"mta-sts.{domain}"


def fetch(config: Config, wanted: Wanted) -> StsPolicy:
    """Return the policy that a domain has now; raises StsError."""
    from ..host.https import HttpError, get  # only here: it costs a process two megabytes

    if not wanted.addresses:
        raise StsError(wanted.trouble)
    seconds = config.smtp_mta_sts_timeout
    host = policy_host(wanted.domain)
    try:
        status, kind, body = get(host, config.smtp_mta_sts_port, _PATH, wanted.addresses, context(config), seconds)
    except (HttpError, TlsError) as error:
        raise StsError(str(error)) from error
    if status != 200:
        raise StsError(f"{host} answered {status}{' (no redirect is followed)' if status // 100 == 3 else ''}")
    if kind.partition(";")[0].strip().lower() != "text/plain":
        raise StsError(f"{host} answered with {kind[:60] or 'no content type'} instead of text/plain")
    try:
        return parse_policy(body)
    except ValueError as error:
        raise StsError(f"{host}: {error}") from error


def context(config: Config) -> Context:
    """Return how policy hosts are checked: by the authorities that mail servers are checked by."""
    return checking_context(config.smtp_tls_CAfile, config.smtp_tls_CApath)


def fetch_and_keep(config: Config, store: StsStore, wanted: Wanted) -> Kept:
    """Return what is known of a domain after it was asked, by this process or another; raises OSError, TimeoutError."""
    with store.claim(wanted.domain, config.smtp_mta_sts_timeout) as save:
        now = int(time.time())
        kept = store.load(wanted.domain) or Kept(wanted.domain)
        is_known = kept.id == wanted.id and kept.is_in_force(now) and not (wanted.again and kept.is_old(now))
        if is_known or kept.has_failed(wanted.id, now):
            return kept
        kept = after_attempt(config, wanted, kept)
        save(kept)
        return kept


def after_attempt(config: Config, wanted: Wanted, before: Kept) -> Kept:
    """Fetch, and return what is known then."""
    try:
        policy = fetch(config, wanted)
    except StsError as error:
        return replace(before, failed_id=wanted.id, failed_at=int(time.time()), trouble=str(error))
    return Kept(wanted.domain, wanted.id, policy, int(time.time()))
