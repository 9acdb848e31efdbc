"""Postfix's policy delegation protocol (SMTPD_POLICY_README): a question as lines name=value, an answer as action=...

Guarantees: no value of a question can begin another line, and an answer has a limit.
"""

from collections.abc import Mapping

ANSWER_LIMIT = 65536
_LINE_ENDS = str.maketrans("\n\r\0", "???")


class PolicyError(Exception):
    """The server says what is no answer."""


def question(attributes: Mapping[str, object]) -> bytes:
    """Return a question as octets."""
    lines = (f"{name}={str(value).translate(_LINE_ENDS)}\n" for name, value in attributes.items())
    return "".join(lines).encode("utf-8", "surrogateescape") + b"\n"


def answer(lines: bytes) -> str:
    """Return the action of an answer, the octets up to its empty line; raises PolicyError."""
    actions = [line[7:].strip() for line in lines.split(b"\n") if line.startswith(b"action=")]
    if len(actions) != 1 or not actions[0]:
        raise PolicyError(f"no answer: {lines[:80]!r}")
    try:
        text = actions[0].decode()
    except UnicodeDecodeError:
        raise PolicyError("the answer is not UTF-8") from None
    if not text.replace("\t", " ").isprintable():
        raise PolicyError("the answer holds control characters")
    return text
