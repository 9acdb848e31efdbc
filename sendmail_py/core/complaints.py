"""What is odd about the names in main.cf: unknown ones, and Postfix's that we do not have.

Guarantee: no setting without effect stays unmentioned, save one that another value uses as
$name. Not light: services and mailctl ask, sendmail(1) does not.
"""

import difflib
import re

from .config import Setting
from .params import BY_NAME
from .postfix_names import is_postfix

_USED = re.compile(r"\$[({]?([A-Za-z0-9_]+)")


def complaints(settings: dict[str, Setting]) -> list[str]:
    """Return one line for each setting that is no parameter of ours and that no other value uses."""
    used = {name for own, setting in settings.items() for name in _USED.findall(setting.text) if name != own}
    return [
        f"{setting.origin}: warning: {unknown(name)}"
        for name, setting in settings.items()
        if name not in BY_NAME and name not in used
    ]


def unknown(name: str) -> str:
    """Say what a name that is no parameter of ours may be: Postfix's, or a slip of the pen."""
    if is_postfix(name):
        return f"{name} is a Postfix parameter that sendmail-py does not have; it is ignored"
    near = difflib.get_close_matches(name, BY_NAME, 1)
    return f"unknown parameter {name}" + (f" (did you mean {near[0]}?)" if near else "")
