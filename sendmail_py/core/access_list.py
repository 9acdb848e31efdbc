"""Lists of user names that may do something: authorized_submit_users and its like, in Postfix's syntax.

A pattern is a name, /file/name (replaced by the patterns in the file), or static:anything, which
is everybody; ! before one means "not". The first that matches decides, and who matches none is
not allowed. Names are compared without regard to case, as Postfix does; a uid without a name is
"unknown". Light: imported by sendmail(1).
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Read = Callable[[str], str]

UNKNOWN = "unknown"
_DEPTH = 10


def check_patterns(patterns: "list[str]") -> None:
    """Raise ValueError for a pattern of a type that there is not."""
    for pattern in patterns:
        _split(pattern)


def is_for_everybody(patterns: "list[str]") -> bool:
    """Say whether a list allows every user, so that nobody's name need be looked up."""
    return patterns[:1] == ["static:anyone"] or patterns[:1] == ["static:all"]


def is_allowed(patterns: "list[str]", name: str, read: "Read") -> bool:
    """Say whether a user is allowed; read returns the text of a file.

    Raises ValueError for a bad pattern, and whatever read raises.
    """
    return bool(_decision(patterns, name.lower(), read, _DEPTH))


def _decision(patterns: "list[str]", name: str, read: "Read", depth: int) -> "bool | None":
    """Return what the first matching pattern says, None when none matches."""
    for pattern in patterns:
        says, kind, value = _split(pattern)
        if kind == "file":
            if not depth:
                raise ValueError(f"{value}: too many files within each other")
            found = _decision(_patterns_in(read(value)), name, read, depth - 1)
            if found is not None:
                return found == says
        elif kind == "static" or value.lower() == name:
            return says
    return None


def _split(pattern: str) -> "tuple[bool, str, str]":
    """Return whether a match allows, the kind of pattern, and its value."""
    value = pattern.lstrip("!")
    says = (len(pattern) - len(value)) % 2 == 0
    if value[:1] == "/":
        return says, "file", value
    kind, colon, _ = value.partition(":")
    if not colon:
        return says, "name", value
    if kind != "static":
        raise ValueError(f"{pattern}: a name, /file/name or static:anyone expected")
    return says, kind, value


def _patterns_in(text: str) -> "list[str]":
    lines = (line for line in text.split("\n") if line.lstrip()[:1] != "#")
    return " ".join(lines).replace(",", " ").split()
