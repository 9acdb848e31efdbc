"""The sample main.cf: every parameter with its text and default, all of it commented out.

Guarantees: as it stands it sets nothing, and each line `#name = value` without its # sets the
default. It is made from the table of parameters, so it cannot fall behind.
"""

import textwrap

from ..core.params import PARAMS, Param

_HEAD = """\
# main.cf: the configuration of sendmail-py.
#
# Every line below shows a default; remove the # to change it, or say
# `mailctl config -e name=value`. A line that begins with white space continues
# the one before. $name stands for the value of another parameter. Times take
# the suffixes s, m, h, d and w. `mailctl config -n` shows what is set here.
"""
_NOT_HERE = frozenset({"config_directory"})  # where this file lies, so never set in it


def sample_main_cf() -> str:
    """Return the text of the sample."""
    parts = [_HEAD]
    section = ""
    for param in PARAMS:
        if param.name in _NOT_HERE:
            continue
        if param.section != section:
            section = param.section
            parts.append(f"# {'=' * 8} {section}\n")
        parts.append(_entry(param))
    return "\n".join(parts)


def _entry(param: Param) -> str:
    doc = textwrap.fill(param.doc, 79, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)
    kind = "" if param.type in ("str", "raw", "list") else f"# ({param.type.replace('|', ' | ')})\n"
    return f"{doc}\n{kind}#{param.name} = {param.default}".rstrip() + "\n"
