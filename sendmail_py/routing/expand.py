"""Expansion: what one local name stands for, through aliases and include files.

Pure: alias look-ups and include files come in as functions. Targets are yielded as they are
found, so an include file of any length costs only the set that merges duplicates.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from ..core.address import Address
from ..core.result import DeliveryResult, deferred, from_errno
from ..formats.aliases import Kind, Target, parse_list

LookUp = Callable[[str], Iterable[Target] | None]
ReadLines = Callable[[str], Iterable[str]]

ALWAYS_THERE = ("postmaster", "mailer-daemon")
DISCARD = "/dev/null"


@dataclass(frozen=True, slots=True)
class Final:
    """One result: a user of this host (no domain), an address elsewhere, or None to discard."""

    address: Address | None


def expand(
    local_part: str,
    lookup_alias: LookUp,
    read_include: ReadLines,
    is_local: Callable[[str], bool] = lambda domain: False,
) -> Iterator[Final | DeliveryResult]:
    """Yield the final targets of a local name, each once, in the order they are written.

    lookup_alias takes a name in lower case; read_include yields the lines of a file. Both may
    raise OSError, and ValueError for text that has a fault. A DeliveryResult is the last thing
    yielded, and what came before it must not be used: the whole recipient waits. A name that
    refers to itself is the real user.
    """
    try:
        yield from _Expansion(lookup_alias, read_include, is_local).run(local_part)
    except _Stopped as stopped:
        yield stopped.result


def is_unchanged(local_part: str, finals: list[Final]) -> bool:
    """Say whether an expansion came to just the name it started from."""
    return len(finals) == 1 and finals[0].address is not None and finals[0].address == Address(local_part)


class _Stopped(Exception):
    def __init__(self, result: DeliveryResult) -> None:
        super().__init__(result.reason)
        self.result = result


@dataclass(slots=True)
class _Expansion:
    lookup_alias: LookUp
    read_include: ReadLines
    is_local: Callable[[str], bool]
    open: dict[str, Iterator[Target]] = field(default_factory=dict)  # innermost last; its keys are the way here
    done: set[str] = field(default_factory=set)
    seen: set[tuple[str, str]] = field(default_factory=set)

    def run(self, local_part: str) -> Iterator[Final]:
        yield from self._name(Address(local_part))
        while self.open:
            source = next(reversed(self.open))
            target = next(self.open[source], None)
            if target is None:
                del self.open[source]
            else:
                yield from self._target(target, source)

    def _target(self, target: Target, source: str) -> Iterator[Final]:
        if target.kind is Kind.INCLUDE:
            self._enter(":include:" + target.text, self._include(target.text))
        elif target.kind is Kind.FILE and target.text == DISCARD:
            yield from self._final(("/", DISCARD), None)
        elif target.address is None:
            what = "programs" if target.kind is Kind.COMMAND else "files"
            raise _Stopped(deferred("4.3.5", f'alias "{source}": delivery to {what} is not enabled'))
        elif target.address.domain and not self.is_local(target.address.domain):
            yield from self._final(target.address.key(), target.address)
        elif target.real_user:
            yield from self._user(target.address)
        else:
            yield from self._name(target.address)

    def _name(self, address: Address) -> Iterator[Final]:
        """Open the alias of this name; without one, or inside it, the name is a user."""
        name = address.local_part.lower()
        if name in self.open:
            yield from self._user(address)
            return
        if name in self.done:
            return
        try:
            targets = self.lookup_alias(name)
        except OSError as error:
            raise _Stopped(from_errno(error, f'cannot look up alias "{name}"')) from error
        except ValueError as error:
            raise _Stopped(deferred("4.3.5", f'alias "{name}": {error}')) from error
        if targets is None and name in ALWAYS_THERE:
            targets = [Target(Kind.ADDRESS, "root", Address("root"))]
        if targets is None:
            yield from self._user(address)
        else:
            self._enter(name, iter(targets))

    def _enter(self, key: str, targets: Iterator[Target]) -> None:
        if key not in self.done:
            self.done.add(key)
            self.open[key] = targets

    def _include(self, path: str) -> Iterator[Target]:
        number = 0
        try:
            for line in self.read_include(path):
                number += 1
                text = line.strip()
                if text and not text.startswith("#"):
                    yield from parse_list(text)
        except OSError as error:
            raise _Stopped(from_errno(error, f"cannot read include file {path}")) from error
        except ValueError as error:
            raise _Stopped(deferred("4.3.5", f"include file {path}, line {number}: {error}")) from error

    def _user(self, address: Address) -> Iterator[Final]:
        yield from self._final((address.local_part.lower(), ""), Address(address.local_part))

    def _final(self, key: tuple[str, str], address: Address | None) -> Iterator[Final]:
        if key not in self.seen:
            self.seen.add(key)
            yield Final(address)
