"""The file of smtpd_sasl_path: one user a line, name:hash, as Dovecot's passwd-file and htpasswd(1) write it.

Lines that begin with # and empty ones do not count; what follows the hash after a colon does neither.
A hash that begins with ! or * is locked: nobody logs in with it.
"""

from collections.abc import Iterator

_WITH_COLONS = "SCRAM-SHA-256$"
LOCKED = ("!", "*")


def entry(line: str) -> tuple[str, str] | None:
    """Return name and hash of a line, None where it is none; raises ValueError for one that cannot be read."""
    text = line.strip()
    if not text or text.startswith("#"):
        return None
    name, colon, rest = text.partition(":")
    if not name or not colon:
        raise ValueError("name:hash expected")
    fields = rest.split(":")
    return name, ":".join(fields[:3]) if rest.startswith(_WITH_COLONS) else fields[0]


def names(text: str) -> Iterator[str]:
    """Yield the names of a file."""
    for line in text.splitlines():
        if name := _name(line):
            yield name


def changed(text: str, name: str, hash: str | None) -> str:
    """Return the text with another hash for a name, or without it; every other line stays as it is."""
    lines = text.splitlines()
    kept = []
    done = hash is None
    for line in lines:
        if _name(line) != name:
            kept.append(line)
        elif not done:
            kept.append(f"{name}:{hash}")
            done = True
    if not done:
        kept.append(f"{name}:{hash}")
    return "".join(line + "\n" for line in kept)


def check_name(name: str) -> None:
    """Raise ValueError for a name that a line cannot hold."""
    if not name or name != name.strip() or name.startswith("#") or ":" in name or not name.isprintable():
        raise ValueError("a name has no colon, no control character, no # and no blank at its ends")


def _name(line: str) -> str:
    try:
        found = entry(line)
    except ValueError:
        return ""
    return found[0] if found else ""
