"""The syntax of main.cf (postconf(5)): logical lines to settings, and edits in place.

logical_lines.py says what a line is. Light: imported by sendmail(1) where main.cf uses macros.
"""

from ..core.config import Setting
from ..core.errors import ConfigError
from .logical_lines import logical_lines


def parse(text: str, origin: str) -> "tuple[dict[str, Setting], list[str]]":
    """Return the settings and the complaints, one line each, of a main.cf; never raises.

    The last of several settings of a name counts. origin is the file's name for messages.
    """
    settings: dict[str, Setting] = {}
    complaints = []
    for number, line in logical_lines(text):
        name, equals, value = line.partition("=")
        name = name.strip()
        if not equals or not name or not name.replace("_", "a").isalnum():
            complaints.append(f"{origin}:{number}: `name = value` expected: {line[:60].strip()}")
            continue
        settings[name] = Setting(value.strip(), f"{origin}:{number}")
    return settings, complaints


def edit(text: str, name: str, value: "str | None") -> str:
    """Return the text with one setting replaced, added or (value None) removed; comments stay.

    Raises ConfigError for a value that would not come back as it went in.
    """
    if value is not None and ("\n" in value or "\r" in value):
        raise ConfigError(f"{name}: a value cannot hold a line break")
    out = []
    written = skipping = started = False
    for line in text.split("\n"):
        stripped = line.strip()
        if not stripped or stripped[0] == "#":
            out.append(line)  # a comment ends no setting: what continues it may still follow
            continue
        if line[0] in " \t" and started:
            if not skipping:
                out.append(line)
            continue
        started = True
        skipping = "=" in line and line.partition("=")[0].strip() == name
        if not skipping:
            out.append(line)
        elif value is not None and not written:
            out.append(f"{name} = {value}")
            written = True
    if value is not None and not written:
        while out and not out[-1]:
            out.pop()
        out += [f"{name} = {value}", ""]
    return "\n".join(out)
