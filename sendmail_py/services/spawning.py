"""What master starts, and when: pickup and qmgr always, an agent when qmgr wants one, smtpd when a client waits.

A service gets the descriptors that it could not open itself; one that keeps dying waits for its turn (children.py).
What a service says, and what its end means to the others, is master.py's.
"""

import os
import selectors

from ..core.config import Config
from ..host.sockets import listen, pair
from ..host.syslog import Log
from .children import Child
from .crew import Crew
from .listening import SMTPD, Listening
from .metrics_line import MetricsLine
from .tls_files import client_files, open_files

ALWAYS = ("pickup", "qmgr")
_LONGEST_PAUSE = 60.0


class Spawner:
    """Starts the services of a crew. listening and metrics are its sockets; configure() and bind() come first."""

    def __init__(self, selector: selectors.BaseSelector, crew: Crew) -> None:
        self._crew = crew
        self.listening = Listening(selector, self._client_waits)
        self.metrics = MetricsLine()
        self._wanted: list[str] = []
        self._is_client_waiting = False
        self._wants_more = False

    def configure(self, config: Config, log: Log, log_file: int) -> None:
        """Take what a configuration says of services that are started from now on."""
        self._config = config
        self._log = log
        self._log_file = log_file
        self._crew.configure(config, log)

    def bind(self, run: str) -> None:
        """Make the sockets of qmgr and pickup in the run directory; they outlive both. Raises OSError."""
        self._public = listen(f"{run}/public", 0o666)
        self._submit = listen(f"{run}/submit", 0o666)

    def listen(self, config: Config) -> list[str]:
        """Listen for clients, and for who reads the metrics, where main.cf says; returns complaints."""
        return [*self.metrics.bind(config), *self.listening.bind(config)]

    # --- what is to be started ----------------------------------------------------------------

    def want_agent(self, transport: str) -> None:
        """Note that qmgr has mail for an agent."""
        self._wanted.append(transport)

    def want_more(self) -> None:
        """Note that a busy smtpd asks for another beside it."""
        self._wants_more = True

    def _client_waits(self) -> None:
        """Note that a client has come while no smtpd runs."""
        self.listening.ignore()
        self._is_client_waiting = True

    def ended(self, child: Child, expected: bool) -> None:
        """Take note of a service that has ended."""
        if child.name == "qmgr":
            self._wanted.clear()
        self.listening.ended(child)
        if child.name == SMTPD and self._crew.running(SMTPD) is None:
            self.listening.watch()
        self._crew.note_end(child, expected)

    def keep_running(self) -> float:
        """Start what should run and may; returns the seconds until the next start is allowed."""
        pause = _LONGEST_PAUSE
        if self._crew.running(SMTPD) is not None:
            pause = self._config.smtpd_tls_check_interval or pause
            self._renew_certificates()
        for name in (*ALWAYS, *self.metrics.names):
            if self._crew.running(name) is None:
                pause = min(pause, self._crew.start_when_allowed(name, self._start_service))
        if self._is_client_waiting:
            pause = min(pause, self._crew.start_when_allowed(SMTPD, self._start_smtpd) or pause)
        if self._wants_more and 0 < self.listening.processes() < self._config.smtpd_process_limit:
            self._crew.start_when_allowed(SMTPD, self._start_smtpd)
        self._wants_more = False
        wanted, self._wanted = self._wanted, []
        for name in wanted:
            wait = self._crew.start_when_allowed(name, self._start_agent)
            if wait:
                self._wanted.append(name)
                pause = min(pause, wait)
        return pause

    def _renew_certificates(self) -> None:
        """Let a new smtpd take the next clients when the files of TLS have changed."""
        if not self.listening.has_renewed_certificates(self._config):
            return
        self._log.info("the certificate of the SMTP server has changed: new clients get the new one")
        for child in self._crew:
            if child.name == SMTPD and not child.is_leaving:
                child.is_leaving = True
                child.tell({"do": "reload"})
        self.listening.watch()

    # --- starting it --------------------------------------------------------------------------

    def _start_service(self, name: str) -> None:
        """Start one of the services that always run."""
        descriptors = {"qmgr": {"public": self._public.fileno()}, "pickup": {"submit": self._submit.fileno()}}
        self._start(name, descriptors.get(name, {}))

    def _start_agent(self, transport: str) -> None:
        """Start an agent and give qmgr the other end of its channel."""
        qmgr = self._crew.running("qmgr")
        if qmgr is None:
            return
        files = client_files(self._config) if transport == "smtp" else []
        opened = open_files(files, self._log, "mail that may need TLS waits")
        ours, theirs = pair()
        with ours, theirs:
            is_started = self._start(transport, {"agent": theirs.fileno(), **opened})
            for descriptor in opened.values():
                os.close(descriptor)
            if is_started:
                qmgr.tell({"do": "agent", "transport": transport}, [ours.fileno()])
            else:
                qmgr.tell({"do": "no-agent", "transport": transport})

    def _start_smtpd(self, name: str) -> None:
        """Start the SMTP server, which takes the clients from now on."""
        self._is_client_waiting = not self.listening.start(self._start, self._config, self._log)

    def _start(self, name: str, descriptors: dict[str, int]) -> Child | None:
        if self._log_file >= 0:
            descriptors["log"] = self._log_file
        descriptors |= self.metrics.of_service(name)
        return self._crew.start(name, descriptors)
