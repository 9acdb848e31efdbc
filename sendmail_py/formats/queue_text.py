"""The text of a queue file as far as every submission needs it: the escape grammar and the common lines.

queue_file.py has the whole format. Light: imported by sendmail(1).
"""

import time

MAGIC = b"sendmail-py-queue 1\n"
SIZE_DIGITS = 10
COMMAND_LIMIT = 256
NO_FLAGS = "flags: [ ] delay-warned  [ ] expire  [ ] queue-only  [ ] report  [ ] verify  [ ] reported\n"
_PLAIN = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-/=?^_`{|}~.@;:,[]()"
_PLAIN_WORDS = _PLAIN + " "
_last_date = (-1, "")


def escape(text: str) -> str:
    """Write a value so that it holds no blank, quote, bracket or control character."""
    if not text.strip(_PLAIN):
        return text
    out = ""
    for c in text:
        if c in _PLAIN or (c > "\x7f" and c.isprintable()):
            out += c
        else:
            for octet in c.encode("utf-8", "surrogateescape"):
                out += f"\\x{octet:02x}"
    return out


def quote(text: str) -> str:
    """Write a value between double quotes; blanks stay readable."""
    if text.strip(_PLAIN_WORDS):
        text = " ".join(map(escape, text.split(" ")))
    return f'"{text}"'


def arrived_line(arrived_at: int) -> str:
    """Return the line with the time of arrival, in microseconds; the last date is kept: many come in one second."""
    global _last_date
    seconds, micros = divmod(arrived_at, 1_000_000)
    last, text = _last_date
    if last != seconds:
        text = time.strftime("%a, %d %b %Y %H:%M:%S +0000", time.gmtime(seconds))
        _last_date = seconds, text
    return f"arrived: {seconds}.{micros:06} {text}\n"


def submitter_line(uid: int, login: str, pid: int, cwd: str, command: str) -> str:
    """Return the line with who submits, without its end."""
    command = quote(command[:COMMAND_LIMIT])
    return f"submitter: uid={uid} login={escape(login)} pid={pid} cwd={quote(cwd)} command={command}"


def plain_head(
    arrived_at: int, submitter: str, sender: "str | None", recipients: "list[str]", body: str, full_name: str, size: int
) -> bytes:
    """Return what queue_file.render() makes of a submission whose addresses need no quotes and no escapes."""
    head = f"{arrived_line(arrived_at)}{submitter}\n"
    if sender is not None:
        head += f"from: <{sender}>\n"
    for recipient in recipients:
        head += f"to: [ ] <{recipient}>\n"
    head += NO_FLAGS
    if body:
        head += f"body: {body}\n"
    if full_name:
        head += f"full-name: {quote(full_name)}\n"
    return MAGIC + f"{head}size: {size:0{SIZE_DIGITS}}\n\n".encode("utf-8", "surrogateescape")
