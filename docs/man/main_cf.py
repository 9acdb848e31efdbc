#!/usr/bin/python3
"""Print main.cf(5), made from the table of parameters; run by `make install`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sendmail_py.core.params import PARAMS, Param

_HEAD = """\
.Dd November 23, 2026
.Dt MAIN.CF 5
.Os sendmail-py
.Sh NAME
.Nm main.cf
.Nd configuration of sendmail-py
.Sh DESCRIPTION
.Nm
holds parameters,
.Pp
.D1 Ar name No = Ar value
.Pp
one on a line.
A line that begins with white space continues the one before, and one that
begins with
.Ql #
is a comment.
.Li $name
and
.Li ${name}
stand for the value of another parameter,
.Li ${name?text}
for the text if that is not empty,
.Li ${name:text}
if it is,
.Li ${name?{text}:{text}}
for the one or the other, and
.Li $$
for a dollar sign.
Of several settings of a parameter the last counts.
.Pp
The file is
.Pa /etc/sendmail-py/main.cf ,
or lies in the directory that
.Ev MAIL_CONFIG ,
.Nm sendmail Fl C
or
.Nm mailctl Fl c
names.
.Xr mailctl 8
shows what is set, and changes it; after a change say
.Nm mailctl Cm reload .
.Pp
The names are Postfix's where the meaning is the same.
A Postfix parameter that is not in this list is ignored, with a warning by name.
.Pp
A time has one of the suffixes s, m, h, d and w; without, it has that of its default, as in Postfix.
A list is parted by commas or blanks.
"""
_TAIL = """\
.Sh SEE ALSO
.Xr aliases 5 ,
.Xr mailctl 8 ,
.Xr sendmail 8
"""
_TYPES = {"str": "", "raw": "", "list": "list", "int": "number", "bool": "yes | no", "time": "time"}


def page() -> str:
    """Return the whole page."""
    parts = [_HEAD]
    section = ""
    for param in PARAMS:
        if param.section != section:
            parts.append(".El\n" * bool(section) + f".Ss {param.section.capitalize()}\n.Bl -tag -width Ds\n")
            section = param.section
        parts.append(_entry(param))
    return "".join([*parts, ".El\n", _TAIL])


def _entry(param: Param) -> str:
    kind = _TYPES.get(param.type, param.type.replace("|", " | "))
    shown = f"default: {_text(param.default)}" if param.default else "default: none"
    if "default:" in param.doc.lower() and not param.default:
        shown = ""
    about = ", ".join(part for part in (_text(kind), shown) if part)
    return f".It Cm {_text(param.name)}" + (f" Pq {about}" if about else "") + f"\n{_lines(param.doc)}"


def _lines(text: str) -> str:
    """Return text for the body: a line for each sentence, as the format wants it."""
    return "".join(f"{_text(sentence)}\n" for sentence in text.replace(". ", ".\n").split("\n"))


def _text(text: str) -> str:
    """Return text without what the format would take for its own."""
    text = text.replace("\\", "\\e")
    return "\\&" + text if text[:1] in (".", "'") else text


if __name__ == "__main__":
    print(page(), end="")
