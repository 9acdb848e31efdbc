"""Expansion: what one local name stands for, through aliases, include files and .forward.

Pure: alias look-ups and include files come in as functions. Targets are yielded as they are
found, so an include file of any length costs only the set that merges duplicates. Each result
carries with whose rights it is used and who gets its bounces, as the place it stands in says.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field

from ..core.address import Address
from ..core.config import Config
from ..core.envelope import MAILBOX
from ..core.result import DeliveryResult, deferred, failed, from_errno
from ..formats.aliases import Alias, Kind, Target, parse_list
from .resolve import ALWAYS_THERE, Routing

LookUp = Callable[[str], Alias | None]
ReadInclude = Callable[[str, int], tuple[int, Iterable[str]]]

ALIAS, INCLUDE, FORWARD, LUSER, VIRTUAL = "alias", "include", "forward", "luser", "virtual"
DISCARD = "/dev/null"
FORWARDED = "~"  # before the name of a user whose .forward has been used
_PLACES = {
    ALIAS: "alias",
    INCLUDE: "include file",
    FORWARD: ".forward of",
    LUSER: "parameter",
    VIRTUAL: "virtual alias",
}


@dataclass(frozen=True, slots=True)
class Final:
    """One result of an expansion.

    address is a user of this host (no domain) or an address elsewhere; None with a target is a
    program or file, to be used with the rights of uid, and None without one discards. target is
    as in core/envelope. sender, where it is given, becomes the envelope sender.
    """

    address: Address | None
    target: str = ""
    uid: int = -1
    sender: Address | None = None


class Rules:
    """What an expansion depends on beside the aliases."""

    def __init__(self, config: Config, routing: Routing) -> None:
        self.routing = routing
        self.places = {"programs": config.allow_mail_to_commands, "files": config.allow_mail_to_files}
        self.propagates = frozenset(config.propagate_unmatched_extensions)
        self.expands_owner = config.expand_owner_alias
        self.depth: int = config.virtual_alias_recursion_limit


class Stopped(Exception):
    """The expansion ends with one result for the whole recipient."""

    def __init__(self, result: DeliveryResult) -> None:
        super().__init__(result.reason)
        self.result = result


@dataclass(slots=True)
class _Source:
    """A place that targets stand in: extension is what its name was found without, with its delimiter."""

    name: str
    kind: str
    targets: Iterator[Target]
    uid: int = -1
    sender: Address | None = None
    extension: str = ""

    def __str__(self) -> str:
        return f'{_PLACES[self.kind]} "{self.name}"'


@dataclass(slots=True)
class Expansion:
    """One expansion; use one of its of_ methods, once.

    lookup_alias takes a name in lower case; read_include takes a path and the uid whose rights
    apply where it is named, and returns the uid whose rights apply in it and its lines. Both may raise OSError,
    and ValueError for text that has a fault. visited is that of the envelope. A DeliveryResult is
    the last thing yielded, and what came before it must not be used: the whole recipient has that
    result. A name that refers to itself is the real user.
    """

    rules: Rules
    lookup_alias: LookUp
    read_include: ReadInclude
    visited: Collection[str] = ()
    _open: dict[str, _Source] = field(default_factory=dict)  # innermost last; its keys are the way here
    _done: set[str] = field(default_factory=set)
    _seen: set[str] = field(default_factory=set)

    def of_name(self, local_part: str) -> Iterator[Final | DeliveryResult]:
        """Yield what a local name stands for, each thing once, in the order it is written."""
        return self._guarded(self._name(Address(local_part), None))

    def of_virtual(self, address: Address) -> Iterator[Final | DeliveryResult]:
        """Yield what an address stands for by virtual_alias_maps."""
        return self._guarded(self._virtual_first(address))

    def of_targets(
        self, targets: Iterable[Target], kind: str, name: str, uid: int = -1
    ) -> Iterator[Final | DeliveryResult]:
        """Yield what these targets come to; FORWARD: they are the .forward of the user of this name, and uid his."""
        if kind == FORWARD:
            self.visited = (*self.visited, FORWARDED + name)
        self._open["\0" + kind] = _Source(name, kind, iter(targets), uid)
        return self._guarded(iter(()))

    def _guarded(self, first: Iterator[Final]) -> Iterator[Final | DeliveryResult]:
        try:
            yield from first
            while self._open:
                key = next(reversed(self._open))
                source = self._open[key]
                target = self._next(source)
                if target is None:
                    del self._open[key]
                else:
                    yield from self._target(target, source)
        except Stopped as stopped:
            yield stopped.result

    @staticmethod
    def _next(source: _Source) -> Target | None:
        try:
            return next(source.targets, None)
        except OSError as error:
            raise Stopped(from_errno(error, f"cannot read {source}")) from error
        except ValueError as error:
            raise Stopped(deferred("4.3.5", f"{source}: {error}")) from error

    def _target(self, target: Target, source: _Source) -> Iterator[Final]:
        if target.kind is Kind.INCLUDE:
            self._include(target.text, source)
        elif target.kind is Kind.FILE and target.text == DISCARD:
            yield from self._once("", Final(None))
        elif target.address is None:
            yield from self._action(target, source)
        elif self._virtual(target, source):
            pass
        elif target.address.domain and not self.rules.routing.is_local(target.address.domain):
            address = self._extended(target.address, source)
            key = f"{address.local_part}\0{address.domain.lower()}"
            yield from self._once(key, Final(address, sender=source.sender))
        elif target.real_user:
            yield from self._user(target.address, source, MAILBOX)
        else:
            yield from self._name(self._extended(target.address, source), source)

    def _virtual_first(self, address: Address) -> Iterator[Final]:
        if not self._enter_virtual(address, None):
            raise Stopped(deferred("4.3.0", f"the virtual alias {address} is gone"))
        yield from ()

    def _virtual(self, target: Target, source: _Source) -> bool:
        """Open the virtual alias of an address; those of this host have one only where a virtual alias names them."""
        address = target.address
        if address is None or target.real_user or not self.rules.routing.virtual.has_aliases:
            return False
        if source.kind != VIRTUAL and self.rules.routing.is_local(address.domain):
            return False
        return self._enter_virtual(self._extended(address, source), source)

    def _enter_virtual(self, address: Address, source: _Source | None) -> bool:
        """Open a virtual alias, where the address has one that is not open; in its own it is itself."""
        virtual = self.rules.routing.virtual
        address = self.rules.routing.qualified(address)
        key = virtual.key(address)
        if key in self._open or key in self.visited:
            return False
        if key in self._done:
            return True
        try:
            alias = virtual.alias(address)
        except OSError as error:
            raise Stopped(deferred("4.3.0", f"cannot look up virtual alias {address}: {error}")) from error
        except ValueError as error:
            raise Stopped(deferred("4.3.5", str(error))) from error
        if alias is None:
            return False
        if len(self._open) >= self.rules.depth:
            raise Stopped(deferred("4.3.5", f"virtual aliases lead to each other without end: {address}"))
        sender = source.sender if source else None
        self._enter(key, _Source(str(address), VIRTUAL, iter(alias.targets), -1, sender, alias.extension))
        return True

    def _action(self, target: Target, source: _Source) -> Iterator[Final]:
        """A program or a file, where such may stand; never with the rights of root."""
        is_program = target.kind is Kind.COMMAND
        if source.kind not in self.rules.places["programs" if is_program else "files"]:
            what = "command" if is_program else "file"
            raise Stopped(failed("5.7.1", f"mail to {what} is restricted: {source}"))
        if source.uid == 0:
            raise Stopped(deferred("4.3.5", f"{source}: programs and files are not used with the rights of root"))
        text = ("|" if is_program else "") + target.text
        yield from self._once(f"{text}\0\0{source.uid}", Final(None, text, source.uid, source.sender))

    def _extended(self, address: Address, source: _Source) -> Address:
        """Give an address the extension that its place was found without, where it has none of its own."""
        if not source.extension or source.kind not in self.rules.propagates:
            return address
        if self.rules.routing.split(address.local_part)[2]:
            return address
        return Address(address.local_part + source.extension, address.domain)

    def _name(self, address: Address, source: _Source | None) -> Iterator[Final]:
        """Open the alias of this name; without one, or inside it, the name is a user."""
        local_part = address.local_part
        for name in self.rules.routing.names(local_part):
            if name in self._open or name in self.visited or FORWARDED + name in self.visited:
                break
            if name in self._done:
                return
            alias = self._look_up(name)
            if alias is not None:
                self._enter(name, self._alias(name, alias, local_part[len(name) :], source))
                return
        yield from self._user(address, source, "")

    def _look_up(self, name: str) -> Alias | None:
        try:
            found = self.lookup_alias(name)
        except OSError as error:
            raise Stopped(from_errno(error, f'cannot look up alias "{name}"')) from error
        except ValueError as error:
            raise Stopped(deferred("4.3.5", f'alias "{name}": {error}')) from error
        if found is None and name in ALWAYS_THERE:
            return Alias((Target(Kind.ADDRESS, "root", Address("root")),))
        return found

    def _alias(self, name: str, alias: Alias, extension: str, source: _Source | None) -> _Source:
        sender = self._owner(name) or (source.sender if source else None)
        return _Source(name, ALIAS, iter(alias.targets), alias.uid, sender, extension)

    def _owner(self, name: str) -> Address | None:
        """Return who gets the bounces of an alias: its owner- alias, where it has one."""
        if name.startswith("owner-"):
            return None
        owner = self._look_up("owner-" + name)
        if owner is None:
            return None
        (first, *others) = owner.targets
        if self.rules.expands_owner and not others and first.address is not None:
            return first.address
        return Address("owner-" + name)

    def _enter(self, key: str, source: _Source) -> None:
        self._done.add(key)
        self._open[key] = source

    def _include(self, path: str, source: _Source) -> None:
        """Open an include file: the rights are those of the place that names it, else its owner's."""
        if source.kind == FORWARD:
            raise Stopped(deferred("4.3.5", f"{source}: an include file is left in it"))
        key = f"\0{INCLUDE} {source.uid} {path}"
        if key in self._done:
            return
        try:
            owner, lines = self.read_include(path, source.uid)
        except OSError as error:
            raise Stopped(from_errno(error, f"cannot read include file {path}")) from error
        except ValueError as error:
            raise Stopped(deferred("4.3.5", f"cannot read include file {path}: {error}")) from error
        uid = source.uid if source.uid >= 0 else owner
        self._enter(key, _Source(path, INCLUDE, included(lines), uid, source.sender, source.extension))

    def _user(self, address: Address, source: _Source | None, target: str) -> Iterator[Final]:
        user = self.rules.routing.split(address.local_part)[0].lower()
        if FORWARDED + user in self.visited:
            target = MAILBOX
        final = Final(Address(address.local_part), target, sender=source.sender if source else None)
        yield from self._once(f"{address.local_part.lower()}\0\0{target}", final)

    def _once(self, key: str, final: Final) -> Iterator[Final]:
        if key not in self._seen:
            self._seen.add(key)
            yield final


def included(lines: Iterable[str]) -> Iterator[Target]:
    """Yield the targets in the lines of an include file; raises ValueError with the number of a faulty line."""
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if text and not text.startswith("#"):
            try:
                yield from parse_list(text)
            except ValueError as error:
                raise ValueError(f"line {number}: {error}") from None
