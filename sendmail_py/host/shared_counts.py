"""Counts that several processes keep together: how much of what each client does now, or did in this time unit.

The memory is a file without a name, which master holds and every process maps. It has a slot for each
process, and only that one writes there, so nothing is locked and a process that is killed amid a
write harms nobody: its connections are forgotten with its slot's epoch (forget_process()), what it
counted in the time unit stays. A count over all is the sum over the slots. Times are
CLOCK_MONOTONIC, which all processes share.

A slot has _BUCKETS times _WAYS entries, and is sparse: only what is used takes memory. Where a bucket
is full of clients that are connected, one more is not counted: 2,000 connections do not come to that.
"""

import hashlib
import mmap
import os
import struct
from functools import lru_cache

SLOTS = 64
EVENTS = ("connection", "mail", "rcpt", "tls", "auth")
_BUCKETS, _WAYS = 2048, 8
_KEY = 16
_ENTRY = struct.Struct("<16sIII5I")  # client, epoch, connections, time unit, events
_STATE = struct.Struct("<II")  # in an entry, behind the client
_HEADER = struct.Struct("<II")  # epoch, connections in all
_USED = struct.Struct("<I")  # behind the seed: how many slots were ever used
_PAGE = 4096
_SEED = 16  # at the beginning: nobody outside can choose clients that share a bucket
_SLOT = _PAGE + -(-_BUCKETS * _WAYS * _ENTRY.size // _PAGE) * _PAGE
_SIZE = _PAGE + SLOTS * _SLOT
_NONE = (0,) * len(EVENTS)


def create() -> int:
    """Return a descriptor of new counts, all zero."""
    descriptor = os.memfd_create("counts", os.MFD_CLOEXEC)
    os.ftruncate(descriptor, _SIZE)
    os.pwrite(descriptor, os.urandom(_SEED), 0)
    return descriptor


def forget_process(descriptor: int, slot: int) -> None:
    """Forget the connections of the process that had a slot, before another one gets it."""
    at = _PAGE + slot * _SLOT
    used = _USED.unpack(os.pread(descriptor, _USED.size, _SEED))[0]
    os.pwrite(descriptor, _USED.pack(max(used, slot + 1)), _SEED)
    epoch = _HEADER.unpack(os.pread(descriptor, _HEADER.size, at))[0]
    os.pwrite(descriptor, _HEADER.pack(epoch + 1 & 0xFFFFFFFF, 0), at)


class SharedCounts:
    """The counts as the process with this slot sees them; time units are numbers that only grow."""

    def __init__(self, descriptor: int, slot: int) -> None:
        self._memory = mmap.mmap(descriptor, _SIZE)
        self._seed = self._memory[:_SEED]
        self._own = _PAGE + slot * _SLOT
        self._epoch = _HEADER.unpack_from(self._memory, self._own)[0]
        self._connections = 0
        self._bucket = lru_cache(1024)(self._new_bucket)  # where clients that come again are counted

    def connections(self) -> int:
        """Return the connections of all processes."""
        others = (_HEADER.unpack_from(self._memory, start) for start in self._others())
        return self._connections + sum(int(connections) for _, connections in others)

    def connect(self, client: bytes, number: int) -> int:
        """Add to a client's connections; returns how many it has now in all processes."""
        self._connections += number
        _HEADER.pack_into(self._memory, self._own, self._epoch, self._connections)
        bucket = self._bucket(client)
        at = self._place(client, self._own + bucket)
        own = 0
        if at is not None:
            epoch, connections = _STATE.unpack_from(self._memory, at + _KEY)
            own = max(0, connections + number if epoch == self._epoch else number)
            _STATE.pack_into(self._memory, at + _KEY, self._epoch, own)
        return own + sum(self._counts(client, start, bucket, -1)[0] for start in self._others())

    def event(self, client: bytes, name: str, unit: int) -> int:
        """Count what a client does; returns how often it did so in this time unit, in all processes."""
        index = EVENTS.index(name)
        bucket = self._bucket(client)
        at = self._place(client, self._own + bucket)
        own = 0
        if at is not None:
            epoch, connections, then, *events = self._entry(at)
            if then != unit:
                events = list(_NONE)
            events[index] = own = min(events[index] + 1, 0xFFFFFFFF)
            self._write(at, client, connections if epoch == self._epoch else 0, unit, events)
        return own + sum(self._counts(client, start, bucket, unit)[1][index] for start in self._others())

    def count(self, client: bytes, name: str, unit: int) -> int:
        """Return how often a client did something in this time unit, in all processes."""
        bucket, index = self._bucket(client), EVENTS.index(name)
        starts = (self._own, *self._others())
        return sum(self._counts(client, start, bucket, unit)[1][index] for start in starts)

    # --- one slot -----------------------------------------------------------------------------

    def _new_bucket(self, client: bytes) -> int:
        digest = hashlib.blake2b(client, digest_size=4, key=self._seed).digest()
        return _PAGE + int.from_bytes(digest, "little") % _BUCKETS * _WAYS * _ENTRY.size

    def _others(self) -> list[int]:
        """Return where the slots of other processes begin that were ever used."""
        used = _USED.unpack_from(self._memory, _SEED)[0]
        return [start for start in range(_PAGE, _PAGE + used * _SLOT, _SLOT) if start != self._own]

    def _counts(self, client: bytes, start: int, bucket: int, unit: int) -> tuple[int, tuple[int, ...]]:
        """Return a client's connections and events in the slot that begins at start."""
        at = self._find(client, start + bucket)
        if at is None:
            return 0, _NONE
        epoch, connections, then, *events = self._entry(at)
        is_current = epoch == _HEADER.unpack_from(self._memory, start)[0]
        return connections if is_current else 0, tuple(events) if then == unit else _NONE

    def _find(self, client: bytes, first: int) -> int | None:
        end = first + _WAYS * _ENTRY.size
        at = self._memory.find(client, first, end)
        while at >= 0 and (at - first) % _ENTRY.size:  # what looks like it across two entries
            at = self._memory.find(client, at + 1, end)
        return at if at >= 0 else None

    def _place(self, client: bytes, first: int) -> int | None:
        """Return where this process counts a client, in a bucket: its entry, or that of the one who is missed least."""
        found = self._find(client, first)
        if found is not None:
            return found
        places = range(first, first + _WAYS * _ENTRY.size, _ENTRY.size)
        free = [at for at in places if not self._is_connected(at)]
        if not free:
            return None
        at = min(free, key=lambda at: self._entry(at)[2])  # the oldest time unit
        self._write(at, client, 0, 0, _NONE)
        return at

    def _is_connected(self, at: int) -> bool:
        epoch, connections, *_ = self._entry(at)
        return epoch == self._epoch and connections > 0

    def _entry(self, at: int) -> tuple[int, ...]:
        return _ENTRY.unpack_from(self._memory, at)[1:]

    def _write(
        self, at: int, client: bytes, connections: int, unit: int, events: "list[int] | tuple[int, ...]"
    ) -> None:
        _ENTRY.pack_into(self._memory, at, client, self._epoch, connections, unit, *events)
