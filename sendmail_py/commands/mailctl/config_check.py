"""Would main.cf load after a change? Judged before it is written, as a start and a reload judge it.

Guarantees: no change that can be used becomes one that cannot. Where main.cf cannot be used before the change
either, faults may be mended one by one: only what the change itself sets is refused, the rest is said.
"""

import re
from collections.abc import Collection

from ...core.errors import ConfigError, Incomplete, MailError
from ...host import configuration


def refuse_faults(directory: str, before: str, after: str, names: Collection[str], is_step: bool) -> list[str]:
    """Raise ConfigError where the text after a change of these names would not load; returns what to warn of.

    is_step: others will follow, so that what is only missing yet refuses nothing.
    """
    old = {_without_place(fault) for fault in _faults(directory, before)}
    warnings = []
    for fault in _faults(directory, after):
        is_old = _without_place(fault) in old
        is_missing_yet = is_step and isinstance(fault, Incomplete)
        if is_old or is_missing_yet or (old and not _is_about(fault, names)):
            warnings.append(f"warning: main.cf cannot be used yet: {_without_place(fault)}")
        else:
            raise ConfigError(_without_place(fault))
    return warnings


def _faults(directory: str, text: str) -> list[MailError]:
    from ...services.whole_config import faults  # it costs more than showing all parameters

    return faults(configuration.from_text(directory, text)[0])


def _without_place(fault: MailError) -> str:
    """Return a fault without the line that it is in: a change moves lines, and is not in the file yet."""
    return re.sub(r"^(?:\S*main\.cf:\d+|default): ", "", str(fault))


def _is_about(fault: MailError, names: Collection[str]) -> bool:
    return not set(re.findall(r"\w+", _without_place(fault))).isdisjoint(names)
