"""The fenced blocks of documents, and transcripts among them: what a document shows is typed, and has to come.

A block of the kind `console` holds commands, "# " as root and "$ " as an ordinary user ("> " continues one), each
followed by its output. There "..." stands for any text within a line, and alone on a line for any lines.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_ANY = "..."
_FENCE = "```"


@dataclass(frozen=True)
class Block:
    """A fenced block: the heading that it is under, its kind, and its lines. number counts those of a document."""

    section: str
    kind: str
    number: int
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        """Return the block as a file."""
        return "".join(f"{line}\n" for line in self.lines)


def blocks(document: Path) -> Iterator[Block]:
    """Yield the fenced blocks of a document."""
    section, kind, lines, number = "", "", [], 0
    inside = False
    for line in document.read_text().splitlines():
        if line.startswith(_FENCE):
            if inside:
                yield Block(section, kind, number, tuple(lines))
                number += 1
            inside, kind, lines = not inside, line.removeprefix(_FENCE), []
        elif inside:
            lines.append(line)
        elif line.startswith("#"):
            section = line.lstrip("# ")
    assert not inside, f"{document}: a block has no end"


@dataclass
class Step:
    """A command, who types it, and the lines that it is to print."""

    section: str
    block: int
    as_root: bool
    command: str
    expected: list[str] = field(default_factory=list)

    def fits(self, output: str) -> bool:
        """Say whether an output is what the document promises."""
        text = "".join(f"{line.rstrip()}\n" for line in output.splitlines())
        return bool(re.fullmatch(_pattern(self.expected), text))


def _pattern(lines: list[str]) -> str:
    parts = []
    for line in lines:
        if line.strip() == _ANY:
            parts.append(r"(?:.*\n)*?")
        else:
            parts.append(".*".join(re.escape(part) for part in line.rstrip().split(_ANY)) + r"\n")
    return "".join(parts)


def steps_of(block: Block) -> list[Step]:
    """Return the commands of a transcript."""
    found: list[Step] = []
    for line in block.lines:
        if line[:2] in ("# ", "$ "):
            found.append(Step(block.section, block.number, line[0] == "#", line[2:]))
        elif line[:2] == "> " and not found[-1].expected:
            found[-1].command += f"\n{line[2:]}"
        else:
            found[-1].expected.append(line)
    return found


def steps(document: Path) -> list[Step]:
    """Return the commands of all transcripts of a document."""
    return [step for block in blocks(document) if block.kind == "console" for step in steps_of(block)]
