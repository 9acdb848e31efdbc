"""master: binds the sockets, starts the services, and keeps them running.

It parses no mail and opens nothing below the queue. SIGTERM (or `mailctl stop`) lets deliveries
in progress finish, bounded by stop_timeout; SIGHUP (or `mailctl reload`) reads main.cf again,
and a bad one leaves the old configuration in force.
"""

import os
import selectors
import signal
import socket
import time
from collections.abc import Callable
from typing import Any

from .. import __version__
from ..core.config import Config
from ..core.errors import MailError, SpoolError
from ..host.configuration import load
from ..host.service_manager import ServiceManager
from ..host.sockets import listen, pair
from ..host.syslog import Log, follow
from ..spool.lock import take
from .children import Child
from .control import Control
from .crew import Crew
from .listening import SMTPD, Listening
from .metrics_line import METRICS, MetricsLine
from .once import Idleness, announce
from .run_directory import clear_run_directory, make_run_directory, open_log_file
from .service import encode_settings
from .smtp_checks import password_complaints
from .tls_files import client_files, open_files
from .whole_config import check_config

ALWAYS = ("pickup", "qmgr")
WARNING = "warning: "
_NEEDS_RESTART = (
    "queue_directory",
    "run_directory",
    "data_directory",
    "mail_owner",
    "syslog_name",
    "syslog_facility",
    "metrics_listen",
)
_GRACE = 5.0
_IDLE_CHECK = 0.1


