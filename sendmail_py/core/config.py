"""Config: one attribute per parameter, typed, with $name expanded.

A value is worked out when it is first asked for, so a bad line in main.cf stops only who needs
that parameter: sendmail(1) still queues. Services call validate() and refuse the whole.
Light: imported by sendmail(1).
"""

from .errors import ConfigError
from .params import BY_NAME, PARAMS, Param

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DEPTH = 20
_BLANKS = frozenset(", \t")
HOST_NAMES = ("myhostname", "mydomain", "myorigin")


class Setting:
    """A value as main.cf has it, with its origin for messages ("main.cf:12" or "-o")."""

    __slots__ = ("origin", "text")

    def __init__(self, text: str, origin: str) -> None:
        self.text = text
        self.origin = origin


class Config:
    """The configuration of one instance; frozen after construction.

    settings are what main.cf says; facts give the defaults that only the machine knows
    (myhostname, myorigin), as functions without arguments; first_line reads the file that myorigin may
    name, as Debian's Postfix has it.
    """

    def __init__(
        self,
        settings: "dict[str, Setting]",
        facts: "dict[str, Callable[[], str]] | None" = None,
        first_line: "Callable[[str], str] | None" = None,
    ) -> None:
        self.__dict__["settings"] = settings
        self.__dict__["facts"] = facts or {}
        self.__dict__["first_line"] = first_line

    def __getattr__(self, name: str) -> "Any":
        param = BY_NAME.get(name)
        if param is None:
            raise AttributeError(name)
        text = self.text(name) if param.type == "raw" else self.expanded(name)
        value = convert(param, text, self.origin(name))
        if param.type == "list" and not _BLANKS.isdisjoint(self.expanded("config_directory")):
            value = self._list_beside_blanks(name)
        self.__dict__[name] = value
        return value

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{name}: the configuration is frozen")

    def _list_beside_blanks(self, name: str) -> "list[str]":
        """Return a list that may use a $config_directory with blanks in its name: these part nothing."""
        directory = Setting("\0", self.origin("config_directory"))
        stand_in = Config({**self.settings, "config_directory": directory}, self.facts, self.first_line)
        words = stand_in.expanded(name).replace(",", " ").split()
        return [word.replace("\0", self.expanded("config_directory")) for word in words]

    def origin(self, name: str) -> str:
        """Say where a value comes from: a file and line, -o, or the default."""
        setting = self.settings.get(name)
        return setting.origin if setting else "default"

    def text(self, name: str) -> str:
        """Return the value before expansion; "" for a name that is not set or known."""
        setting = self.settings.get(name)
        if setting:
            return str(setting.text)
        fact = self.facts.get(name)
        if fact:
            return str(fact())
        param = BY_NAME.get(name)
        return param.default if param else ""

    def default(self, name: str) -> str:
        """Return the default as `mailctl config -d` shows it."""
        fact = self.facts.get(name)
        return fact() if fact else BY_NAME[name].default

    def expanded(self, name: str) -> str:
        """Return the value with $name, ${name}, ${name?text} and ${name:text} replaced."""
        return self._expand(self._said(name), name, _DEPTH)

    def _said(self, name: str) -> str:
        """Return the value before expansion; where myorigin names a file, what that says.

        Names of this host lose the dot that ends an absolute domain name: in an address it is none of it.
        """
        text = self.text(name)
        if name not in HOST_NAMES:
            return text
        if name != "myorigin" or text[:1] != "/" or not self.first_line:
            return text.removesuffix(".")
        try:
            return str(self.first_line(text)).removesuffix(".")
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", "") or str(error)
            raise ConfigError(f"{self.origin(name)}: myorigin = {text}: {why}") from None

    def _expand(self, text: str, name: str, depth: int) -> str:
        if "$" not in text:
            return text
        if not depth:
            raise ConfigError(f"{self.origin(name)}: {name}: macros refer to each other in a circle")
        out = []
        rest = text
        while rest:
            before, dollar, rest = rest.partition("$")
            out.append(before)
            if not dollar:
                break
            if rest[:1] == "$":
                out.append("$")
                rest = rest[1:]
                continue
            try:
                macro, rest = split_macro(rest)
            except ValueError as error:
                raise ConfigError(f"{self.origin(name)}: {name}: {error}") from None
            out.append(self._macro(macro, name, depth - 1))
        return "".join(out)

    def _macro(self, macro: str, name: str, depth: int) -> str:
        for i, c in enumerate(macro):
            if c in "?:":
                key, then = macro[:i].rstrip(), macro[i + 1 :].lstrip() if "{" in macro else macro[i + 1 :]
                is_set = bool(self._expand(self._said(key), name, depth))
                then, otherwise = _branches(then)
                return self._expand(then if is_set == (c == "?") else otherwise, name, depth)
        return self._expand(self._said(macro), name, depth)

    def validate(self) -> None:
        """Work every parameter out; raises ConfigError for the first bad value."""
        for param in PARAMS:
            getattr(self, param.name)


