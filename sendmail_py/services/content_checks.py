"""header_checks and their like: intake holds the lines of a message against their tables.

Header fields are seen as they came, folded ones with their line ends, also those of MIME parts and of attached
messages; of each body the first body_checks_size_limit octets, line by line. Without these parameters nothing is looked
at. Guarantees: a table that cannot be asked, or says what nobody here can do, is a TableError: the message waits, or
its client is told to try again. A message is read in blocks, and what is changed far inside it is a list of edits.
"""

import sys
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import TYPE_CHECKING

from ..core.config import Config
from ..core.envelope import Envelope, Recipient
from ..core.errors import ConfigError
from ..formats.checks import BODY, HEADER, Checked, Edit, apply, parse_action
from ..formats.header import fields
from ..formats.mime_scanner import Kind, MimeScanner, TooDeep, has_parts
from ..formats.tables import PATTERN_TYPES, TableError, known_values, split_name
from ..formats.trace_headers import clean
from ..host.read_file import Warn
from .routes import check_tables

if TYPE_CHECKING:
    from ..host.tables import Tables

_LOGGED_OCTETS = 200
_NAMES = ("header_checks", "mime_header_checks", "nested_header_checks", "body_checks")


class ContentChecks:
    """The checks of one configuration."""

    def __init__(self, config: Config, warn: Warn) -> None:
        lists = [getattr(config, name) for name in _NAMES]  # those of MIME are the header's where nothing else is said
        tables = {tuple(names): _tables(names, warn) for names in lists}
        self._header, self._mime, nested, body = (tables[tuple(names)] for names in lists)
        self._inside = {Kind.MIME: self._mime, Kind.NESTED: nested, Kind.BODY: body}
        self._body_limit: int = (config.body_checks_size_limit or sys.maxsize) if self._inside[Kind.BODY] else 0
        self._limits: tuple[int, int] = (config.mime_nesting_limit, config.mime_boundary_length_limit)
        self._looks_inside = any(self._inside.values())
        self._is_asked = bool(self._header) or self._looks_inside

    def __bool__(self) -> bool:
        return self._is_asked

    def apply(self, header: bytes, body: Iterable[bytes], checked: Checked) -> tuple[bytes, list[Edit]]:
        """Return the header as the checks leave it, and the edits of the body, given in blocks; raises TableError.

        checked takes what they say, beside what was said before.
        """
        try:
            rows = list(fields(header.replace(b"\r\n", b"\n")))
            if not checked.is_over:
                header = b"".join(chain.from_iterable(self._of_message(rows, checked)))
            edits = list(self._edits([raw for _, raw in rows], body, checked)) if self._has_inside(rows) else []
        except TooDeep as error:
            checked.refused = f"5.6.0 {error}"
            return header, []
        except ValueError as error:
            raise TableError(f"content checks: {error}") from error
        return header, edits

    def _has_inside(self, rows: list[tuple[bytes, bytes]]) -> bool:
        """Say whether a message has anything beside its own header that a table is to see."""
        if self._body_limit or not self._looks_inside:
            return self._looks_inside
        return has_parts(raw for _, raw in rows)

    def _of_message(self, rows: list[tuple[bytes, bytes]], checked: Checked) -> list[list[bytes]]:
        """Check the message's own header; its fields about MIME are for mime_header_checks."""
        about_mime = [name.startswith(b"content-") or name == b"mime-version" for name, _ in rows]
        lines = [raw for _, raw in rows]
        verdicts = _verdicts_of(lines, [self._mime if is_mime else self._header for is_mime in about_mime])
        return apply(lines, verdicts, HEADER, checked, _shown)

    def _edits(self, header: list[bytes], body: Iterable[bytes], checked: Checked) -> Iterator[Edit]:
        """Yield the edits of the body; what comes after a verdict that ends all is not looked at."""
        scanner = MimeScanner(header, self._body_limit, *self._limits)
        for block in chain(body, (b"",)):
            if checked.is_over:
                return
            items = list(scanner.feed(block, is_last=not block))
            verdicts = _verdicts_of([item.raw for item in items], [self._inside[item.kind] for item in items])
            for item, verdict in zip(items, verdicts, strict=True):
                kind = BODY if item.kind is Kind.BODY else HEADER
                (new,) = apply([item.raw], [verdict], kind, checked, _shown)
                if new != [item.raw]:
                    yield Edit(item.offset, len(item.raw), b"".join(new))


