"""Answers to what restrictions ask: users and aliases of this host, DNS, a pause.

Guarantees: the event loop never waits for a file or a name service: what is not known at once is
looked up in a thread of its own or asynchronously. What cannot be told now is said to be so.
"""

import asyncio
import ipaddress
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ..core.address import Address
from ..core.config import Config
from ..core.lookup import Found
from ..host.dns import Resolver
from ..host.name_servers import servers_of
from ..host.syslog import Log
from ..host.tables import Tables
from ..protocol.reply import Reply
from ..routing import restriction_scene as ask_for
from ..routing.access import Key
from ..routing.resolve import Routing
from ..routing.restriction_scene import NULL_MX, Ask
from ..routing.restrictions import Check
from .policies import Policies
from .recipient_maps import local_recipients

UNKNOWN = "unknown"
_CACHE_SECONDS = 5.0
_CACHE_SIZE = 2000
_NAME_SECONDS = 10.0
_FAMILIES = {"ipv4": ("A",), "ipv6": ("AAAA",)}

Outcome = Reply | None
Warn = Callable[[Reply], None]
Note = Callable[[str, str], None]
_LATER = object()


class World:
    """What all sessions of a server ask."""

    def __init__(self, config: Config, routing: Routing, log: Log) -> None:
        self._config = config
        self._log = log
        self._tables: dict[str, Tables] = {}
        self._routing = routing
        self._recipients = local_recipients(config, routing)
        self._thread = ThreadPoolExecutor(1)  # what it asks is not made for several
        self._listed: dict[tuple[str, str], tuple[float, str]] = {}
        self._client_names: dict[str, tuple[float, tuple[str, str]]] = {}
        self._resolver: Resolver | None = None
        self._policies = Policies(config, log)

    def run(self, check: Check, warn: Warn, note: Note) -> "Outcome | Coroutine[Any, Any, Outcome]":
        """Run a check: returns what it comes to, or a coroutine where that takes time."""
        try:
            ask = next(check)
            while True:
                answer = self._now(ask, warn, note)
                if answer is _LATER:
                    return self._finish(check, ask, warn, note)
                ask = check.send(answer)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]

    async def _finish(self, check: Check, ask: Ask, warn: Warn, note: Note) -> Outcome:
        try:
            while True:
                try:
                    answer = self._now(ask, warn, note)
                    if answer is _LATER:
                        answer = await self._later(ask)
                except OSError as error:
                    ask = check.throw(error)
                else:
                    ask = check.send(answer)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]

    def _now(self, ask: Ask, warn: Warn, note: Note) -> object:
        if ask.kind == ask_for.WARN:
            warn(ask.value)
            return None
        if ask.kind == ask_for.NOTE:
            note(*ask.value)
            return None
        if ask.kind == ask_for.LOG:
            self._log.info(ask.value)
            return None
        if ask.kind == ask_for.LISTED:
            kept = self._listed.get(ask.value.key())
            if kept and kept[0] > time.monotonic():
                return kept[1]
        return _LATER

    async def _later(self, ask: Ask) -> object:
        if ask.kind == ask_for.LISTED:
            return await self._why_unknown(ask.value)
        if ask.kind == ask_for.TABLE:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._in_table, *ask.value)
        if ask.kind == ask_for.POLICY:
            return await self._policies.ask(*ask.value)
        if ask.kind == ask_for.SLEEP:
            await asyncio.sleep(ask.value)
            return None
        if ask.kind == ask_for.DOMAIN:
            return await self._domain(ask.value)
        if ask.kind == ask_for.HOST:
            return (await self._dns().addresses(ask.value)).addresses
        if ask.kind == ask_for.TEXTS:
            return (await self._dns().texts(ask.value)).addresses
        if ask.kind == ask_for.REVERSE:
            _, reverse, forward = await self._names(ask.value)
            return reverse, forward
        raise ValueError(f"nobody can answer {ask}")

    async def _why_unknown(self, address: Address) -> str:
        """Return why a recipient is unknown, "" where it is not; raises OSError."""
        qualified = self._routing.qualified(address)
        loop = asyncio.get_running_loop()
        why = await loop.run_in_executor(self._thread, self._recipients.why_unknown, qualified)
        if len(self._listed) >= _CACHE_SIZE:
            self._listed.clear()
        self._listed[address.key()] = time.monotonic() + _CACHE_SECONDS, why
        return why

    def _in_table(self, name: str, keys: tuple[Key, ...]) -> str | None:
        """Return the value of the first key that a table has; in the thread. Raises OSError."""
        if name not in self._tables:
            try:
                self._tables[name] = Tables([name], self._log.warning)
            except ValueError as error:  # named by another table
                raise OSError(f"{name}: {error}") from error
        table = self._tables[name]
        try:
            return next((value for key, part in keys if (value := table.look_up(key, part)) is not None), None)
        except OSError as error:
            self._log.warning(f"access table {name}: {error}")
            raise

    async def table_value(self, tables: Tables, key: str) -> str | None:
        """Return the value of a key; raises OSError."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, tables.look_up, key)

    # --- DNS ----------------------------------------------------------------------------------

    def _dns(self) -> Resolver:
        if self._resolver is None:
            servers = servers_of(self._config)
            families = _FAMILIES.get(self._config.inet_protocols, ("AAAA", "A"))
            self._resolver = Resolver(servers, self._config.resolver_timeout, families)
        return self._resolver

    async def _domain(self, name: str) -> Found | str:
        """Say whether mail can be sent to a domain."""
        mx = await self._dns().mx(name)
        if mx.found is Found.YES:
            return NULL_MX if [host for _, host in mx.hosts] == [""] else Found.YES
        if mx.found is not Found.NO_DATA:
            return mx.found
        return (await self._dns().addresses(name)).found

    def known_names(self, address: str) -> tuple[str, str] | None:
        """Return what client_names() would, where it is known without asking."""
        kept = self._client_names.get(address)
        if kept and kept[0] > time.monotonic():
            return kept[1]
        if ipaddress.ip_address(address).is_loopback:
            return self._keep(address, ("localhost", "localhost"))
        return None if self._config.smtpd_peername_lookup else self._keep(address, (UNKNOWN, UNKNOWN))

    async def client_names(self, address: str) -> tuple[str, str]:
        """Return the name of a client, which leads back to its address, and the one that need not; else "unknown"."""
        if known := self.known_names(address):
            return known
        try:
            name, _, forward = await asyncio.wait_for(self._names(address), _NAME_SECONDS)
        except TimeoutError:
            return UNKNOWN, UNKNOWN
        names = name if forward is Found.YES else UNKNOWN, name or UNKNOWN
        return names if forward is Found.TEMPORARY else self._keep(address, names)

    def _keep(self, address: str, names: tuple[str, str]) -> tuple[str, str]:
        if len(self._client_names) >= _CACHE_SIZE:
            self._client_names.clear()
        self._client_names[address] = time.monotonic() + _CACHE_SECONDS, names
        return names

    async def _names(self, address: str) -> tuple[str, Found, Found]:
        """Return a name of the address, how the look-up ended, and how that of an address of the name did."""
        reverse = await self._dns().names(ipaddress.ip_address(address).reverse_pointer)
        if reverse.found is not Found.YES:
            return "", reverse.found, reverse.found
        end = Found.NO_DOMAIN
        for name in reverse.addresses[:5]:
            answer = await self._dns().addresses(name)
            if ipaddress.ip_address(address) in map(ipaddress.ip_address, answer.addresses):
                return name, Found.YES, Found.YES
            end = Found.TEMPORARY if answer.found is Found.TEMPORARY else end
        return reverse.addresses[0], Found.YES, end

    def close(self) -> None:
        """Let the thread end."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._policies.close()
