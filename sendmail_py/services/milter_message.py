"""A message as filters see it and change it, between intake and the queue.

Guarantees: what no filter touches stays octet for octet; a body that is replaced goes to a file, never
into memory. Filters do not see the Received field that is ours: fields are changed as they came, and
inserted among all that there will be, as with sendmail and Postfix.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

from ..core.address import Address
from ..core.envelope import Recipient
from ..formats.header import fields
from ..protocol.milter import field_octets
from ..protocol.milter_packets import CHUNK, Body, Field, MilterError, Path
from ..spool import atomic
from . import content
from .intake import Intake, Ready

_NOTIFY = ({"NEVER"}, {"SUCCESS", "FAILURE", "DELAY"})


class ContentError(Exception):
    """The disk fails, not a filter: error says how."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error


class FilteredMessage:
    """One message. Apply what filters say, then finish() it, in a thread: addresses are looked up there."""

    def __init__(self, ready: Ready, new_file: Callable[[], int], limit: int) -> None:
        self.ready = ready
        self._new_file = new_file
        self._limit = limit
        self._fields = list(fields(ready.header.header))
        self._ours = next((i for i, (_, raw) in enumerate(self._fields) if raw == ready.header.received), -1)
        self._paths: list[Path] = []
        self._files: list[int] = []  # of bodies that replace the one there was, the last in use
        self._size = 0
        self._kept = b""  # the CR at the end of what has come of it
        self._is_replacing = False
        self._is_changed = False
        self.begin_changes()

    def fields(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield (name as it is written, octets) of each field that filters see."""
        for number, (_, raw) in enumerate(self._fields):
            if number != self._ours:
                yield raw.partition(b":")[0].rstrip(b" \t"), raw

    def chunks(self) -> Iterator[bytes]:
        """Yield the body with CRLF, in pieces that a packet holds; a last line gets its end, as in transit."""
        kept = block = b""
        for block in self.ready.body.blocks():
            data = kept + block.replace(b"\n", b"\r\n")
            whole = len(data) - len(data) % CHUNK
            yield from (data[at : at + CHUNK] for at in range(0, whole, CHUNK))
            kept = data[whole:]
        if block and not block.endswith(b"\n"):
            kept += b"\r\n"
        if kept:
            yield kept

    # --- changes ------------------------------------------------------------------------------

    def begin_changes(self) -> None:
        """Remember how the message is, before the next filter changes it."""
        self._before = list(self._fields), self._ours, list(self._paths), self._is_changed

    def undo_changes(self) -> None:
        """Take back what a filter has changed that then failed."""
        self._fields, self._ours, self._paths, self._is_changed = self._before
        self._is_replacing = False

    def apply(self, change: Field | Path | Body, keeps_blanks: bool) -> None:
        """Take a change; raises MilterError, and ContentError where the disk fails."""
        if isinstance(change, Body):
            try:
                self._append(change.data)
            except OSError as error:
                raise ContentError(error) from error
        elif isinstance(change, Path):
            self._paths.append(change)
        else:
            self._is_changed = True
            self._change(change, keeps_blanks)

    def _change(self, change: Field, keeps_blanks: bool) -> None:
        name, raw = change.name.lower().encode(), field_octets(change, keeps_blanks)
        if not change.is_change:
            at = len(self._fields) if change.index < 0 else min(change.index, len(self._fields))
            self._fields.insert(at, (name, raw))
            self._ours += self._ours >= at
            return
        same = [i for i, (known, _) in enumerate(self._fields) if known == name and i != self._ours]
        if change.index <= len(same):
            at = same[change.index - 1]
            if change.value:
                self._fields[at] = name, raw
            else:
                del self._fields[at]
                self._ours -= self._ours > at
        elif change.value:
            self._fields.append((name, raw))

    def _append(self, data: bytes) -> None:
        if not self._is_replacing:
            self._is_replacing = True
            self._size, self._kept = 0, b""
            self._files.append(self._new_file())
        data = self._kept + data
        self._kept = b"\r" if data.endswith(b"\r") else b""
        data = content.unix_line_ends_whole(data[: len(data) - len(self._kept)])
        self._size += atomic.write_all(self._files[-1], (data,))
        if self._limit and self._size > self._limit:
            raise MilterError("the body that replaces the one there was is larger than message_size_limit")

    def end_of_changes(self) -> None:
        """Note that a filter has said all: a replaced body is what the next one sees."""
        if self._is_replacing:
            self._is_replacing = False
            self._size += atomic.write_all(self._files[-1], (self._kept,))
            self.ready.body = content.Body(b"", self._files[-1], 0, self._size)

    def finish(self, intake: Intake) -> None:
        """Make the message what the filters want; raises OSError."""
        ready = self.ready
        if self._is_changed:
            ready.header = replace(ready.header, header=b"".join(raw for _, raw in self._fields))
        before = ready.envelope.recipients
        for path in self._paths:
            self._readdress(path, intake)
        if not ready.envelope.recipients:
            ready.envelope.recipients = before
            ready.envelope.refused = "2.0.0 a filter has deleted all recipients"

    def _readdress(self, path: Path, intake: Intake) -> None:
        envelope = self.ready.envelope
        try:
            address = Address.parse(path.address.strip().removeprefix("<").removesuffix(">"))
        except ValueError:
            return  # it cannot be one of ours
        if path.what == "sender":
            envelope.reverse_path = intake.queued_sender(address)
        elif address:
            there = {r.forward_path for r in envelope.recipients}
            queued = intake.queued_recipient(address)
            if path.what == "delete":
                envelope.recipients = [r for r in envelope.recipients if r.forward_path not in (queued, address)]
            elif queued not in there:
                envelope.recipients = [*envelope.recipients, Recipient(queued, notify=_notify(path.parameters))]
        intake.mark_utf8(envelope)

    def close(self) -> None:
        """Forget the files of bodies."""
        while self._files:
            atomic.let_go(self._files.pop())


def _notify(parameters: str) -> tuple[str, ...]:
    """Return what NOTIFY= among ESMTP parameters wants; other parameters mean nothing to the queue."""
    for word in parameters.upper().split():
        wanted = tuple(dict.fromkeys(word.removeprefix("NOTIFY=").split(",")))
        if word.startswith("NOTIFY=") and any(known.issuperset(wanted) for known in _NOTIFY):
            return wanted
    return ()
