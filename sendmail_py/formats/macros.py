"""$name, ${name}, ${name?text} and ${name:text} in a value that is worked out for each recipient.

Pure. The names stand for what is known of a recipient, not for parameters.
"""

from collections.abc import Mapping

from ..core.config import split_macro

_DEPTH = 10


class Undefined(ValueError):
    """A name stands for nothing, so the whole text does."""


def expand(text: str, values: Mapping[str, str], depth: int = _DEPTH) -> str:
    """Replace the macros; raises Undefined where one stands alone that is empty, ValueError for bad syntax."""
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
            out.append(_value(macro, values, depth - 1))
    return "".join(out)


def _value(macro: str, values: Mapping[str, str], depth: int) -> str:
    for i, c in enumerate(macro):
        if c in "?:":
            is_set = bool(values.get(macro[:i]))
            return expand(macro[i + 1 :], values, depth) if is_set == (c == "?") else ""
    if not values.get(macro):
        raise Undefined(macro)
    return values[macro]
