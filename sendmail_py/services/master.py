"""master: takes the run directory, and has the services run, reload and stop together; spawning.py starts each.

It parses no mail and opens nothing below the queue. SIGTERM (or `mailctl stop`) lets deliveries
in progress finish, bounded by stop_timeout; SIGHUP (or `mailctl reload`) reads main.cf again,
and a bad one leaves the old configuration in force.
"""

import contextlib
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable
from typing import Any

from .. import __version__
from ..core.config import Config
from ..core.errors import MailError
from ..host.configuration import load
from ..host.service_manager import ServiceManager
from ..host.syslog import Log, follow
from .children import Child
from .control import Control
from .crew import Crew
from .listening import SMTPD
from .metrics_line import METRICS
from .once import Idleness
from .run_directory import clear_run_directory, open_log_file, take_run_directory
from .service import encode_settings
from .smtp_checks import password_complaints, unused_logins
from .spawning import ALWAYS, Spawner
from .whole_config import check_config, until_restart

WARNING = "warning: "
_GRACE = 5.0
_IDLE_CHECK = 0.1
_KILLED = 0.2  # seconds for the killed to be reaped


class Master:
    """The state of the process. notify(text) tells the starter: "" for ready, else what failed.

    What goes wrong without stopping the start is told before, after WARNING.
    """

    def __init__(
        self, config: Config, notify: Callable[[str], None], manager: ServiceManager, leaves: bool = False
    ) -> None:
        self.config = config
        self.leaves = leaves
        self.idleness = Idleness()
        self.notify = notify
        self.manager = manager
        self.started_at = time.time()
        self.log_file = open_log_file(config)
        self.log = Log.of(config, "master", self.log_file)
        self.selector = selectors.DefaultSelector()
        self.crew = Crew(self.selector, config, self.log, self.heard, self.ended)
        self.spawner = Spawner(self.selector, self.crew)
        self.has_begun = False
        self.signals: list[int] = []
        self.stop_by: float | None = None
        self.refusal = ""

    def prepare(self) -> None:
        """Take the run directory: lock, pid file, sockets; raises SpoolError, OSError."""
        take_run_directory(self.config, self.leaves)
        run = self.config.run_directory
        self.spawner.bind(run)
        self.control = Control(f"{run}/control", self.selector, self.status, self.stop, self.reload)
        listeners = [] if self.leaves else self.spawner.listen(self.config)
        for complaint in (*listeners, *unused_logins(self.config), *password_complaints(self.config)):
            self.log.warning(complaint)
            self.notify(WARNING + complaint)
        self._configure(self.config, self.log_file)
        self.spawner.listening.watch()

    def _configure(self, config: Config, log_file: int) -> None:
        self.config = config
        self.log_file = log_file
        self.log = Log.of(config, "master", log_file)
        if counts := self.spawner.metrics.of_service("master"):
            self.log.count_to(counts["counts"])
        self.spawner.configure(config, self.log, log_file)

    # --- what the services do -----------------------------------------------------------------

    def heard(self, child: Child, record: dict[str, Any]) -> None:
        """Take a record of a service."""
        if "idle" in record:
            self.idleness.note(bool(record["idle"]))
        elif "more" in record:
            self.spawner.want_more()
        elif "want" in record:
            self.spawner.want_agent(str(record["want"]))
        elif "ready" in record:
            child.is_ready = True
            if self.crew.are_ready(ALWAYS):
                self._begun()
        elif "failed" in record:
            self.notify(str(record["failed"]))

    def _begun(self) -> None:
        """Tell that the services are at work, perhaps again: whoever started this one waits for it."""
        if not self.has_begun:
            self.idleness.begin()
            self.manager.ready(self.summary())
        self.has_begun = True
        self.notify("")

    def ended(self, child: Child, code: int) -> None:
        """Take note of a service that has ended."""
        expected = code == 0 and (child.is_leaving or child.name not in ALWAYS)
        if not expected and self.stop_by is None:
            how = f"was killed by signal {-code}" if code < 0 else f"ended with status {code}"
            self.log.warning(f"service {child.name} (pid {child.pid}) {how}")
            if not self.has_begun:
                self.notify(f"service {child.name} {how}; see the log")
                self.stop()
        if not expected and child.name in (SMTPD, "pickup") and (qmgr := self.crew.running("qmgr")):
            qmgr.tell({"do": "look"})  # for mail that it accepted and told nobody of
        self.spawner.ended(child, expected)

    # --- reload and stop --------------------------------------------------------------------

    def reload(self) -> str:
        """Read main.cf again and tell the services; returns what was wrong, or ""."""
        if self.stop_by is not None:  # listening again would keep clients waiting at a port that nobody serves
            return "the services are stopping"
        if not self.has_begun:
            return self._reload()
        self.manager.reloading()
        fault = self._reload()
        self.refusal = f"; the last reload was refused: {fault}" if fault else ""
        self.manager.ready(self.summary())
        return fault

    def _reload(self) -> str:
        try:
            config, unread = load(self.config.config_directory)
            check_config(config, unread)
            config, notes = until_restart(config, self.config)
            log_file = open_log_file(config)
        except (MailError, OSError) as error:
            self._follow_log()
            self.log.error(f"reload refused, the old configuration stays: {error}")
            return str(error)
        for name in notes:
            self.log.warning(f"{name} has changed: that needs a restart")
        self._take(config, log_file)
        self.log.info(f"reload -- {_version(config)}")
        return ""

    def _follow_log(self) -> None:
        """Open the log anew where it was renamed: who has rotated it may compress what would still be written to."""
        with contextlib.suppress(MailError, OSError):
            log_file = open_log_file(self.config)
            if log_file > 2 and not os.path.sameopenfile(log_file, self.log_file):
                self._take(self.config, log_file)
            elif log_file > 2:
                os.close(log_file)

    def _take(self, config: Config, log_file: int) -> None:
        """Go by a configuration, and have the services do so."""
        old_log = self.log_file
        self._configure(config, log_file)
        record = {"do": "reload", "settings": encode_settings(config)}
        for child in self.crew:
            child.is_leaving = child.name not in ("qmgr", "local", "virtual", METRICS)
            child.tell(record, [log_file] if log_file >= 0 else ())
        follow(old_log, log_file)
        if old_log > 2:
            os.close(old_log)
        for complaint in (*self.spawner.listening.bind(config), *unused_logins(config), *password_complaints(config)):
            self.log.warning(complaint)
        self.spawner.listening.watch()  # an old smtpd serves its clients to the end, and takes no new ones

    def stop(self) -> None:
        """Begin to stop: smtpd, pickup and qmgr first; agents leave when qmgr does."""
        if self.stop_by is None:
            self.log.info("stopping")
            self.manager.stopping("stopping: deliveries in progress may finish")
            self.stop_by = time.monotonic() + self.config.stop_timeout + _GRACE
            self.spawner.listening.close()
            self.crew.tell((*ALWAYS, SMTPD, METRICS), "stop")

    def status(self) -> dict[str, Any]:
        """Return what `mailctl status` shows."""
        return {
            "pid": os.getpid(),
            "started_at": self.started_at,
            "idle": self.has_begun and self.idleness.is_idle(),
            "refused_reload": self.refusal.partition(": ")[2],
            **self.crew.rows(),
        }

    def summary(self) -> str:
        """Return the line that the service manager shows."""
        return f"{self.crew.summary(ALWAYS)}{self.refusal}"

    # --- the loop -----------------------------------------------------------------------------

    def serve(self) -> None:
        """Run until everything has stopped."""
        while self.stop_by is None or self.crew:
            pause = self._turn() if self.stop_by is None else self._time_to_stop(self.stop_by)
            self.crew.watch()
            for key, _ in self.selector.select(min(pause, self.manager.alive())):
                key.data()
            self.crew.reap()
            self.obey_signals()

    def _turn(self) -> float:
        """Start what is due; returns the seconds until something else may be."""
        pause = self.spawner.keep_running()
        if self.leaves:
            pause = min(pause, _IDLE_CHECK)
            if self.has_begun and self.idleness.is_over():
                self.stop()
        elif self.has_begun:
            self.manager.status(self.summary())
        return pause

    def _time_to_stop(self, stop_by: float) -> float:
        """Return the seconds that the services have yet; ends them when there are none."""
        left = stop_by - time.monotonic()
        if left > 0:
            return left
        self.crew.kill()
        return _KILLED

    def obey_signals(self) -> None:
        """Do what signals have asked for since the last turn."""
        while self.signals:
            if self.signals.pop(0) == signal.SIGHUP:
                self.reload()
            else:
                self.stop()

    def leave(self) -> None:
        """Remove the pid file and the sockets; what says that this master leaves has to outlast its lock."""
        clear_run_directory(self.config)
        self.log.info("stopped")
        self.spawner.metrics.close()
        self.control.close()


def _version(config: Config) -> str:
    """Return what runs, in the words of Postfix's master."""
    return f"version {__version__}, configuration {config.config_directory}"


def run(
    config: Config, notify: Callable[[str], None], manager: ServiceManager | None = None, leaves: bool = False
) -> None:
    """Be the master until told to stop, or (leaves) until nothing is left to do; raises MailError, OSError at first."""
    master = Master(config, notify, manager or ServiceManager(), leaves)
    master.prepare()
    reader, writer = socket.socketpair()
    for end in (reader, writer):
        end.setblocking(False)
    signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda n, frame: master.signals.append(n))
    master.selector.register(reader, selectors.EVENT_READ, lambda: reader.recv(512))
    master.log.info(f"daemon started -- {_version(config)}")
    master.serve()
    master.leave()
