"""Which policy of MTA-STS a domain has: the TXT record asks whether there is a new one, the disk has those known.

Guarantees: a policy that is known counts until it ends, whatever DNS and its host say or keep quiet about (RFC 8461
5.1); a fetch runs in a thread, so that no other domain's mail waits for it, and a domain's own waits no longer than
smtp_mta_sts_timeout and a look-up; those that age are fetched anew while the agent lives, mail or none.
"""

import asyncio
import contextlib
import time
from dataclasses import dataclass

from ..core.config import Config
from ..core.lookup import Found
from ..formats.sts import NONE, Kept, StsPolicy, record_id
from ..host.dns import Resolver
from ..host.syslog import Log
from ..routing.hosts import is_address, is_forbidden
from ..spool.sts_store import StsStore, directory_of
from .sts_fetch import Wanted, after_attempt, fetch_and_keep, policy_host
from .threads import in_thread

_AT_ONCE = 50  # fetches; each is a thread
_GRACE = 1.0  # what a fetch that times out takes to say so
_UNUSED_SECONDS = 31 * 86400
_SWEEP_AFTER = 5.0  # mail comes first
_SWEEP_AGAIN = 3600.0
_REMEMBER_SECONDS = 10.0  # for the other hosts of a domain, and while its DNS is silent
_MEMORY_LIMIT = 1000


@dataclass(frozen=True, slots=True)
class StsAnswer:
    """What counts for a domain now: its policy or None, its record's id, and what was wrong on the way."""

    policy: StsPolicy | None = None
    id: str = ""
    trouble: str = ""
    kept: Kept | None = None


