"""metrics: the sums of what all services count, and the state of the queue, as Prometheus reads them.

    GET /metrics    all of it, in Prometheus' text format
    GET /health     200 while qmgr and pickup are there, else 503, and what is wrong
    GET /ready      200 when they do their work, and the queue has room and can be written

Guarantees: it is asked one thing at a time, and who is slow is let go after two seconds; deliveries
never wait for it. What costs more with a large queue is worked out beside the answers, in a thread.
"""

import contextlib
import os
import selectors
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from ..core.errors import MailError
from ..formats.metrics import Counts, add, render
from ..host.log_counts import decode
from ..host.sockets import connect, receive_record, send_record
from ..spool.layout import ACTIVE, CORRUPT, DEFERRED, HOLD, INCOMING, MAILDROP
from ..spool.maildrop import check_space
from ..spool.store import Store
from .service import Service

_DATAGRAM = 1 << 18
_PATIENCE = 2.0
_COUNTED_FOR = 15.0  # seconds that a count of directories is good for
_COARSE = 1_000_000_000  # ns within which two changes of a directory may bear the same time
_NEEDED = ("pickup", "qmgr")
_WRITTEN = (MAILDROP, INCOMING, ACTIVE, DEFERRED)
_TEXT = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """The sums, and what is asked of others when somebody asks us."""

    def __init__(self, service: Service) -> None:
        self.config = service.config
        self.sums: Counts = {}
        self._store = Store(self.config.queue_directory)
        self._counted: dict[str, tuple[int, int]] = {}  # by state: the time of the directory, and how many it held

    def take(self, data: bytes) -> None:
        """Add the counts of a process."""
        with contextlib.suppress(ValueError, TypeError):
            for (name, labels), value in decode(data).items():
                add(self.sums, name, *labels, value=value)

    def text(self) -> str:
        """Return everything, with the state of the queue and of the services as they are now."""
        counts = dict(self.sums)
        for state, number in {**self._in_directories(), **self._of_qmgr(counts)}.items():
            add(counts, "queue_messages", state, value=number)
        status = self.status()
        for service in status.get("services", []):
            counts["service_up", (service["name"],)] = float(service["ready"])
        add(counts, "start_time_seconds", value=status.get("started_at", 0.0))
        return render(counts)

    def status(self) -> dict[str, Any]:
        """Return what master says of the services; {} when it does not answer."""
        return self._ask("control", {"verb": "status"})

    def troubles(self, wants_ready: bool) -> list[str]:
        """Return what keeps the services from being there or, where that is asked, from taking mail."""
        found = {s["name"]: s["ready"] for s in self.status().get("services", [])}
        said = [f"{name} is not running" for name in _NEEDED if name not in found]
        if "qmgr" in found and not self._ask("public", {"verb": "gauges"}):
            said.append("qmgr does not answer")
        if wants_ready:
            said += [f"{name} is not ready" for name in _NEEDED if not found.get(name, True)]
            said += self._of_the_queue()
        return said

    def _of_the_queue(self) -> list[str]:
        """Return why the queue takes no mail, as a submission would find."""
        top = self.config.queue_directory
        closed = [name for name in _WRITTEN if not os.access(f"{top}/{name}", os.W_OK | os.X_OK)]
        said = [f"queue {top}/{name} cannot be written" for name in closed]
        try:
            check_space(top, self.config.message_size_limit, self.config.queue_minfree)
        except MailError as error:
            said.append(str(error))
        return said

    def _of_qmgr(self, counts: Counts) -> dict[str, int]:
        """Take what qmgr says of domains and ages; returns its numbers of messages."""
        answer = self._ask("public", {"verb": "gauges"})
        for domain, number in answer.get("domains", []):
            add(counts, "queue_domain_messages", domain, value=number)
        for limit, number in answer.get("ages", []):
            add(counts, "queue_age_messages", limit, value=number)
        return dict(answer.get("states", {}))

    def count(self) -> None:
        """Count what is in directories that qmgr keeps no account of, those that have changed."""
        for state in (HOLD, CORRUPT, MAILDROP):
            with contextlib.suppress(OSError):
                self._count(state)

    def _count(self, state: str) -> None:
        path = self._store.path(state, "")
        changed = os.stat(path).st_mtime_ns
        if self._counted.get(state, (0, 0))[0] == changed:
            return
        is_settled = time.time_ns() - changed > _COARSE  # else what comes now may not show in it
        self._counted[state] = changed if is_settled else 0, len(os.listdir(path))

    def count_for_good(self) -> None:
        """Count again and again."""
        while True:
            time.sleep(_COUNTED_FOR)
            self.count()

    def _in_directories(self) -> dict[str, int]:
        return {state: number for state, (_, number) in self._counted.items()}

    def _ask(self, name: str, request: dict[str, Any]) -> dict[str, Any]:
        try:
            with connect(f"{self.config.run_directory}/{name}", _PATIENCE) as end:
                send_record(end, request)
                received = receive_record(end)
        except (OSError, ValueError):
            return {}
        return received[0] if received is not None and isinstance(received[0], dict) else {}


class _Server(HTTPServer):
    """On a socket that master has bound."""

    def __init__(self, listener: socket.socket, metrics: Metrics) -> None:
        super().__init__(("", 0), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.metrics = metrics

    def handle_error(self, request: object, client_address: object) -> None:
        """Let go who broke off: nobody is told."""


class _Handler(BaseHTTPRequestHandler):
    """One question."""

    timeout = _PATIENCE
    server_version, sys_version = "sendmail-py", ""
    server: _Server

    def setup(self) -> None:
        """Begin to count the time: a time-out of the socket begins anew with each octet."""
        super().setup()
        self._limit = threading.Timer(_PATIENCE, self._let_go)
        self._limit.daemon = True
        self._limit.start()

    def _let_go(self) -> None:
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def finish(self) -> None:
        """Stop counting."""
        self._limit.cancel()
        super().finish()

    def do_GET(self) -> None:
        """Answer."""
        self._limit.cancel()
        metrics = self.server.metrics
        if self.path == "/metrics":
            self._say(200, metrics.text())
        elif self.path in ("/health", "/ready"):
            troubles = metrics.troubles(self.path == "/ready")
            self._say(503 if troubles else 200, "".join(f"{trouble}\n" for trouble in troubles or ["ok"]))
        else:
            self._say(404, "/metrics, /health and /ready are here\n")

    def _say(self, status: int, text: str) -> None:
        data = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", _TEXT)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet: a scrape is no news."""

    def address_string(self) -> str:
        """Return nothing: a Unix socket has no address."""
        return ""


def run(service: Service) -> None:
    """Serve until master says stop; a reload changes nothing here."""
    metrics = Metrics(service)
    sums, server = service.socket("sums"), _Server(service.socket("listener"), metrics)
    with selectors.DefaultSelector() as selector:
        for end in (service.lifeline, sums, server.socket):
            selector.register(end, selectors.EVENT_READ)
        metrics.count()
        service.ready()
        threading.Thread(target=metrics.count_for_good, daemon=True).start()
        while True:
            ready = {key.fileobj for key, _ in selector.select()}
            if service.lifeline in ready and service.order() == "stop":
                return
            if sums in ready:
                metrics.take(sums.recv(_DATAGRAM))
            elif server.socket in ready:
                server.handle_request()
