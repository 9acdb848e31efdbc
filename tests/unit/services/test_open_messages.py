"""The open files of messages that wait: never so many that qmgr has none left for who asks it."""

import os

import pytest

from sendmail_py.services import open_messages
from sendmail_py.services.messages import Message
from sendmail_py.services.open_messages import OpenMessages
from sendmail_py.spool.store import Store
from tests.unit.conftest import envelope_for


@pytest.mark.parametrize(("allowed", "most"), [(1 << 20, 400), (256, 56), (64, 10)])
def test_messages_stay_open_up_to_what_the_limit_of_descriptors_leaves(
    store: Store, monkeypatch: pytest.MonkeyPatch, allowed: int, most: int
) -> None:
    monkeypatch.setattr(open_messages, "allow_descriptors", lambda: allowed)
    kept = OpenMessages(store)
    messages = [Message(str(n), envelope_for("bob@here"), os.open("/dev/null", os.O_RDONLY), 0) for n in range(450)]
    for message in messages:
        kept.keep(message)
    assert sum(message.descriptor >= 0 for message in messages) == most
    for message in messages:
        kept.close(message)
