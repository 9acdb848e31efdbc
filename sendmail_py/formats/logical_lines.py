"""The lines of main.cf (postconf(5)), continuations joined and comments dropped.

A line that begins with white space continues the one before; a line whose first visible
character is # is a comment, also between a line and its continuation. Light: imported by
sendmail(1).
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


def logical_lines(text: str) -> "Iterator[tuple[int, str]]":
    """Join continuation lines and drop comments; each with the number of its first line."""
    first, joined = 0, ""
    for number, line in enumerate(text.split("\n"), 1):
        stripped = line.strip()
        if not stripped or stripped[0] == "#":
            continue
        if line[0] in " \t" and first:
            joined = f"{joined} {stripped}"
            continue
        if first:
            yield first, joined
        first, joined = number, stripped
    if first:
        yield first, joined
