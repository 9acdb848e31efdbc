"""What is printed for people at a terminal: colours, and lines that are broken between words.

Guarantees: what a pipe or a file gets has whole lines and no escape codes; NO_COLOR (no-color.org) is respected.
"""

import os
import re
import shutil
import sys
from typing import Final

GOOD: Final = "32"  # green
ODD: Final = "33"  # yellow
BAD: Final = "31"  # red
HEAD: Final = "1"  # bold
_NARROWEST = 40
_ESCAPE = re.compile("\x1b\\[\\d*m")
_WORDS = re.compile(r"( *)([^ ]+)")


def painted(text: str, colour: str) -> str:
    """Return a text as standard output is to show it."""
    return f"\x1b[{colour}m{text}\x1b[0m" if has_colours() else text


def has_colours() -> bool:
    """Say whether standard output is a terminal that shows colours."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb" and not os.environ.get("NO_COLOR")


def width() -> int:
    """Return how many columns there are; a pipe has room for everything."""
    return max(shutil.get_terminal_size().columns, _NARROWEST) if sys.stdout.isatty() else sys.maxsize


def wrapped(line: str, indent: int) -> str:
    """Return a line broken at the width of the terminal, what follows a break indented; whole in a pipe.

    Only a word for which no line has room is broken itself. Colours take no room.
    """
    room = width()
    if len(line) <= room or _size(line) <= room:
        return line
    lines, current = [], ""
    for blanks, word in _WORDS.findall(line):
        if current and _size(current) + len(blanks) + _size(word) > room:
            lines.append(current)
            current, blanks = " " * indent, ""
        elif not current and len(blanks) + _size(word) > room:
            blanks = blanks[:indent]
        current += blanks
        while _size(current) + _size(word) > room:
            word = _ESCAPE.sub("", word)
            end = room - _size(current)
            lines.append(current + word[:end])
            current, word = " " * indent, word[end:]
        current += word
    return "\n".join([*lines, current])


def fitted(line: str) -> str:
    """Return a line broken as wrapped() does, a little further in than it begins itself."""
    return wrapped(line, len(line) - len(line.lstrip(" ")) + 4)


def _size(text: str) -> int:
    return len(_ESCAPE.sub("", text))
