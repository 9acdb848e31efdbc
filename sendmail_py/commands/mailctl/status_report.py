"""What mailctl status tells: the services, the queue, certificates, logins, and the last warnings and errors.

Exit status 69 when the services do not run; what can be known without them is shown then, too.
"""

import time
from typing import Any

from ...core.config import Config
from ...core.exitcodes import EX_OK
from ...formats.listing import clean_json
from ...host.configuration import load
from ...services.smtpd_certificates import own_certificate, tls_files, wants_tls
from ..ask import NotRunning, Rejected, ask_one
from ..queue_view import counts
from ..terminal import BAD, GOOD, ODD, painted, width, wrapped
from . import oauth_state
from .log_source import last_troubles
from .parser import Parser

_PATIENCE = 3.0  # with a queue manager that is down, or stuck, which is what one looks for here
_TROUBLES = 5
_SOON = 14 * 86400


def main(arguments: list[str], directory: str) -> int:
    """Run the verb."""
    parser = Parser("status", "Show the services, the queue, certificates, logins and the last errors.")
    parser.add_argument("-j", "--json", action="store_true", help="as JSON")
    options = parser.parse_args(arguments)
    config, _ = load(directory)
    found, fault = gather(config)
    if options.json:
        print(clean_json(found))
    else:
        print("\n".join(_text(found)))
    if fault:
        raise fault
    return EX_OK


# --- what there is to know ---------------------------------------------------------------------


def gather(config: Config) -> tuple[dict[str, Any], NotRunning | None]:
    """Return everything that is shown, and the error when the services do not run."""
    fault = None
    try:
        answer = ask_one(config, "control", {"verb": "status"})
    except NotRunning as error:
        answer, fault = {}, error
    found: dict[str, Any] = {"running": not fault, "instance": config.config_directory}
    found |= {name: answer.get(name) for name in ("pid", "started_at")}
    found |= {name: answer.get(name, []) for name in ("services", "throttled")}
    found["refused_reload"] = answer.get("refused_reload", "")
    try:
        found["queue"] = counts(config, _PATIENCE)
    except NotRunning:
        found["queue"] = None  # it is not for this user to see now
    except Rejected as error:
        found["queue"], found["queue_fault"] = None, str(error)
    found["certificates"] = certificates(config)
    found["logins"] = oauth_state.rows(config)
    found["troubles"] = last_troubles(config, _TROUBLES)
    return found, fault


def certificates(config: Config) -> list[dict[str, Any]]:
    """Return the certificates of the SMTP server: where each lies, when it ends, whether it is of its own making."""
    from ...services.smtpd_kinds import PORTS

    open_kinds = [kind for kind, port in PORTS.items() if getattr(config, port)]
    if not open_kinds or not wants_tls(config, open_kinds):
        return []
    if files := tls_files(config):
        found = [{"path": path, "own": False} | _end_of(path) for path in files]
        return [row for row in found if row["ends"] or row["fault"]]  # a file may hold a key alone
    return [{"path": own_certificate(config), "own": True, "ends": None, "fault": ""}]


def _end_of(path: str) -> dict[str, Any]:
    from ...host.certs import ends

    try:
        with open(path, "rb") as file:
            found = ends(file.read())
    except (OSError, ValueError, ImportError) as error:
        return {"ends": None, "fault": getattr(error, "strerror", "") or str(error)}
    return {"ends": min(found, default=None), "fault": ""}


# --- as text -----------------------------------------------------------------------------------


def _text(found: dict[str, Any]) -> list[str]:
    lines = [_head(found)]
    lines += [_service_line(service) for service in found["services"]]
    lines += [
        f"  {row['name']:<7} {painted('throttled', BAD)}: it ended too soon; started again in {row['seconds']:.0f} s"
        for row in found["throttled"]
    ]
    if found["refused_reload"]:
        refused = painted("the last reload was refused", BAD)
        lines.append(f"{refused}, the old configuration serves on: {found['refused_reload']}")
    if found["queue"] is not None:
        queues = ", ".join(f"{number} {name}" for name, number in sorted(found["queue"].items()))
        lines.append(f"queue: {queues or 'empty'}")
    if "queue_fault" in found:
        lines.append(f"queue: {painted('cannot be counted', BAD)}: {found['queue_fault']}")
    lines += [_certificate_line(row, time.time()) for row in found["certificates"]]
    lines += [_login_line(row) for row in found["logins"]]
    if found["troubles"]:
        lines.append("last warnings and errors:")
        lines += [_shortened(f"  {row['time']} {row['service']}: {row['text']}") for row in found["troubles"]]
    return [wrapped(line, 4) for line in lines]


def _head(found: dict[str, Any]) -> str:
    if not found["running"]:
        return painted("not running", BAD)
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(found["started_at"]))
    return f"{painted('running', GOOD)}, pid {found['pid']}, since {since} ({_span(time.time() - found['started_at'])})"


def _service_line(service: dict[str, Any]) -> str:
    state = painted("ready", GOOD) if service["ready"] else painted("starting", ODD)
    return f"  {service['name']:<7} pid {service['pid']:<7} {state}, up {_span(service['uptime'])}"


def _certificate_line(row: dict[str, Any], now: float) -> str:
    if row["own"]:
        return f"smtpd: TLS with a certificate of its own, {row['path']}, which no client can verify"
    if row["fault"]:
        return f"certificate {row['path']}: {painted(row['fault'], BAD)}"
    day, left = time.strftime("%Y-%m-%d", time.localtime(row["ends"])), row["ends"] - now
    if left < 0:
        return f"certificate {row['path']}: {painted(f'ended on {day}', BAD)}"
    said = f"ends on {day}, in {_span(left)}"
    return f"certificate {row['path']}: {painted(said, ODD) if left < _SOON else said}"


def _login_line(row: dict[str, Any]) -> str:
    state = row["state"] if row["good"] else painted(row["state"], BAD)
    return f"login of {row['address']} ({row['provider']}): {state}"


def _span(seconds: float) -> str:
    """Return a span of time in its two largest units, as people say it."""
    whole = max(0, int(seconds))
    for size, unit, small_size, small in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // small_size} {small}"
    return f"{whole} s"


def _shortened(line: str) -> str:
    """Cut a line at the width of the terminal; what a pipe gets is whole."""
    return line if len(line) <= width() else line[: width() - 3] + "..."
