"""What sendmail(1) does after the message is safe: nothing that goes wrong there counts."""

import os
import threading
from pathlib import Path

import pytest

from sendmail_py.commands import afterwards
from sendmail_py.core.address import Address
from sendmail_py.host.sockets import listen, receive_record
from sendmail_py.spool.maildrop import Drop
from sendmail_py.spool.queue_id import base_id
from tests.unit.conftest import envelope_for


class Written(Drop):
    """A file that has been written to maildrop/."""

    def __init__(self) -> None:
        self.name = "0123456789ABC.1"
        self.identity = (1_795_435_041_000_007_123, 41651)


@pytest.fixture
def directory(tmp_path: Path) -> str:
    (tmp_path / "main.cf").write_text(f"run_directory = {tmp_path}\nmyhostname = mx.example.org\n")
    return str(tmp_path)


def test_services_that_are_down_are_not_waited_for(directory: str) -> None:
    afterwards.wait(directory, Written())


@pytest.mark.parametrize("text", ["run_directory = $nowhere\n", "stop_timeout = x\n", ""])
def test_a_configuration_that_cannot_be_read_is_no_reason_to_fail(directory: str, text: str) -> None:
    Path(directory, "main.cf").write_text(text)
    afterwards.wait(directory, Written())
    Path(directory, "main.cf").unlink()
    afterwards.wait(directory, Written())


def test_a_queue_manager_that_does_not_answer_is_waited_for_so_long_and_no_longer(
    directory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(afterwards, "LONGEST", 0.2)
    with listen(f"{directory}/public", 0o600):
        afterwards.wait(directory, Written())


def test_the_request_names_the_id_that_pickup_will_give(directory: str) -> None:
    asked = []
    with listen(f"{directory}/public", 0o600) as listener:
        listener.setblocking(True)

        def hear() -> None:
            with listener.accept()[0] as end:
                asked.append(receive_record(end))

        thread = threading.Thread(target=hear)
        thread.start()
        afterwards.wait(directory, Written())
        thread.join(60)
    queue_id = base_id(1_795_435_041_000_007, 41651)
    assert asked == [({"verb": "wait", "id": queue_id, "maildrop": "0123456789ABC.1"}, [])]


def test_what_is_told_is_postfixs_sentence(capfd: pytest.CaptureFixture[str]) -> None:
    afterwards.tell(envelope_for("bob", sender="list-owner@example.org"))
    afterwards.tell(envelope_for("bob", sender=""))
    assert capfd.readouterr().out == (
        "Mail Delivery Status Report will be mailed to <list-owner@example.org>.\n"
        "Mail Delivery Status Report will be mailed to <>.\n"
    )


def test_nobody_need_listen(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(descriptor: int, data: bytes) -> int:
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr(os, "write", fails)
    envelope = envelope_for("bob")
    envelope.reverse_path = Address("j\udcf6", "x")
    afterwards.tell(envelope)