def _tables(names: list[str], warn: Warn) -> "Tables | None":
    if not names:
        return None
    from ..host.tables import Tables  # it costs a megabyte, and most instances have no tables

    return Tables(names, warn)


def _verdicts_of(lines: list[bytes], tables: "list[Tables | None]") -> list[str | None]:
    """Return what each line's tables say of it; the tables are asked once each, for all their lines."""
    verdicts: list[str | None] = [None] * len(lines)
    rows: dict[int, list[int]] = {}  # which lines are whose
    for index, table in enumerate(tables):
        rows.setdefault(id(table), []).append(index)
    for indexes in rows.values():
        asked = tables[indexes[0]]
        if asked is None:
            continue
        for index, verdict in zip(indexes, asked.look_up_all([_text(lines[i]) for i in indexes]), strict=True):
            verdicts[index] = verdict
    return verdicts


def _shown(line: bytes) -> str:
    return clean(_text(line))[:_LOGGED_OCTETS]


def _text(line: bytes) -> str:
    return line.rstrip(b"\r\n").replace(b"\r\n", b"\n").decode("utf-8", "surrogateescape")


def settle(envelope: Envelope, checked: Checked) -> None:
    """Make an envelope what the checks want: refused, discarded, redirected, with more copies."""
    if checked.refused:
        # A client can be told to try again; to a sender who has gone only a bounce can say no.
        envelope.refused = checked.refused if envelope.client else "5" + checked.refused[1:]
    elif checked.discarded:
        envelope.refused = f"2.0.0 {checked.discarded}"
    if checked.redirect is not None:
        envelope.recipients = [Recipient(checked.redirect)]
    if not checked.copies:
        return
    there = {r.forward_path for r in envelope.recipients}
    envelope.recipients += [Recipient(a, notify=("NEVER",)) for a in dict.fromkeys(checked.copies) if a not in there]


def note_lines(envelope: Envelope, checked: Checked) -> list[str]:
    """Return the lines of the log, in the shape of Postfix's cleanup."""
    to = f" to=<{envelope.recipients[0].forward_path}>" if envelope.recipients else ""
    by = f" proto={envelope.submitter.protocol} helo=<{envelope.submitter.helo}>" if envelope.client else ""
    where = f"from {envelope.client or 'local'}; from=<{envelope.sender}>{to}{by}"
    said = [(*note[:3], checked.refused if note[0] == "reject" else note[3]) for note in checked.notes]
    return [
        f"{envelope.queue_id}: {word}: {kind} {line} {where}{f': {text}' if text else ''}"
        for word, kind, line, text in said
    ]


def check_content_checks(config: Config) -> None:
    """Raise ConfigError for a table that can never work, and for a verdict in a table of patterns that is none."""
    for name in _NAMES:
        try:
            check_tables(getattr(config, name))
            for table in getattr(config, name):
                _check_verdicts(_verdicts(table), name != "body_checks")
        except ValueError as error:
            raise ConfigError(f"{config.origin(name)}: {name}: {error}") from error


def _check_verdicts(values: Iterable[str], is_header: bool) -> None:
    for value in values:
        if "$" not in value:
            parse_action(value, is_header)
        elif value.split()[0].upper() == "FILTER":
            parse_action("FILTER", is_header)


def _verdicts(name: str) -> list[str]:
    """Return what a table can say, as far as that is known now."""
    kind, rest = split_name(name)
    if known := known_values(kind, rest):
        return known
    from ..host.tables import PatternFile, open_table

    table = open_table(name)
    if kind not in PATTERN_TYPES or not isinstance(table, PatternFile):
        return []
    try:
        table.refresh(lambda fault: None)
    except OSError:
        return []  # it may be there when it is needed; mail waits until then
    return table.table.results()
