"""What can work of a configuration that is taken over: all of it passes the check of a start in the end.

Guarantees: whatever is changed or left out is said in the row of its line. Of restrictions only the word that
is not known is left out, for the others protect (of who may relay, only what permits); whatever else cannot
work is refused as a whole.
"""

import re

from ...core.config import Config, Setting
from ...core.errors import ConfigError, UsageError
from ...formats.foreign_config import CHANGED, HONOURED, REFUSED, Import, Row
from ...formats.tables import TEXT_TYPES, parse_names
from ...host import configuration
from ...host.configuration_file import read_text
from ...services.whole_config import check_config

_RESTRICTIONS = re.compile(r"smtpd_(client|helo|sender|relay|recipient|data|end_of_data)_restrictions")
# Lists in which a path stands for what is in that file.
_WITH_FILES = ("mynetworks", "mydestination", "relay_domains", "virtual_alias_domains", "virtual_mailbox_domains")
_PARTED = re.compile(r"[\s,]+")


def check(found: Import, directory: str) -> None:
    """Take out, one by one, what the check of the whole configuration says no to."""
    before, _ = configuration.load(directory)
    if fault := _fault(before, {}):
        raise UsageError(f"main.cf of this system has to be mended first: {fault}")
    for name in _WITH_FILES:
        _read_files(found, name)
    for _ in range(sum(1 + len(value.split()) for value in found.settings.values())):
        fault = _fault(before, found.settings)
        if not fault:
            return
        name = _culprit(fault, before, found.settings)
        words = fault.partition(": ")[2].removeprefix(f"{name}: ")
        if not (_RESTRICTIONS.fullmatch(name) and _without_word(found, name, words)):
            del found.settings[name]
            _say(found, name, REFUSED, words)


def _fault(before: Config, settings: dict[str, str]) -> str:
    """Return what the check says of these settings, "" when nothing."""
    try:
        check_config(
            configuration.from_settings(before.settings | {name: Setting(v, name) for name, v in settings.items()})
        )
    except ConfigError as error:
        return str(error)
    return ""


def _culprit(fault: str, before: Config, settings: dict[str, str]) -> str:
    """Return the setting without which the fault is another or gone: the one it names, or one that others refer to."""
    name = fault.partition(":")[0]
    if name in settings:
        return name
    said = set(_PARTED.split(fault.replace(": ", " ")))
    for name in sorted(settings, key=lambda name: said.isdisjoint(_PARTED.split(settings[name]))):
        if _fault(before, {other: value for other, value in settings.items() if other != name}) != fault:
            return name
    raise UsageError(f"main.cf cannot be taken over: {fault}")


def _without_word(found: Import, name: str, why: str) -> bool:
    """Leave one word out of restrictions, with the table that it asks; False when the fault is another one."""
    words = [word for word in _PARTED.split(found.settings[name]) if word]
    wrong = next((i for i, word in enumerate(words) if why.startswith(f"{word}: ")), None)
    if wrong is None or (name == "smtpd_relay_restrictions" and not words[wrong].startswith("permit")):
        return False  # what keeps strangers from relaying is not to be guessed: the default does
    first = wrong - 1 if wrong and re.fullmatch(r"check_\w+", words[wrong - 1]) else wrong
    found.settings[name] = " ".join(words[:first] + words[wrong + 1 :])
    _say(found, name, CHANGED, f"without {' '.join(words[first : wrong + 1])}: {why.partition(': ')[2]}")
    return True


def _read_files(found: Import, name: str) -> None:
    """Put in the place of a file's name what is in it."""
    words = [word for word in _PARTED.split(found.settings.get(name, "")) if word]
    read = []
    for word in words:
        try:
            read += _entries(name, word)
        except OSError as error:
            del found.settings[name]
            return _say(found, name, REFUSED, f"{word}: {error.strerror}")
    if read != words:
        found.settings[name] = ", ".join(read)
        _say(found, name, CHANGED, f"what the file says is in main.cf now: {found.settings[name]}")
    return None


def _entries(name: str, word: str) -> list[str]:
    """Return what a word of a list stands for: the entries of a file, in mydestination also the keys of a table."""
    kind, _, path = word.removeprefix("proxy:").partition(":")
    if name == "mydestination" and kind in TEXT_TYPES:
        return sorted(parse_names(read_text(path)))
    if not word.startswith("/"):
        return [word]
    lines = read_text(word).splitlines()
    return [entry for line in lines for entry in _PARTED.split(line.partition("#")[0]) if entry]


def _say(found: Import, name: str, verdict: str, words: str) -> None:
    """Tell in the row of a setting what becomes of it; what was told of it before stays, but in a refusal."""
    for row in found.rows:
        if row.name == name:
            row.words = f"{row.words}; {words}" if _is_told(row) and verdict == CHANGED else words
            row.verdict = verdict


def _is_told(row: Row) -> bool:
    return row.verdict not in (HONOURED, REFUSED)
