"""$name, ${name}, ${name?text} and ${name:text} in a value that is worked out for each recipient.

Pure. The names stand for what is known of a recipient, not for parameters.
"""

from collections.abc import Callable, Mapping

from ..core.config import split_macro

_DEPTH = 10


class Undefined(ValueError):
    """A name stands for nothing, so the whole text does."""


def expand(text: str, values: Mapping[str, str]) -> str:
    """Replace the macros; raises Undefined where one stands alone that is empty, ValueError for bad syntax."""

    def value(name: str) -> str:
        if not values.get(name):
            raise Undefined(name)
        return values[name]

    return replace(text, value, lambda name: bool(values.get(name)))


def replace(text: str, value: Callable[[str], str], is_set: Callable[[str], bool], depth: int = _DEPTH) -> str:
    """Replace the macros by what value() says of their names; is_set() decides conditions. Raises ValueError."""
    if not depth:
        raise ValueError("macros within macros, too deep")
    out = []
    rest = text
    while rest:
        before, dollar, rest = rest.partition("$")
        out.append(before)
        if dollar and rest[:1] == "$":
            out.append("$")
            rest = rest[1:]
        elif dollar:
            macro, rest = split_macro(rest)
            out.append(_one(macro, value, is_set, depth - 1))
    return "".join(out)


def _one(macro: str, value: Callable[[str], str], is_set: Callable[[str], bool], depth: int) -> str:
    for i, c in enumerate(macro):
        if c in "?:":
            wanted = is_set(macro[:i]) == (c == "?")
            return replace(macro[i + 1 :], value, is_set, depth) if wanted else ""
    return value(macro)