class AlreadyRunning(SpoolError):
    """Another master has this instance."""


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
        self.wanted: list[str] = []
        self.has_begun = False
        self.signals: list[int] = []
        self.listening = Listening(self.selector, self.client_waits)
        self.metrics = MetricsLine()
        self.is_client_waiting = False
        self.wants_more = False  # a busy smtpd asks for another beside it
        self.stop_by: float | None = None
        self.refusal = ""

    def prepare(self) -> None:
        """Take the run directory: lock, pid file, sockets; raises SpoolError, OSError."""
        run = self.config.run_directory
        make_run_directory(self.config)
        if not take(f"{run}/master.lock"):
            raise AlreadyRunning(f"already running ({run}/master.lock is held)")
        announce(self.config, self.leaves)
        with open(f"{run}/master.pid", "w", encoding="ascii") as file:
            file.write(f"{os.getpid()}\n")
        self.public = listen(f"{run}/public", 0o666)
        self.submit = listen(f"{run}/submit", 0o666)
        self.control = Control(f"{run}/control", self.selector, self.status, self.stop, self.reload)
        listeners = () if self.leaves else (*self.metrics.bind(self.config), *self.listening.bind(self.config))
        for complaint in (*listeners, *password_complaints(self.config)):
            self.log.warning(complaint)
            self.notify(WARNING + complaint)
        self._open_log(self.config, self.log_file)
        self.listening.watch()

    def _open_log(self, config: Config, log_file: int) -> None:
        self.log_file = log_file
        self.log = Log.of(config, "master", log_file)
        if counts := self.metrics.of_service("master"):
            self.log.count_to(counts["counts"])
        self.crew.configure(config, self.log)

    # --- services ---------------------------------------------------------------------------

    def start_service(self, name: str) -> None:
        """Start one of the services that always run."""
        descriptors = {"qmgr": {"public": self.public.fileno()}, "pickup": {"submit": self.submit.fileno()}}
        self._start(name, descriptors.get(name, {}))

    def start_agent(self, transport: str) -> None:
        """Start an agent and give qmgr the other end of its channel."""
        qmgr = self.crew.running("qmgr")
        if qmgr is None or self.stop_by is not None:
            return
        files = client_files(self.config) if transport == "smtp" else []
        opened = open_files(files, self.log, "mail that may need TLS waits")
        ours, theirs = pair()
        with ours, theirs:
            is_started = self._start(transport, {"agent": theirs.fileno(), **opened})
            for descriptor in opened.values():
                os.close(descriptor)
            if is_started:
                qmgr.tell({"do": "agent", "transport": transport}, [ours.fileno()])
            else:
                qmgr.tell({"do": "no-agent", "transport": transport})

    def client_waits(self) -> None:
        """Note that a client has come while no smtpd runs."""
        self.listening.ignore()
        self.is_client_waiting = True

    def start_smtpd(self, name: str) -> None:
        """Start the SMTP server, which takes the clients from now on."""
        self.is_client_waiting = not self.listening.start(self._start, self.config, self.log)

    def _start(self, name: str, descriptors: dict[str, int]) -> Child | None:
        if self.log_file >= 0:
            descriptors["log"] = self.log_file
        descriptors |= self.metrics.of_service(name)
        return self.crew.start(name, descriptors)

    def heard(self, child: Child, record: dict[str, Any]) -> None:
        """Take a record of a service."""
        if "idle" in record:
            self.idleness.note(bool(record["idle"]))
        elif "more" in record:
            self.wants_more = True
        elif "want" in record:
            self.wanted.append(str(record["want"]))
        elif "ready" in record:
            child.is_ready = True
            if self.crew.are_ready(ALWAYS):
                if not self.has_begun:
                    self.idleness.begin()
                    self.manager.ready(self.summary())
                self.has_begun = True
                self.notify("")
        elif "failed" in record:
            self.notify(str(record["failed"]))

    def ended(self, child: Child, code: int) -> None:
        """Take note of a service that has ended."""
        expected = code == 0 and (child.is_leaving or child.name not in ALWAYS)
        if not expected and self.stop_by is None:
            how = f"was killed by signal {-code}" if code < 0 else f"ended with status {code}"
            self.log.warning(f"service {child.name} (pid {child.pid}) {how}")
            if not self.has_begun:
                self.notify(f"service {child.name} {how}; see the log")
                self.stop()
        if child.name == "qmgr":
            self.wanted.clear()
        if not expected and child.name in (SMTPD, "pickup") and (qmgr := self.crew.running("qmgr")):
            qmgr.tell({"do": "look"})  # for mail that it accepted and told nobody of
        self.listening.ended(child)
        if child.name == SMTPD and self.crew.running(SMTPD) is None and self.stop_by is None:
            self.listening.watch()
        self.crew.throttle.ended(child.name, time.monotonic() - child.started, expected)

    def keep_running(self) -> float:
        """Start what should run and may; returns the seconds until the next start is allowed."""
        if self.stop_by is not None:
            return _GRACE
        pause = 60.0
        if self.crew.running(SMTPD) is not None:
            pause = self.config.smtpd_tls_check_interval or pause
            self._renew_certificates()
        for name in (*ALWAYS, *self.metrics.names):
            if self.crew.running(name) is None:
                pause = min(pause, self.crew.start_when_allowed(name, self.start_service))
        if self.is_client_waiting:
            pause = min(pause, self.crew.start_when_allowed(SMTPD, self.start_smtpd) or pause)
        if self.wants_more and 0 < self.listening.processes() < self.config.smtpd_process_limit:
            self.crew.start_when_allowed(SMTPD, self.start_smtpd)
        self.wants_more = False
        wanted, self.wanted = self.wanted, []
        for name in wanted:
            wait = self.crew.start_when_allowed(name, self.start_agent)
            if wait:
                self.wanted.append(name)
                pause = min(pause, wait)
        return pause

    def _renew_certificates(self) -> None:
        """Let a new smtpd take the next clients when the files of TLS have changed."""
        if not self.listening.has_renewed_certificates(self.config):
            return
        self.log.info("the certificate of the SMTP server has changed: new clients get the new one")
        for child in self.crew:
            if child.name == SMTPD and not child.is_leaving:
                child.is_leaving = True
                child.tell({"do": "reload"})
        self.listening.watch()

    # --- reload and stop --------------------------------------------------------------------

    def reload(self) -> str:
        """Read main.cf again and tell the services; returns what was wrong, or ""."""
        if not self.has_begun:
            return self._reload()
        self.manager.reloading()
        fault = self._reload()
        self.refusal = f"; the last reload was refused: {fault}" if fault else ""
        self.manager.ready(self.summary())
        return fault

    def _reload(self) -> str:
        try:
            config, _ = load(self.config.config_directory)
            check_config(config)
            log_file = open_log_file(config)
        except (MailError, OSError) as error:
            self.log.error(f"reload refused, the old configuration stays: {error}")
            return str(error)
        notes = [n for n in _NEEDS_RESTART if getattr(config, n) != getattr(self.config, n)]
        for name in notes:
            self.log.warning(f"{name} has changed: that needs a restart")
        self.config, old_log = config, self.log_file
        self._open_log(config, log_file)
        record = {"do": "reload", "settings": encode_settings(config)}
        for child in self.crew:
            child.is_leaving = child.name not in ("qmgr", "local", "virtual", METRICS)
            child.tell(record, [log_file] if log_file >= 0 else ())
        follow(old_log, log_file)
        if old_log > 2:
            os.close(old_log)
        for complaint in (*self.listening.bind(config), *password_complaints(config)):
            self.log.warning(complaint)
        self.listening.watch()  # an old smtpd serves its clients to the end, and takes no new ones
        self.log.info(f"reload -- {_version(config)}")
        return ""

    def stop(self) -> None:
        """Begin to stop: smtpd, pickup and qmgr first; agents leave when qmgr does."""
        if self.stop_by is None:
            self.log.info("stopping")
            self.manager.stopping("stopping: deliveries in progress may finish")
            self.stop_by = time.monotonic() + self.config.stop_timeout + _GRACE
            self.listening.close()
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
        names = self.crew.ready_names()
        missing = [name for name in ALWAYS if name not in names]
        waits = f"; not ready: {', '.join(missing)}" if missing else ""
        return f"running: {' '.join(names) or 'nothing yet'}{waits}{self.refusal}"

    # --- the loop -----------------------------------------------------------------------------

    def serve(self) -> None:
        """Run until everything has stopped."""
        while self.stop_by is None or self.crew:
            pause = self.keep_running()
            if self.stop_by is not None:
                pause = max(0.0, self.stop_by - time.monotonic())
                if not pause:
                    self.crew.kill()
                    pause = 0.2
            elif self.leaves:
                pause = min(pause, _IDLE_CHECK)
                if self.has_begun and self.idleness.is_over():
                    self.stop()
            elif self.has_begun:
                self.manager.status(self.summary())
            self.crew.watch()
            for key, _ in self.selector.select(min(pause, self.manager.alive())):
                key.data()
            self.crew.reap()
            self.obey_signals()

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
        self.metrics.close()
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
