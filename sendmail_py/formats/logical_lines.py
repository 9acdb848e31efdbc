"""The lines of main.cf (postconf(5)), continuations joined and comments dropped.

A line that begins with white space continues the one before; a line whose first visible
character is # is a comment, also between a line and its continuation. Light: imported by
sendmail(1).
"""


def logical_lines(text: str) -> "list[tuple[int, str]]":
    """Join continuation lines and drop comments; each with the number of its first line."""
    lines: list[tuple[int, str]] = []
    for number, line in enumerate(text.split("\n"), 1):
        stripped = line.strip()
        if not stripped or stripped[0] == "#":
            continue
        if line[0] in " \t" and lines:
            first, before = lines[-1]
            lines[-1] = first, f"{before} {stripped}"
        else:
            lines.append((number, stripped))
    return lines
