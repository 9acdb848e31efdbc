"""The texts of delivery reports, and bounce_template_file, which replaces them (Postfix's bounce.cf, bounce(5)).

    failure_template = <<EOF
    Charset: utf-8
    From: MAILER-DAEMON (Mail Delivery System)
    Subject: Undelivered Mail Returned to Sender
    Postmaster-Subject: Postmaster Copy: Undelivered Mail

    This is the mail system at host $myhostname.
    EOF

A template with a fault is left out as a whole and its fault named, so that a slip in the file costs
the wording of a report and never the report.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ..core.config import Config
from ..core.params import BY_NAME
from . import macros
from .report_kinds import Kind
from .trace_headers import clean, display_name

NAMES = {
    "failure_template": (Kind.FAILURE,),
    "delay_template": (Kind.DELAY,),
    "success_template": (Kind.SUCCESS,),
    "verify_template": (Kind.DELIVERY, Kind.VERIFICATION),
}
_WITH_COPIES = ("failure_template", "delay_template")
_UNITS = {"seconds": 1, "minutes": 60, "hours": 3600, "days": 86400, "weeks": 604800}
_WORDS = "words"  # our own: the number with its unit


@dataclass(frozen=True, slots=True)
class Template:
    """The wording of one kind of report; text holds $name of main.cf parameters. postmaster_subject is for copies."""

    subject: str
    text: str
    postmaster_subject: str = ""
    sender: str = "MAILER-DAEMON (Mail Delivery System)"
    charset: str = "us-ascii"


_GREETING = "This is the mail system at host $myhostname.\n"
_SIGNATURE = "                   The mail system\n"
_FAILED = """\
Your message could not be delivered to one or more recipients. The
reasons are given below, and your message is attached.

For further assistance, please send mail to postmaster and include
this report; the attached message is not needed for that.
"""
_DELAYED = """\
This is a warning only: you need not send your message again.

It has not yet been delivered to the recipients below, after
$delay_warning_time_words or more. Delivery is tried further until the message is
$maximal_queue_lifetime_words old; then you are told what has failed.
"""
_SUCCEEDED = """\
Your message was delivered to the recipients below. Where it went into
a mailbox, no other report will follow. Where it was passed on, you may
still hear from other mail systems about it.
"""


def _body(text: str) -> str:
    return f"{_GREETING}\n{text}\n{_SIGNATURE}"


_STATUS = "Mail Delivery Status Report"
BUILT_IN = {
    Kind.FAILURE: Template("Undelivered Mail Returned to Sender", _body(_FAILED), "Postmaster Copy: Undelivered Mail"),
    Kind.DELAY: Template("Delayed Mail (still being retried)", _body(_DELAYED), "Postmaster Warning: Delayed Mail"),
    Kind.SUCCESS: Template("Successful Mail Delivery Report", _body(_SUCCEEDED)),
    Kind.DELIVERY: Template(_STATUS, _body("This is the report that you asked for.\n")),
    Kind.VERIFICATION: Template(_STATUS, _body("This is the report that you asked for. Nothing was delivered.\n")),
}


@dataclass(frozen=True, slots=True)
class Wording:
    """What stands in one report: the From and Subject fields' bodies, and the text with its macros replaced."""

    sender: str
    subject: str
    text: str


def wording(template: Template, config: Config, is_copy: bool = False) -> Wording:
    """Return the wording of a report; raises ValueError for what check() would have named."""
    subject = template.postmaster_subject if is_copy and template.postmaster_subject else template.subject
    subject = clean(subject) if subject.isascii() else display_name(subject)
    return Wording(template.sender, subject, _expand(template.text, config))


def read(data: bytes, config: Config) -> tuple[dict[Kind, Template], list[str]]:
    """Read a template file; returns what it replaces, and its faults as "line N: ..." for people."""
    found: dict[Kind, Template] = {}
    faults: list[str] = []
    for number, name, lines in _blocks(data, faults):
        kinds = NAMES.get(name, ())
        try:
            if not kinds:
                raise ValueError(f"one of {', '.join(NAMES)} expected")
            for kind in kinds:
                found[kind] = _template(name, kind, lines)
                wording(found[kind], config)
        except ValueError as error:
            for kind in kinds:
                found.pop(kind, None)
            faults.append(f"line {number}: {name}: {error}; it is left out")
    return found, faults


