"""Asking the services: one request over a socket in the run directory, answers as records."""

from collections.abc import Iterator
from typing import Any

from ..core.config import Config
from ..core.errors import MailError
from ..core.exitcodes import EX_NOPERM, EX_UNAVAILABLE
from ..host.sockets import connect, receive_record, send_record

TIMEOUT = 60.0
_WITH_END = "public"  # an answer of qmgr has an end, so that half a listing is never taken for a queue


class NotRunning(MailError):
    """The services do not answer."""

    exit_code = EX_UNAVAILABLE


class Rejected(MailError):
    """The services do not do this, or not so."""


class Denied(Rejected):
    """They do not do it for this user."""

    exit_code = EX_NOPERM


class Unlisted(Rejected):
    """They do not do it for this user, by a list in main.cf: Postfix's exit code."""

    exit_code = EX_UNAVAILABLE


def ask(
    config: Config, socket_name: str, request: dict[str, Any], timeout: float = TIMEOUT
) -> Iterator[dict[str, Any]]:
    """Send a request to `public` or `control` and yield the records of the answer.

    Raises NotRunning, Denied or Unlisted for a user who may not or cannot, and Rejected for what is refused.
    """
    path = f"{config.run_directory}/{socket_name}"
    try:
        end = connect(path, timeout)
    except PermissionError as error:  # they may run all the same
        raise Unlisted(f"this user cannot ask the services ({path}: {error.strerror})") from error
    except OSError as error:
        raise NotRunning(f"the services are not running ({path}: {error.strerror or error})") from error
    with end:
        try:
            send_record(end, request)
            while (received := receive_record(end)) is not None:
                record = received[0]
                if "error" in record:
                    kind = Denied if record.get("denied") else Unlisted if record.get("unlisted") else Rejected
                    raise kind(str(record["error"]))
                if "end" in record:
                    return
                yield record
            if socket_name == _WITH_END:
                raise Rejected("the services have broken off their answer; their log says why")
        except (OSError, ValueError) as error:
            raise NotRunning(f"the services stopped answering ({error})") from error


def ask_one(config: Config, socket_name: str, request: dict[str, Any], timeout: float = TIMEOUT) -> dict[str, Any]:
    """The same for an answer of one record."""
    answer: dict[str, Any] = {}
    for record in ask(config, socket_name, request, timeout):
        answer.update(record)
    return answer