def split_macro(rest: str) -> "tuple[str, str]":
    """Split text that follows a dollar sign into the macro and what comes after it; raises ValueError."""
    if rest[:1] in ("{", "("):
        opening, closing = rest[0], "}" if rest[0] == "{" else ")"
        depth = 0
        for i, c in enumerate(rest):
            depth += (c == opening) - (c == closing)
            if not depth:
                return rest[1:i], rest[i + 1 :]
        raise ValueError(f"a ${opening} is not closed")
    end = 0
    while end < len(rest) and (rest[end].isalnum() or rest[end] == "_"):
        end += 1
    if not end:
        raise ValueError("a $ without a name (write $$ for a dollar sign)")
    return rest[:end], rest[end:]


def _branches(text: str) -> "tuple[str, str]":
    """Return both branches of a condition: {text}:{text}, {text}, or text to the end."""
    if text[:1] != "{":
        return text, ""
    try:
        then, rest = split_macro(text)
    except ValueError:
        return text, ""
    otherwise = rest.lstrip()[1:].lstrip() if rest.lstrip()[:1] == ":" else ""
    if otherwise[:1] == "{" and otherwise[-1:] == "}":
        otherwise = otherwise[1:-1]
    return then.strip(), otherwise.strip()


def split_in_braces(text: str) -> "list[str]":
    """Split a list whose elements may hold blanks and commas within braces, as inline:{a=b, c=d} does."""
    words, depth, word = [], 0, ""
    for c in text:
        depth += (c == "{") - (c == "}")
        if depth <= 0 and c in ", \t\n":
            words.append(word)
            word = ""
        else:
            word += c
    return [word for word in (*words, word) if word]


def convert(param: Param, text: str, origin: str) -> "str | int | bool | list[str]":
    """Turn the text of a value into its type; raises ConfigError naming where it stands."""
    kind = param.type
    if kind in ("str", "raw"):
        return text
    if kind == "list":
        return split_in_braces(text) if "{" in text else text.replace(",", " ").split()
    if kind == "int" and text.isascii() and text.isdigit():
        return int(text)
    if kind == "bool" and text.lower() in ("yes", "no", "true", "false"):
        return text.lower() in ("yes", "true")
    if kind == "time":
        number, unit = (text[:-1], text[-1:]) if text[-1:] in _UNITS else (text, _unit_of(param))
        if number.isascii() and number.isdigit():
            return int(number) * _UNITS[unit]
    if "|" in kind and text.lower() in kind.split("|"):
        return text.lower()
    raise ConfigError(
        f"{origin}: {param.name} = {text}: {_WANTED.get(kind, 'one of ' + kind.replace('|', ', '))} expected"
    )


def _unit_of(param: Param) -> str:
    """Return the unit of a time that has none: as in Postfix that of the default (a lifetime of 5 is days)."""
    return param.default[-1:] if param.default[-1:] in _UNITS else "s"


_WANTED = {"int": "a whole number", "bool": "yes or no", "time": "a time such as 300s, 5m, 1h, 5d"}
