"""mailctl import postfix | msmtp | ssmtp: main.cf from what another mail system was set up with.

Says of every line what becomes of it. Guarantees: what is written has passed the check that a start makes,
so a setting that cannot work is refused here by name; --dry-run writes nothing; no password is shown.
"""

import json
import sys

from ...core.errors import MailError
from ...core.exitcodes import EX_NOINPUT, EX_OK
from ...formats.foreign_clients import from_msmtp, from_ssmtp
from ...formats.foreign_config import CHANGED, HONOURED, IGNORED, REFUSED, VERDICTS, Import, Row
from ...formats.foreign_postfix import from_postfix
from ...host import configuration
from ...host.configuration_file import read_text
from ..terminal import BAD, GOOD, ODD, painted, wrapped
from . import import_check
from .config import change
from .parser import Parser

_KINDS = {
    "postfix": (from_postfix, "/etc/postfix/main.cf"),
    "msmtp": (from_msmtp, "/etc/msmtprc"),
    "ssmtp": (from_ssmtp, "/etc/ssmtp/ssmtp.conf"),
}


_COLOURS = {HONOURED: GOOD, CHANGED: ODD, IGNORED: ODD, REFUSED: BAD}


class _NoFile(MailError):
    """There is nothing to read."""

    exit_code = EX_NOINPUT


def main(arguments: list[str], directory: str) -> int:
    """Run the verb."""
    parser = Parser("import", "Take over the configuration of another mail system, and say what becomes of each line.")
    parser.add_argument("kind", choices=_KINDS)
    parser.add_argument("path", nargs="?", default="", help="the file (default: where that system keeps it)")
    parser.add_argument("-j", "--json", action="store_true", help="say it as JSON")
    parser.add_argument("-n", "--dry-run", action="store_true", help="say everything, and write nothing")
    options = parser.parse_args(arguments)
    read, place = _KINDS[options.kind]
    path = options.path or place
    try:
        found = read(read_text(path))
    except OSError as error:
        raise _NoFile(f"{path}: {error.strerror}") from error
    import_check.check(found, directory)
    if options.json:
        print(json.dumps(_described(found), indent=1))
    else:
        _print(found)
    if options.kind == "postfix" and not options.path and not options.json:
        print("master.cf is not read: submission ports and others are parameters here, see `mailctl config explain`")
    if options.dry_run:
        return EX_OK
    code = _write(found, directory)
    told = sys.stderr if options.json else sys.stdout
    if found.root:
        print(
            f"put `root: {found.root}` into the alias file, or run `mailctl setup --root-alias {found.root}`", file=told
        )
    print(f"written to {directory}/main.cf; `mailctl check` and `mailctl send-test` say if it works", file=told)
    return code


# --- telling and writing ---------------------------------------------------------------------


def _print(found: Import) -> None:
    for row in found.rows:
        verdict = wrapped(f"    {row.verdict}{_why(row)}", 8)
        print(wrapped(f"line {row.number}: {row.text}", 4))
        print(verdict.replace(row.verdict, painted(row.verdict, _COLOURS[row.verdict]), 1))
    counts = ", ".join(f"{number} {verdict}" for verdict, number in _counts(found).items() if number)
    print(f"\n{len(found.rows)} line{'' if len(found.rows) == 1 else 's'}: {counts}")
    print(f"\n{len(found.settings)} settings:")
    for name, value in found.settings.items():
        print(f"{name} = {value}".rstrip())
    if found.login:
        print(f"a login at {found.settings.get('relayhost', 'the relayhost')} for {found.login.partition(':')[0]}")
    sys.stdout.flush()


def _counts(found: Import) -> dict[str, int]:
    return {verdict: sum(row.verdict == verdict for row in found.rows) for verdict in VERDICTS}


def _described(found: Import) -> dict[str, object]:
    """Return everything that is said, without the password."""
    lines = [{"line": r.number, "text": r.text, "verdict": r.verdict, "words": r.words} for r in found.rows]
    login = found.login.partition(":")[0]
    return {"lines": lines, "counts": _counts(found), "settings": found.settings, "login": login, "root": found.root}


def _why(row: Row) -> str:
    return "" if row.verdict == HONOURED and row.name else f": {row.words}"


def _write(found: Import, directory: str) -> int:
    code = change(directory, dict(found.settings))
    if found.login:
        from .oauth_configure import configure

        config, _ = configuration.load(directory)
        level = found.settings.get("smtp_tls_security_level", "")
        code = code or configure(config, found.settings["relayhost"], found.login, level)
    return code
