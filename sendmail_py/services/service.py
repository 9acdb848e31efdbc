"""What every service has in common: how master starts it, what it is told, how it ends.

Master starts `services/__main__.py NAME FD` with one end of a socket pair as FD, and sends one
record: the configuration that master validated, the user to become, and named descriptors
(the log file, listening sockets, the channel to qmgr). The service drops its rights before
it imports its own code, and ends when the socket is closed, so none outlives its master.
"""

import contextlib
import importlib
import os
import signal
import socket
from typing import Any

from ..core.config import Config, Setting
from ..core.errors import MailError
from ..host.configuration import from_settings
from ..host.descriptors import allow_descriptors
from ..host.privileges import drop_to, stay_one_user
from ..host.sockets import receive_record, send_record
from ..host.syslog import Log
from ..spool import atomic


class Service:
    """One running service: its configuration, log, inherited descriptors and line to master."""

    def __init__(
        self, name: str, lifeline: socket.socket, config: Config, log: Log, descriptors: dict[str, int]
    ) -> None:
        self.name = name
        self.lifeline = lifeline
        self.config = config
        self.log = log
        self.descriptors = descriptors

    def socket(self, name: str) -> socket.socket:
        """Return an inherited socket by its name."""
        end = socket.socket(fileno=self.descriptors[name])
        end.setblocking(False)
        return end

    def tell(self, record: dict[str, Any]) -> None:
        """Send a record to master."""
        send_record(self.lifeline, record)

    def ready(self) -> None:
        """Tell master that this service does its work from now on; one that is gone is heard of at its line."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.tell({"ready": True})

    def told(self) -> tuple[dict[str, Any], list[int]]:
        """Return the next record of master; {"do": "stop"} when master is gone."""
        received = receive_record(self.lifeline)
        return received if received is not None else ({"do": "stop"}, [])

    def reconfigure(self, record: dict[str, Any], descriptors: list[int]) -> None:
        """Take the configuration of a reload, and the log file that it names."""
        if descriptors:
            self.log.move_to(descriptors[0])
        self.config = decode_settings(record["settings"])
        self.log.write_as(self.config.log_format)

    def order(self) -> str:
        """Return what master wants; "stop" also when it cannot be heard.

        With a reload the log goes to the file that it brings, in its format: who leaves then has more to say.
        """
        try:
            record, descriptors = self.told()
        except (OSError, ValueError):
            return "stop"
        if record.get("do") == "reload":
            self.log.write_as(decode_settings(record["settings"]).log_format)
            if descriptors:
                self.log.move_to(descriptors.pop(0))
        for descriptor in descriptors:
            os.close(descriptor)
        return str(record.get("do"))


def encode_settings(config: Config) -> dict[str, list[str]]:
    """Return the settings of a configuration as a record can carry them."""
    return {name: [setting.text, setting.origin] for name, setting in config.settings.items()}


def decode_settings(rows: dict[str, list[str]]) -> Config:
    """Return the configuration that encode_settings() described."""
    return from_settings({name: Setting(text, origin) for name, (text, origin) in rows.items()})


def main(name: str, descriptor: int) -> None:
    """Run one service, from master's first record to its end."""
    os.umask(0o077)
    allow_descriptors()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # master hears these and speaks for all
    lifeline = socket.socket(fileno=descriptor)
    lifeline.set_inheritable(False)
    received = receive_record(lifeline)
    if received is None:
        return
    record, numbers = received
    config = decode_settings(record["settings"])
    descriptors = dict(zip(record["descriptors"], numbers, strict=True))
    log = Log.of(config, name, descriptors.get("log", -1))
    if "counts" in descriptors:
        atomic.sync_times = log.count_to(descriptors["counts"])
    if record["user"]:
        drop_to(record["user"])
    if record.get("one_user"):
        stay_one_user()
    service = Service(name, lifeline, config, log, descriptors)
    try:
        importlib.import_module(f"sendmail_py.services.{name}").run(service)
    except MailError as error:
        log.error(str(error))
        service.tell({"failed": str(error)})
    except Exception as error:
        log.error(f"{name} ends: {type(error).__name__}: {error} ({_where(error)})")
        raise


def _where(error: BaseException) -> str:
    """Return file and line of an error, which the log needs and a traceback has not one line for."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}" if trace else ""
