"""The local service as a real process, spoken to as master and qmgr do."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from sendmail_py.core.address import Address
from sendmail_py.core.delivery import Delivery
from sendmail_py.core.envelope import Recipient
from sendmail_py.core.result import DeliveryResult
from sendmail_py.formats.batch import Batch, Report, decode_reports, encode_batch
from sendmail_py.host import sockets
from tests.readable_tree import readable_tree

TIMEOUT = 60


class Agent:
    """One running local service."""

    def __init__(
        self, settings: dict[str, str], user: str, log: Path, wrapper: tuple[str, ...] = (), one_user: bool = False
    ) -> None:
        self.lifeline, theirs = sockets.pair()
        self.channel, agent = sockets.pair()
        for end in (self.lifeline, self.channel):
            end.settimeout(TIMEOUT)
        number = theirs.fileno()
        command = [*wrapper, sys.executable, "-m", "sendmail_py.services", "local", str(number)]
        self.process = subprocess.Popen(command, pass_fds=(number,), cwd=readable_tree())
        theirs.close()
        descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        record = {
            "settings": {k: [v, "test"] for k, v in settings.items()},
            "user": user,
            "one_user": one_user,
            "descriptors": ["log", "agent"],
        }
        sockets.send_record(self.lifeline, record, [descriptor, agent.fileno()])
        os.close(descriptor)
        agent.close()
        received = sockets.receive_record(self.lifeline)
        assert received and received[0] == {"ready": True}
        self._number = 0
        self.aside: list[int] = []
        self.handed_back: list[Report] = []

    def forwarded(self) -> list[str]:
        """Return the targets of the .forward that came back last."""
        with open(self.handed_back.pop().descriptor, encoding="utf-8") as file:
            return file.read().splitlines()

    def send(
        self, user: str, messages: list[Delivery], target: str = "", uid: int = -1, transport: str = "local"
    ) -> Batch:
        """Hand a batch over; its descriptors are closed on this side."""
        self._number += 1
        batch = Batch(self._number, transport, user, messages, uid, target)
        sockets.send_record(self.channel, *encode_batch(batch))
        for message in messages:
            os.close(message.fd)
        return batch

    def collect(self, *batches: Batch) -> None:
        """Wait for the end of these batches and put the results into their deliveries."""
        waiting = {batch.number: batch for batch in batches}
        while waiting:
            received = sockets.receive_record(self.channel)
            assert received, "the service closed its channel"
            if received[0].get("aside"):
                self.aside.append(received[0]["batch"])
                continue
            number, reports, done = decode_reports(*received)
            for report in reports:
                waiting[number].deliveries[report.delivery].results[report.recipient] = report.result
                if report.back is not None:
                    self.handed_back.append(report)
            if done:
                del waiting[number]

    def deliver(self, user: str, *messages: Delivery, target: str = "", uid: int = -1) -> list[DeliveryResult | None]:
        """Hand a batch over and return all its results in order."""
        batch = self.send(user, list(messages), target, uid)
        self.collect(batch)
        return [result for delivery in batch.deliveries for result in delivery.results]

    def reload(self, **settings: str) -> None:
        """Tell the service of a new configuration."""
        record = {"do": "reload", "settings": {k: [v, "test"] for k, v in settings.items()}}
        sockets.send_record(self.lifeline, record)

    def tell(self, what: str) -> None:
        """Speak as master."""
        sockets.send_record(self.lifeline, {"do": what})

    def stop(self) -> int:
        """Tell the service to stop; returns its exit status."""
        try:
            sockets.send_record(self.lifeline, {"do": "stop"})
        except OSError:
            pass
        try:
            return self.process.wait(TIMEOUT)
        finally:
            self.process.kill()
            self.lifeline.close()
            self.channel.close()


def wait_until(condition: Callable[[], object]) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < end, "it did not come about in time"
        time.sleep(0.02)


def message(
    directory: Path,
    content: bytes,
    *recipients: str,
    sender: str = "alice@example.org",
    queue_id: str = "",
    extension: str = "",
) -> Delivery:
    """Return a delivery of this content, which stands at an offset in a file as in the queue."""
    path = directory / f"q{len(os.listdir(directory))}"
    path.write_bytes(b"envelope\n" + content)
    names = [Recipient(Address.parse(r), extension=extension) for r in recipients or ("bob@example.net",)]
    arrived = int(time.time() * 1e6)
    fd = os.open(path, os.O_RDONLY)
    return Delivery(
        queue_id or path.name, fd, 9, len(content), Address.parse(sender), names, arrived_at=arrived, active_at=arrived
    )


class Tree:
    """A scratch directory with a mail spool, and the services started on it."""

    def __init__(self, path: Path, user: str) -> None:
        self.queue = path / "queue"
        self.spool = path / "mail"
        self.log = path / "log"
        self.user = user
        self.agents: list[Agent] = []
        self.queue.mkdir()
        self.spool.mkdir(0o700)

    def start(self, *, wrapper: tuple[str, ...] = (), one_user: bool = False, **settings: str) -> Agent:
        """Start a local service with these parameters."""
        values = {"mail_spool_directory": str(self.spool), "deliver_lock_attempts": "3", "deliver_lock_delay": "1s"}
        self.agents.append(Agent(values | settings, self.user, self.log, wrapper, one_user))
        return self.agents[-1]

    def message(self, content: bytes = b"Subject: x\n\nhello\n", *recipients: str, **more: str) -> Delivery:
        """Return a delivery of this content."""
        return message(self.queue, content, *recipients, **more)