class StsPolicies:
    """The policies that one agent knows."""

    def __init__(self, config: Config, log: Log, resolver: Resolver) -> None:
        self._config = config
        self._log = log
        self._resolver = resolver
        self._store = StsStore(directory_of(config))
        self._memory: dict[str, Kept] = {}  # where the disk does not take them
        self._answers: dict[str, tuple[float, StsAnswer]] = {}
        self._fetching: dict[tuple[str, str], asyncio.Future[Kept]] = {}
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._has_complained = False
        self._sweeper: asyncio.Task[None] | None = None

    async def find(self, domain: str) -> StsAnswer:
        """Return what counts for a domain."""
        domain = domain.lower().removesuffix(".")
        if is_address(domain):
            return StsAnswer()
        self._begin_sweeping()
        until, answer = self._answers.get(domain, (0.0, StsAnswer()))
        if time.monotonic() >= until:
            answer = await self._find(domain)
            self._answers.pop(domain, None)
            self._answers[domain] = time.monotonic() + _REMEMBER_SECONDS, answer
            while len(self._answers) > _MEMORY_LIMIT:
                del self._answers[next(iter(self._answers))]
        return answer

    async def _find(self, domain: str) -> StsAnswer:
        version, trouble = await self._version(domain)
        now = time.time()
        kept = self._known(domain)
        if version and not (kept and (kept.has_failed(version, now) or (kept.id == version and kept.is_in_force(now)))):
            kept, trouble = await self._fetched(domain, version, kept)
        elif version and kept and kept.is_old(now) and not kept.has_failed(version, now):
            self._fetch(domain, version, again=True)
        if kept is None or not kept.is_in_force(now):
            return StsAnswer(None, version, trouble or (kept.trouble if kept and version else ""), kept)
        self._used(domain, now)
        return StsAnswer(kept.policy, version, trouble or (kept.trouble if kept.failed_id else ""), kept)

    async def _version(self, domain: str) -> tuple[str, str]:
        """Return the id that the TXT record has, or "" and what is wrong."""
        name = f"_mta-sts.{domain}"
        answer = await self._resolver.texts(name)
        if answer.found is Found.TEMPORARY:
            trouble = f"the TXT record of {name} cannot be had: {answer.reason}"
            self._log.info(f"MTA-STS: {trouble}; what is known of {domain} counts, or nothing")
            return "", trouble
        try:
            return record_id(answer.addresses), ""
        except ValueError as error:
            self._log.info(f"MTA-STS: {name}: {error}; what is known of {domain} counts, or nothing")
            return "", f"{name}: {error}"

    # --- fetching --------------------------------------------------------------------------------

    async def _fetched(self, domain: str, version: str, before: Kept | None) -> tuple[Kept | None, str]:
        """Return what is known once a version was asked for; what was known before, and why, when it takes too long."""
        try:
            async with asyncio.timeout(self._config.smtp_mta_sts_timeout + self._config.resolver_timeout + _GRACE):
                return await asyncio.shield(self._fetch(domain, version)), ""
        except TimeoutError:
            trouble = f"the policy of {domain} is not there in time"
            self._log.info(f"MTA-STS: {trouble}; what is known counts, or nothing")
            return before, trouble
        except Exception:  # a fetch that fails for any reason is as none (RFC 8461 3.3); _ended() has logged this one
            return before, ""

    def _fetch(self, domain: str, version: str, again: bool = False) -> "asyncio.Future[Kept]":
        key = domain, version
        if key not in self._fetching:
            self._fetching[key] = asyncio.ensure_future(self._ask(domain, version, again))
            self._fetching[key].add_done_callback(lambda done: self._ended(key, done))
        return self._fetching[key]

    def _ended(self, key: tuple[str, str], done: "asyncio.Future[Kept]") -> None:
        self._fetching.pop(key, None)
        if not done.cancelled() and (error := done.exception()):
            self._log.error(f"MTA-STS: {key[0]}: {type(error).__name__}: {error}")

    async def _ask(self, domain: str, version: str, again: bool) -> Kept:
        async with self._room:
            before = self._known(domain)
            addresses, trouble = await self._addresses(policy_host(domain))
            wanted = Wanted(domain, version, addresses, again, trouble)
            try:
                kept = await in_thread(lambda: fetch_and_keep(self._config, self._store, wanted))
            except TimeoutError:
                return before or Kept(domain, trouble="another process has been asking for its policy for long")
            except OSError as error:
                kept = await self._without_disk(wanted, error)
        self._tell(kept, before, version)
        return kept

    async def _addresses(self, host: str) -> tuple[tuple[str, ...], str]:
        """Return the addresses of a policy host, or why there are none; this host is nobody's."""
        answer = await self._resolver.addresses(host)
        if self._config.smtp_permit_loopback_mx:
            return answer.addresses, f"{host}: {answer.reason}"
        usable = tuple(address for address in answer.addresses if not is_forbidden(address))
        return usable, f"{host}: {answer.reason or 'its address is of this host'}"

    async def _without_disk(self, wanted: Wanted, error: OSError) -> Kept:
        """Fetch for this process alone, where the disk does not take policies."""
        if not self._has_complained:
            self._has_complained = True
            why = error.strerror or error
            self._log.warning(f"MTA-STS: {self._store.directory}: {why}; no policy outlasts this process")
        before = self._memory.get(wanted.domain) or Kept(wanted.domain)
        kept = await in_thread(lambda: after_attempt(self._config, wanted, before))
        while len(self._memory) >= _MEMORY_LIMIT:
            del self._memory[next(iter(self._memory))]
        self._memory[wanted.domain] = kept
        return kept

    def _tell(self, kept: Kept, before: Kept | None, version: str) -> None:
        """Log a policy that is new, and a failure, which an administrator should know of (RFC 8461 3.3)."""
        if before is not None and before.failed_at == kept.failed_at and before.fetched_at == kept.fetched_at:
            return
        if kept.failed_id != version:
            if kept.policy and (before is None or before.policy != kept.policy):
                self._log.info(f"MTA-STS: policy of {kept.domain}: {kept.policy} (id {kept.id})")
        elif kept.policy and kept.is_in_force(time.time()):
            end = time.strftime("%Y-%m-%d %H:%M", time.localtime(kept.ends_at))
            say = self._log.info if kept.policy.mode == NONE else self._log.warning
            what = f"the policy of {kept.domain} cannot be renewed: {kept.trouble}; the known one counts until {end}"
            say(f"MTA-STS: {what}")
        else:
            self._log.warning(f"MTA-STS: no policy of {kept.domain}: {kept.trouble}; its mail goes without")

    # --- what is known ---------------------------------------------------------------------------

    def _known(self, domain: str) -> Kept | None:
        try:
            return self._store.load(domain) or self._memory.get(domain)
        except OSError:
            return self._memory.get(domain)

    def _used(self, domain: str, now: float) -> None:
        with contextlib.suppress(OSError):
            if now - self._store.used_at(domain) > 86400:
                self._store.use(domain)

    # --- renewing --------------------------------------------------------------------------------

    def _begin_sweeping(self) -> None:
        if self._sweeper is None:
            self._sweeper = asyncio.get_running_loop().create_task(self._sweep())

    async def _sweep(self) -> None:
        """Fetch anew, one after the other, what ages and was used of late, and forget what has ended."""
        await asyncio.sleep(_SWEEP_AFTER)
        while True:
            with contextlib.suppress(OSError):
                for kept in await in_thread(self._store.all):
                    await self._renew(kept)
            await asyncio.sleep(_SWEEP_AGAIN)

    async def _renew(self, kept: Kept) -> None:
        now = time.time()
        if kept.is_useless(now):
            self._store.remove(kept.domain)
        elif kept.is_in_force(now) and kept.is_old(now) and now - self._store.used_at(kept.domain) < _UNUSED_SECONDS:
            version, _ = await self._version(kept.domain)
            if version and not kept.has_failed(version, now):
                with contextlib.suppress(Exception):  # _ended() logs it
                    await self._fetch(kept.domain, version, again=True)
