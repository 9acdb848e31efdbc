"""regexp_table(5) and pcre_table(5): patterns, tried in order, the first that fits gives the result.

Pure. Both are read with Python's patterns, after the classes of POSIX ([[:digit:]]) have been
written out; flags turn i, m, s and x on or off (i and s are on at first). With is_alias results are
literal, for no part of a name may come into what an alias stands for; elsewhere $1, ${1} and $(1)
stand for what the groups of the pattern held, and $$ for a dollar sign; has_groups=False refuses
$1, where no part of a key, which others choose, may come into the value.
"""

import re
from dataclasses import dataclass

from .aliases import Fault, logical_lines, parse_list

_CLASSES = {
    "alpha": "a-zA-Z", "digit": "0-9", "alnum": "a-zA-Z0-9", "upper": "A-Z", "lower": "a-z", "xdigit": "0-9a-fA-F",
    "space": r" \t\n\r\f\v", "blank": r" \t", "punct": re.escape("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"), "word": r"\w",
}  # fmt: skip
_CLASS = re.compile(r"\[:([a-z]+):\]")
_FLAGS = {"i": re.IGNORECASE, "m": re.MULTILINE, "s": re.DOTALL, "x": re.VERBOSE}
_NO_MEANING = "AEUXRS"  # flags of PCRE that change nothing, or nothing for a name
_GROUP = re.compile(r"\$(?:(\$)|(\d)|\{(\d+)\}|\((\d+)\))")


@dataclass(frozen=True, slots=True)
class _Rule:
    """One line: if the patterns of its if-blocks hold, and its own does (or, negated, does not)."""

    conditions: tuple[tuple[re.Pattern[str], bool], ...]
    result: str

    def look_up(self, key: str) -> re.Match[str] | str | None:
        """Return the match of its own pattern, "" where that is negated, None where the rule does not fit."""
        found: re.Match[str] | str | None = None
        for pattern, negated in self.conditions:
            match = pattern.search(key)
            if (match is None) != negated:
                return None
            found = match if match is not None else ""
        return found


class PatternTable:
    """The rules of one table; faults are lines that cannot be used."""

    def __init__(self, text: str, is_alias: bool = True, has_groups: bool = True) -> None:
        self._is_alias = is_alias
        self._has_groups = has_groups and not is_alias
        self.faults: list[Fault] = []
        self._rules: list[_Rule] = []
        self._blocks: list[tuple[re.Pattern[str], bool]] = []
        for number, line in logical_lines(text):
            try:
                self._add_line(line.strip())
            except (ValueError, re.error) as error:
                self.faults.append(Fault(number, str(error)))
        if self._blocks:
            self.faults.append(Fault(0, "an if without its endif"))

    def look_up(self, name: str) -> str | None:
        """Return the result of the first rule that fits."""
        for rule in self._rules:
            found = rule.look_up(name)
            if found is not None:
                return rule.result if self._is_alias else _filled(rule.result, found)
        return None

    def results(self) -> list[str]:
        """Return what all rules give."""
        return [rule.result for rule in self._rules]

    def _add_line(self, line: str) -> None:
        word = line[:5].lower().rstrip()
        if word == "endif":
            if not self._blocks:
                raise ValueError("an endif without its if")
            self._blocks.pop()
            return
        is_block = line[:3].lower() in ("if ", "if\t", "if/", "if!")
        condition, rest = _pattern(line[2:].lstrip() if is_block else line)
        if is_block:
            self._blocks.append(condition)
            return
        if not rest:
            raise ValueError("a pattern without a result")
        if not self._has_groups and re.search(r"\$(\d|\{\d|\(\d)", rest):
            what = "what an alias stands for" if self._is_alias else "a table that says where mail goes"
            raise ValueError(f"$number is not allowed in {what}")
        if self._is_alias:
            parse_list(rest)
        else:
            _check_groups(rest, condition)
        self._rules.append(_Rule((*self._blocks, condition), rest))


def _check_groups(result: str, condition: tuple[re.Pattern[str], bool]) -> None:
    pattern, negated = condition
    for found in _GROUP.finditer(result):
        number = found[2] or found[3] or found[4]
        if number and (negated or int(number) > pattern.groups):
            raise ValueError(f"{found[0]}: the pattern has no such group")


def _filled(result: str, match: re.Match[str] | str) -> str:
    """Return a result with what the groups of the match held in the place of $1 and the like."""
    if "$" not in result:
        return result

    def part(found: re.Match[str]) -> str:
        if found[1] or isinstance(match, str):
            return "$" if found[1] else ""
        return match[int(found[2] or found[3] or found[4])] or ""

    return _GROUP.sub(part, result)


def _pattern(text: str) -> tuple[tuple[re.Pattern[str], bool], str]:
    """Read !/pattern/flags; returns it compiled, whether it is negated, and the rest of the line."""
    negated = False
    while text[:1] == "!":
        negated = not negated
        text = text[1:].lstrip()
    mark = text[:1]
    if not mark or mark.isalnum() or mark.isspace() or mark == "\\":
        raise ValueError("a pattern between two marks, as in /pattern/, was expected")
    end = 1
    while end < len(text) and text[end] != mark:
        end += 2 if text[end] == "\\" else 1
    if end >= len(text):
        raise ValueError(f"a pattern is not closed with {mark}")
    word, _, rest = text[end + 1 :].replace("\t", " ").partition(" ")
    flags = re.IGNORECASE | re.DOTALL
    for letter in word:
        if letter not in _FLAGS and letter not in _NO_MEANING:
            raise ValueError(f'unknown flag "{letter}" after a pattern')
        flags ^= _FLAGS.get(letter, re.NOFLAG)
    return (re.compile(_written_out(text[1:end], mark), flags), negated), rest.strip()


def _written_out(pattern: str, mark: str) -> str:
    def members(found: re.Match[str]) -> str:
        if found[1] not in _CLASSES:
            raise ValueError(f"unknown class {found[0]}")
        return _CLASSES[found[1]]

    if mark in "!\"#%',/:;<=>@_`~&":  # not special in a pattern, so its backslash only kept it from ending it
        pattern = pattern.replace("\\" + mark, mark)
    return _CLASS.sub(members, pattern)
