"""Starts an agent as the real process that master starts, and plays qmgr to it."""

import contextlib
import os
import select
import subprocess
import sys
import time

from sendmail_py.core.address import Address
from sendmail_py.core.config import Config, Setting
from sendmail_py.core.delivery import Delivery
from sendmail_py.core.envelope import Recipient
from sendmail_py.formats.batch import Batch, decode_reports, encode_batch
from sendmail_py.host import sockets
from sendmail_py.services.tls_files import client_files

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LIMIT = 60


@contextlib.contextmanager
def agents(tmp_path, **settings):
    """Give a function that starts an agent for a sink, begin(sink, parameter=...), and returns it and the nexthop.

    They end with the block; none of them may have logged an error.
    """
    running = []

    def begin(sink, **more):
        hop = f"[127.0.0.1]:{sink.port}"
        agent = AgentProcess(tmp_path, **{"myhostname": "client.test", "relayhost": hop} | settings | more)
        running.append(agent.__enter__())
        return agent, hop

    yield begin
    for agent in running:
        agent.__exit__()
        assert " error: " not in agent.log()


class AgentProcess:
    """A context manager: give() sends a batch, results() waits for all results of it."""

    def __init__(self, tmp_path, service="smtp", **settings):
        self.tmp_path = tmp_path
        self.service = service
        self.log_path = str(tmp_path / "log")
        self._results = {}
        self._done = set()
        self._number = 0
        self._files = 0
        self.lifeline, theirs = sockets.pair()
        self.channel, agent_end = sockets.pair()
        theirs.set_inheritable(True)
        main = os.path.join(ROOT, "sendmail_py", "services", "__main__.py")
        argv = [sys.executable, "-I", main, service, str(theirs.fileno())]
        self.process = subprocess.Popen(argv, pass_fds=[theirs.fileno()])
        theirs.close()
        log = os.open(self.log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._settings = rows = {name: [str(value), "test"] for name, value in settings.items()}
        files = {f"tls {path}": os.open(path, os.O_RDONLY) for path in self.tls_files(rows) if os.path.exists(path)}
        record = {"settings": rows, "user": "", "descriptors": ["log", "agent", *files]}
        sockets.send_record(self.lifeline, record, [log, agent_end.fileno(), *files.values()])
        for descriptor in (log, *files.values()):
            os.close(descriptor)
        agent_end.close()
        for end in (self.lifeline, self.channel):
            end.settimeout(LIMIT)

    @staticmethod
    def tls_files(rows):
        """Return the files that master opens for the agent."""
        return client_files(Config({name: Setting(*row) for name, row in rows.items()}))

    def __enter__(self):
        assert sockets.receive_record(self.lifeline) == ({"ready": True}, [])
        return self

    def __exit__(self, *_):
        self.lifeline.close()
        self.channel.close()
        try:
            self.process.wait(LIMIT)
        finally:
            self.process.kill()

    def tell(self, what):
        """Speak as master, who tells with a reload what counts from then on."""
        record = {"do": what} | ({"settings": self._settings} if what == "reload" else {})
        sockets.send_record(self.lifeline, record)

    def delivery(
        self, content=b"Subject: x\n\nhello\n", to=("bob@example.test",), sender="alice@example.org", size=None, **more
    ):
        """Return a delivery whose queue file is real."""
        self._files += 1
        path = self.tmp_path / f"queue-file-{self._files}"
        path.write_bytes(b"head\n\n" + content)
        recipients = [r if isinstance(r, Recipient) else Recipient(Address.parse(r)) for r in to]
        now = int(time.time() * 1e6)
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        size = len(content) if size is None else size
        return Delivery(
            f"Q{self._files}", fd, 6, size, Address.parse(sender), recipients, arrived_at=now, active_at=now, **more
        )

    def give(self, nexthop, *deliveries):
        """Send a batch; returns its number."""
        self._number += 1
        record, descriptors = encode_batch(Batch(self._number, self.service, nexthop, list(deliveries)))
        sockets.send_record(self.channel, record, descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        return self._number

    def results(self, number):
        """Wait for the end of a batch; returns {(delivery, recipient): result}."""
        while number not in self._done:
            received = sockets.receive_record(self.channel)
            assert received is not None, f"the agent closed its channel\n{self.log()}"
            batch, reports, done = decode_reports(*received)
            for report in reports:
                key = report.delivery, report.recipient
                assert key not in self._results.setdefault(batch, {}), "two results for one recipient"
                self._results[batch][key] = report.result
            if done:
                self._done.add(batch)
        return self._results[number]

    def send(self, nexthop, *deliveries):
        """Send a batch and return its results."""
        return self.results(self.give(nexthop, *deliveries))

    def result(self, nexthop, **what):
        """Send one message to one recipient and return its result."""
        return self.send(nexthop, self.delivery(**what))[0, 0]

    def log(self):
        """Return the log so far."""
        with open(self.log_path, encoding="utf-8") as file:
            return file.read()

    def rss(self):
        """Return the resident memory of the process in octets."""
        with open(f"/proc/{self.process.pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def ended(self):
        """Wait for the end of the process; returns its exit status."""
        return self.process.wait(LIMIT)

    def is_readable(self, seconds):
        """Say whether something comes from the agent within some seconds."""
        return bool(select.select([self.channel], [], [], seconds)[0])
