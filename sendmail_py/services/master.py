"""master: binds the sockets, starts the services, and keeps them running.

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

from ..core.config import Config
from ..core.errors import ConfigError, MailError, SpoolError
from ..host.configuration import load
from ..host.sockets import listen, pair, receive_record
from ..host.syslog import Log
from ..spool.lock import take
from .children import Child, Throttle, start
from .control import Control
from .listening import SMTPD, Listening
from .service import encode_settings
from .smtp_checks import password_complaints
from .whole_config import check_config

ALWAYS = ("pickup", "qmgr")
WARNING = "warning: "
_NEEDS_RESTART = ("queue_directory", "run_directory", "data_directory", "mail_owner", "syslog_name", "syslog_facility")
_GRACE = 5.0


class Master:
    """The state of the process. notify(text) tells the starter: "" for ready, else what failed.

    What goes wrong without stopping the start is told before, after WARNING.
    """

    def __init__(self, config: Config, notify: Callable[[str], None]) -> None:
        self.config = config
        self.notify = notify
        self.started_at = time.time()
        self.log_file = open_log_file(config)
        self.log = Log(config.syslog_name, "master", config.syslog_facility, self.log_file)
        self.selector = selectors.DefaultSelector()
        self.children: dict[int, Child] = {}
        self.throttle = Throttle(config.service_throttle_time)
        self.wanted: list[str] = []
        self.has_begun = False
        self.signals: list[int] = []
        self.listening = Listening(self.selector, self.client_waits)
        self.is_client_waiting = False
        self.stop_by: float | None = None

    def prepare(self) -> None:
        """Take the run directory: lock, pid file, sockets; raises SpoolError, OSError."""
        run = self.config.run_directory
        if not os.path.isdir(run):
            os.makedirs(run)
            os.chmod(run, 0o755 if os.getuid() == 0 else 0o700)  # whatever the umask: all users ask here
        if not take(f"{run}/master.lock"):
            raise SpoolError(f"already running ({run}/master.lock is held)")
        with open(f"{run}/master.pid", "w", encoding="ascii") as file:
            file.write(f"{os.getpid()}\n")
        self.public = listen(f"{run}/public", 0o666)
        self.submit = listen(f"{run}/submit", 0o666)
        self.control = Control(f"{run}/control", self.selector, self.status, self.stop, self.reload)
        for complaint in (*self.listening.bind(self.config), *password_complaints(self.config)):
            self.log.warning(complaint)
            self.notify(WARNING + complaint)
        self.listening.watch()

    # --- services ---------------------------------------------------------------------------

    def start_service(self, name: str) -> None:
        """Start one of the services that always run."""
        self._start(name, {"public": self.public.fileno()} if name == "qmgr" else {"submit": self.submit.fileno()})

    def start_agent(self, transport: str) -> None:
        """Start an agent and give qmgr the other end of its channel."""
        qmgr = self._running("qmgr")
        if qmgr is None or self.stop_by is not None:
            return
        ours, theirs = pair()
        with ours, theirs:
            if self._start(transport, {"agent": theirs.fileno()}):
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

    def _start(self, name: str, descriptors: dict[str, int]) -> bool:
        if self.log_file >= 0:
            descriptors["log"] = self.log_file
        try:
            child = start(name, self.config, descriptors)
        except OSError as error:
            self.log.error(f"cannot start {name}: {error}")
            self.throttle.ended(name, 0.0, False)
            return False
        self.children[child.pid] = child
        self.selector.register(child.lifeline, selectors.EVENT_READ, lambda: self.heard(child))
        return True

    def _running(self, name: str) -> Child | None:
        return next((child for child in self.children.values() if child.name == name and not child.is_leaving), None)

    def heard(self, child: Child) -> None:
        """Take a record of a service."""
        try:
            received = receive_record(child.lifeline)
        except BlockingIOError:
            return
        except (OSError, ValueError):
            received = None
        if received is None:
            self.selector.unregister(child.lifeline)  # it has ended or is about to; reap() sees to it
            return
        record = received[0]
        if "want" in record:
            self.wanted.append(str(record["want"]))
        elif "ready" in record:
            child.is_ready = True
            if all((c := self._running(name)) is not None and c.is_ready for name in ALWAYS):
                self.has_begun = True
                self.notify("")
        elif "failed" in record:
            self.notify(str(record["failed"]))

    def reap(self) -> None:
        """Take note of services that have ended."""
        while self.children:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            child = self.children.pop(pid, None)
            if child is not None:
                self._ended(child, os.waitstatus_to_exitcode(status))

    def _ended(self, child: Child, code: int) -> None:
        with contextlib.suppress(KeyError, ValueError):
            self.selector.unregister(child.lifeline)
        child.lifeline.close()
        expected = code == 0 and (child.is_leaving or child.name not in ALWAYS)
        if not expected and self.stop_by is None:
            how = f"was killed by signal {-code}" if code < 0 else f"ended with status {code}"
            self.log.warning(f"service {child.name} (pid {child.pid}) {how}")
            if not self.has_begun:
                self.notify(f"service {child.name} {how}; see the log")
                self.stop()
        if child.name == "qmgr":
            self.wanted.clear()
        if child.name == SMTPD and self._running(SMTPD) is None and self.stop_by is None:
            self.listening.watch()
        self.throttle.ended(child.name, time.monotonic() - child.started, expected)

    def keep_running(self) -> float:
        """Start what should run and may; returns the seconds until the next start is allowed."""
        if self.stop_by is not None:
            return _GRACE
        pause = 60.0
        for name in ALWAYS:
            if self._running(name) is None:
                pause = min(pause, self._when_allowed(name, self.start_service))
        if self.is_client_waiting:
            pause = min(pause, self._when_allowed(SMTPD, self.start_smtpd) or pause)
        wanted, self.wanted = self.wanted, []
        for name in wanted:
            wait = self._when_allowed(name, self.start_agent)
            if wait:
                self.wanted.append(name)
                pause = min(pause, wait)
        return pause

    def _when_allowed(self, name: str, action: Callable[[str], None]) -> float:
        wait = self.throttle.wait(name)
        if not wait:
            action(name)
        return wait

    # --- reload and stop --------------------------------------------------------------------

    def reload(self) -> str:
        """Read main.cf again and tell the services; returns what was wrong, or ""."""
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
        self.log_file = log_file
        self.log = Log(config.syslog_name, "master", config.syslog_facility, log_file)
        self.throttle.longest = config.service_throttle_time
        record = {"do": "reload", "settings": encode_settings(config)}
        for child in self.children.values():
            child.is_leaving = child.name not in ("qmgr", "local", "virtual")
            child.tell(record, [log_file] if log_file >= 0 else None)
        if old_log > 2:
            os.close(old_log)
        for complaint in (*self.listening.bind(config), *password_complaints(config)):
            self.log.warning(complaint)
        self.listening.watch()  # an old smtpd serves its clients to the end, and takes no new ones
        self.log.info("reloaded")
        return ""

    def stop(self) -> None:
        """Begin to stop: smtpd, pickup and qmgr first; agents leave when qmgr does."""
        if self.stop_by is None:
            self.log.info("stopping")
            self.stop_by = time.monotonic() + self.config.stop_timeout + _GRACE
            self.listening.close()
            for child in self.children.values():
                if child.name in (*ALWAYS, SMTPD):
                    child.tell({"do": "stop"})

    def kill(self) -> None:
        """End what has not ended in time."""
        for child in self.children.values():
            self.log.warning(f"service {child.name} (pid {child.pid}) did not stop in time")
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGKILL)

    def status(self) -> dict[str, Any]:
        """Return what `mailctl status` shows."""
        now = time.monotonic()
        services = [
            {"name": c.name, "pid": c.pid, "uptime": round(now - c.started, 1), "ready": c.is_ready}
            for c in self.children.values()
        ]
        return {"pid": os.getpid(), "started_at": self.started_at, "services": services}

    # --- the loop -----------------------------------------------------------------------------

    def serve(self) -> None:
        """Run until everything has stopped."""
        while self.stop_by is None or self.children:
            pause = self.keep_running()
            if self.stop_by is not None:
                pause = max(0.0, self.stop_by - time.monotonic())
                if not pause:
                    self.kill()
                    pause = 0.2
            for key, _ in self.selector.select(pause):
                key.data()
            self.reap()
            self.obey_signals()

    def obey_signals(self) -> None:
        """Do what signals have asked for since the last turn."""
        while self.signals:
            if self.signals.pop(0) == signal.SIGHUP:
                self.reload()
            else:
                self.stop()

    def leave(self) -> None:
        """Remove the pid file and the sockets."""
        for name in ("public", "submit", "control", "master.pid"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{self.config.run_directory}/{name}")
        self.log.info("stopped")
        self.control.close()


def open_log_file(config: Config) -> int:
    """Open maillog_file for appending; -1 when the log goes to syslog. Raises ConfigError."""
    path = config.maillog_file
    if not path:
        return -1
    if path == "/dev/stdout":
        return 1
    try:
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
    except OSError as error:
        raise ConfigError(f"maillog_file {path}: {error.strerror}") from error


def run(config: Config, notify: Callable[[str], None]) -> None:
    """Be the master until told to stop; raises MailError, OSError when it cannot begin."""
    master = Master(config, notify)
    master.prepare()
    reader, writer = socket.socketpair()
    for end in (reader, writer):
        end.setblocking(False)
    signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda n, frame: master.signals.append(n))
    master.selector.register(reader, selectors.EVENT_READ, lambda: reader.recv(512))
    master.log.info(f"started, pid {os.getpid()}")
    master.serve()
    master.leave()
