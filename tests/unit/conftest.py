"""What tests of the queue share: an empty queue in tmp_path, and a way to put messages into it."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from sendmail_py.core.address import Address
from sendmail_py.core.envelope import Envelope, Recipient, Submitter
from sendmail_py.formats.queue_file import render
from sendmail_py.spool import directories
from sendmail_py.spool.layout import INCOMING
from sendmail_py.spool.maildrop import Drop
from sendmail_py.spool.queue_id import base_id
from sendmail_py.spool.store import Store

# A busy machine is no failure: nothing here is measured by the clock.
_EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "100"))
settings.register_profile(
    "patient", deadline=None, max_examples=_EXAMPLES, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("patient")

PutMessage = Callable[..., Envelope]


def envelope_for(*recipients: str, queue_id: str = "0123456789ABC", sender: str = "alice@example.org") -> Envelope:
    """Return an envelope with these recipients."""
    paths = [Recipient(Address.parse(text)) for text in recipients]
    arrived_at = time.time_ns() // 1000  # a message of long ago would be returned instead of deferred
    return Envelope(queue_id, arrived_at, Address.parse(sender), paths, Submitter(1000, "alice"))


def drop_one(store: Store) -> tuple[str, str]:
    """Submit a message; returns its path and the id that its copy will have."""
    envelope = envelope_for("bob@here", queue_id="")
    envelope.reverse_path, envelope.size = None, 4
    drop = Drop(store.top)
    drop.write(render(envelope) + b"\nhi\n")
    drop.finish()
    status = os.stat(drop.path)
    return drop.path, base_id(status.st_ctime_ns // 1000, status.st_ino)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Return the store of a new, empty queue."""
    directories.create(f"{tmp_path}/queue", os.getuid(), os.getgid())
    return Store(f"{tmp_path}/queue")


@pytest.fixture
def put(store: Store) -> PutMessage:
    """Return a function that puts a message into a state of the queue and gives its envelope."""

    def put_message(*recipients: str, state: str = INCOMING, content: bytes = b"\nhi\n", **how: str) -> Envelope:
        envelope = envelope_for(*recipients or ("bob@here",), **how)
        store.commit(store.write(envelope, [content], durable=False), envelope.queue_id, durable=False)
        if state != INCOMING:
            os.makedirs(os.path.dirname(store.path(state, envelope.queue_id)), exist_ok=True)
            os.rename(store.path(INCOMING, envelope.queue_id), store.path(state, envelope.queue_id))
        return envelope

    return put_message
