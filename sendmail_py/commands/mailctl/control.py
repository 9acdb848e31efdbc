"""mailctl stop, reload and status: what master answers on its control socket."""

import time
from typing import Any

from ...core.config import Config
from ...core.errors import ConfigError, UsageError
from ...core.exitcodes import EX_OK
from ...host.configuration import load
from ..ask import Denied, Rejected, ask_one
from ..queue_view import counts


def main(arguments: list[str], directory: str) -> int:
    """Run one of the three verbs."""
    verb, *rest = arguments
    if rest:
        raise UsageError(f"{verb} takes no arguments")
    config, _ = load(directory)
    return {"stop": stop, "reload": reload, "status": status}[verb](config)


def stop(config: Config) -> int:
    """Stop the services and wait until they have stopped."""
    ask_one(config, "control", {"verb": "stop"}, timeout=config.stop_timeout + 30)
    return EX_OK


def reload(config: Config) -> int:
    """Have main.cf read again; a bad one is reported and changes nothing."""
    try:
        ask_one(config, "control", {"verb": "reload"})
    except Denied:
        raise
    except Rejected as error:
        raise ConfigError(str(error)) from error
    return EX_OK


def status(config: Config) -> int:
    """Print the services and the number of queued messages."""
    answer = ask_one(config, "control", {"verb": "status"})
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(answer["started_at"]))
    print(f"running, pid {answer['pid']}, since {since}")
    for service in answer["services"]:
        print(_service_line(service))
    queues = counts(config)
    print("queue: " + (", ".join(f"{number} {name}" for name, number in sorted(queues.items())) or "empty"))
    return EX_OK


def _service_line(service: dict[str, Any]) -> str:
    state = "ready" if service["ready"] else "starting"
    return f"  {service['name']:<7} pid {service['pid']:<7} {state}, up {service['uptime']:.0f} s"
