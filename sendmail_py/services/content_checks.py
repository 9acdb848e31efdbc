"""header_checks and body_checks: intake holds the lines of a message against their tables.

Header fields are seen as they came, folded ones with their line ends; of the body the first body_checks_size_limit
octets, line by line. Without these parameters nothing is looked at. Guarantees: a table that cannot be asked, or says
what nobody here can do, is a TableError: the message waits, or its client is told to try again.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..core.config import Config
from ..core.envelope import Envelope, Recipient
from ..core.errors import ConfigError
from ..formats.checks import Checked, apply, parse_action
from ..formats.header import fields
from ..formats.tables import PATTERN_TYPES, TableError, split_name
from ..formats.trace_headers import clean
from ..host.read_file import Warn
from .routes import check_tables

if TYPE_CHECKING:
    from ..host.tables import Tables

_LOGGED_OCTETS = 200
_NAMES = ("header_checks", "body_checks")


class ContentChecks:
    """The checks of one configuration."""

    def __init__(self, config: Config, warn: Warn) -> None:
        self._header = _tables(config.header_checks, warn)
        self._body = _tables(config.body_checks, warn)
        self._body_limit: int = config.body_checks_size_limit

    def __bool__(self) -> bool:
        return bool(self._header or self._body)

    def apply(self, header: bytes, body: bytes, is_whole: bool) -> tuple[bytes, bytes, Checked]:
        """Return header and body (or its beginning) as the checks leave them, and what they say; raises TableError."""
        checked = Checked()
        try:
            if self._header:
                header = header.replace(b"\r\n", b"\n")
                header = _checked(self._header, [raw for _, raw in fields(header)], "header", checked)
            if self._body and not checked.is_over:
                lines, rest = _lines(body, self._body_limit, is_whole)
                body = _checked(self._body, lines, "body", checked) + rest
        except ValueError as error:
            raise TableError(f"content checks: {error}") from error
        return header, body, checked


def _tables(names: list[str], warn: Warn) -> "Tables | None":
    if not names:
        return None
    from ..host.tables import Tables  # it costs a megabyte, and most instances have no tables

    return Tables(names, warn)


def _checked(tables: "Tables", lines: list[bytes], kind: str, checked: Checked) -> bytes:
    verdicts = tables.look_up_all([_text(line) for line in lines])
    return b"".join(apply(lines, verdicts, kind, checked, lambda line: clean(_text(line))[:_LOGGED_OCTETS]))


def _text(line: bytes) -> str:
    return line.rstrip(b"\r\n").decode("utf-8", "surrogateescape")


def _lines(body: bytes, limit: int, is_whole: bool) -> tuple[list[bytes], bytes]:
    """Return the lines that begin within the limit, and what follows them; a last line may not be cut."""
    lines: list[bytes] = []
    start = 0
    while start < len(body) and (not limit or start < limit):
        end = body.find(b"\n", start) + 1 or (len(body) if is_whole else 0)
        if not end:
            break
        lines.append(body[start:end])
        start = end
    return lines, body[start:]


def settle(envelope: Envelope, checked: Checked) -> None:
    """Make an envelope what the checks want: refused, discarded, redirected, with more copies."""
    if checked.refused:
        # A client can be told to try again; to a sender who has gone only a bounce can say no.
        envelope.refused = checked.refused if envelope.client else "5" + checked.refused[1:]
    elif checked.discarded:
        envelope.refused = f"2.0.0 {checked.discarded}"
    if checked.redirect is not None:
        envelope.recipients = [Recipient(checked.redirect)]
    there = {r.forward_path for r in envelope.recipients}
    envelope.recipients += [Recipient(a, notify=("NEVER",)) for a in dict.fromkeys(checked.copies) if a not in there]


def note_lines(envelope: Envelope, checked: Checked) -> list[str]:
    """Return the lines of the log, in the shape of Postfix's cleanup."""
    to = f" to=<{envelope.recipients[0].forward_path}>" if envelope.recipients else ""
    by = f" proto={envelope.submitter.protocol} helo=<{envelope.submitter.helo}>" if envelope.client else ""
    where = f"from {envelope.client or 'local'}; from=<{envelope.sender}>{to}{by}"
    return [
        f"{envelope.queue_id}: {word}: {kind} {line} {where}{f': {text}' if text else ''}"
        for word, kind, line, text in checked.notes
    ]


def check_content_checks(config: Config) -> None:
    """Raise ConfigError for a table that can never work, and for a verdict in a table of patterns that is none."""
    for name in _NAMES:
        try:
            check_tables(getattr(config, name))
            for table in getattr(config, name):
                _check_verdicts(_verdicts(table), name == "header_checks")
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
    if kind == "static":
        return [rest.strip("{}")]
    from ..host.tables import PatternFile, open_table

    table = open_table(name)
    if kind not in PATTERN_TYPES or not isinstance(table, PatternFile):
        return []
    try:
        table.refresh(lambda fault: None)
    except OSError:
        return []  # it may be there when it is needed; mail waits until then
    return table.table.results()