def _blocks(data: bytes, faults: list[str]) -> Iterator[tuple[int, str, list[bytes]]]:
    """Yield each template of a file: the number of its first line, its name, its lines."""
    lines = iter(enumerate(data.replace(b"\r\n", b"\n").split(b"\n"), 1))
    for number, raw in lines:
        line = raw.decode("utf-8", "replace").strip()
        if not line or line.startswith("#"):
            continue
        name, equals, marker = line.partition("=")
        end = marker.strip().removeprefix("<<").strip()
        if not equals or not marker.strip().startswith("<<") or not end:
            faults.append(f"line {number}: name = <<MARKER expected; it is left out")
            continue
        block: list[bytes] = []
        for _, text in lines:
            if text.decode("utf-8", "replace").rstrip() == end:
                yield number, name.strip(), block
                break
            block.append(text)
        else:
            faults.append(f"line {number}: {name.strip()}: no line {end} ends it; it is left out")


def _template(name: str, kind: Kind, lines: list[bytes]) -> Template:
    """Read one template; the header fields that it does not have are the built-in ones."""
    built_in = BUILT_IN[kind]
    given: dict[str, str] = {}
    at = 0
    while at < len(lines) and (field := _field(lines[at])):
        given[field[0]] = field[1]
        at += 1
    charset = given.pop("charset", built_in.charset)
    allowed = ("from", "subject", "postmaster-subject") if name in _WITH_COPIES else ("from", "subject")
    for label, value in given.items():
        if label not in allowed:
            raise ValueError(f"{label}: no such field here")
        if not value:
            raise ValueError(f"{label}: it is empty")
    if not given.get("from", "").isascii():
        raise ValueError("from: only ASCII can stand here")
    text = _text(b"\n".join(lines[at:]).strip(b"\n"), charset)
    fields = {"sender": given.get("from"), "subject": given.get("subject")}
    fields["postmaster_subject"] = given.get("postmaster-subject")
    return replace(built_in, charset=charset, text=text, **{k: v for k, v in fields.items() if v is not None})


def _field(line: bytes) -> tuple[str, str] | None:
    """Return the label, in small letters, and the value of a field; None for a line that is none."""
    label, colon, value = line.partition(b":")
    if not colon or not label or any(c <= 32 or c >= 127 for c in label):
        return None
    return label.decode().lower(), value.decode("utf-8", "replace").strip()


def _text(octets: bytes, charset: str) -> str:
    if not octets.strip():
        raise ValueError("there is no text")
    try:
        return octets.decode(charset) + "\n"
    except LookupError:
        raise ValueError(f"charset {charset}: no such character set") from None
    except UnicodeDecodeError:
        raise ValueError(f"the text is not {charset}; charset: utf-8 may be what is missing") from None


# --- $name -----------------------------------------------------------------------------------


def _expand(text: str, config: Config) -> str:
    return macros.replace(text, lambda name: _value(name, config), lambda name: bool(_value(name, config)))


def _value(name: str, config: Config) -> str:
    """Return the value of a parameter, or of a time in the unit that the end of its name asks for."""
    if name in BY_NAME:
        return config.expanded(name)
    stem, _, unit = name.rpartition("_")
    if stem not in BY_NAME or (unit not in _UNITS and unit != _WORDS):
        raise ValueError(f"${name}: there is no such parameter")
    if BY_NAME[stem].type != "time":
        raise ValueError(f"${name}: {stem} is no time")
    seconds: int = getattr(config, stem)
    return str(seconds // _UNITS[unit]) if unit in _UNITS else _in_words(seconds)


def _in_words(seconds: int) -> str:
    unit = next((u for u in ("days", "hours", "minutes") if seconds and seconds % _UNITS[u] == 0), "seconds")
    number = seconds // _UNITS[unit]
    return f"{number} {unit[:-1] if number == 1 else unit}"
