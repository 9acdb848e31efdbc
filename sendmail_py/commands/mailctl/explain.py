"""mailctl config explain NAME: what a parameter is for, its value here, and which line of which file gave it."""

import json
import sys
import textwrap
from typing import Any

from ...core.complaints import unknown
from ...core.config import Config, convert
from ...core.errors import ConfigError, UsageError
from ...core.exitcodes import EX_OK
from ...core.params import BY_NAME
from ...host import configuration
from ..terminal import BAD, painted
from .parser import Parser

_NOT_FOUND = 1
_WIDTH = 78
_TYPES = {
    "str": "a text",
    "raw": "a text whose macros are filled in when it is used",
    "int": "a whole number",
    "bool": "yes or no",
    "time": "a time such as 300s, 5m, 1h, 5d",
    "list": "a list, parted by commas or blanks",
}


def main(arguments: list[str], directory: str) -> int:
    """Run the verb; status 1 when a name is no parameter of ours."""
    parser = Parser("config explain", "Explain parameters: manual entry, value, and where it was set.")
    parser.add_argument("-j", "--json", action="store_true", help="as JSON")
    parser.add_argument("names", nargs="+", metavar="name")
    options = parser.parse_args(arguments)
    if any("=" in name for name in options.names):
        raise UsageError("explain takes names alone; `mailctl config -e name=value` sets one")
    config, _ = configuration.load(directory)
    known = [name for name in options.names if name in BY_NAME]
    for name in options.names:
        if name not in BY_NAME:
            print(f"mailctl config: {unknown(name)}", file=sys.stderr)
    rows = [_row(name, config) for name in known]
    text = json.dumps(rows, indent=1) + "\n" if options.json else "\n".join(map(_shown, rows))
    sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape"))
    return EX_OK if len(known) == len(options.names) else _NOT_FOUND


def _row(name: str, config: Config) -> dict[str, Any]:
    param = BY_NAME[name]
    row = {"name": name, "value": config.text(name), "origin": config.origin(name), "default": config.default(name)}
    row |= {"type": param.type, "section": param.section, "doc": param.doc, "expanded": "", "fault": ""}
    try:
        row["expanded"] = config.expanded(name)
        convert(param, row["expanded"], row["origin"])
    except ConfigError as error:
        row["fault"] = str(error)
    return row


def _shown(row: dict[str, Any]) -> str:
    kind = _TYPES.get(row["type"]) or "one of " + row["type"].replace("|", ", ")
    facts = [f"{row['name']} = {row['value']}".rstrip()]
    if row["type"] != "raw" and row["expanded"] != row["value"]:
        facts.append(f"which is now: {row['expanded']}".rstrip())
    if row["origin"] == "default":
        facts.append("not set: this is the default")
    else:
        facts += [f"set in {_place(row['origin'])}", f"default: {row['default'] or '(empty)'}"]
    facts.append(f"{kind}; {row['section']}; main.cf(5)")
    if row["fault"]:
        facts.append(f"{painted('FAULT', BAD)}: {row['fault']}")
    first, *others = facts
    manual = textwrap.fill(row["doc"], _WIDTH, initial_indent="    ", subsequent_indent="    ", break_long_words=False)
    return "\n".join([first, *(f"    {fact}" for fact in others), "", manual, ""])


def _place(origin: str) -> str:
    file, _, line = origin.rpartition(":")
    return f"{file}, line {line}" if file and line.isdigit() else origin
