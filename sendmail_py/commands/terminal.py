"""What is printed for people at a terminal: colours, and lines that are broken between words.

Guarantees: what a pipe or a file gets has whole lines and no escape codes; NO_COLOR (no-color.org) is respected.
"""

import os
import shutil
import sys
from typing import Final

GOOD: Final = "32"  # green
ODD: Final = "33"  # yellow
BAD: Final = "31"  # red
HEAD: Final = "1"  # bold
_NARROWEST = 40


def painted(text: str, colour: str) -> str:
    """Return a text as standard output is to show it."""
    return f"\x1b[{colour}m{text}\x1b[0m" if has_colours() else text


def has_colours() -> bool:
    """Say whether standard output is a terminal that shows colours."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb" and not os.environ.get("NO_COLOR")


def wrapped(line: str, indent: int) -> str:
    """Return a line broken at the width of the terminal, what follows the first break indented; whole in a pipe."""
    width = max(shutil.get_terminal_size().columns, _NARROWEST) if sys.stdout.isatty() else sys.maxsize
    if len(line) <= width:
        return line
    import textwrap  # it costs more than most of what is printed

    wrapper = textwrap.TextWrapper(width, subsequent_indent=" " * indent, break_on_hyphens=False)
    wrapper.break_long_words = wrapper.replace_whitespace = wrapper.expand_tabs = False
    return wrapper.fill(line)
