"""The recipients in memory: few always come in, many as there is room, and one large message always."""

from sendmail_py.services.messages import Message
from sendmail_py.services.room import Room
from tests.unit.conftest import envelope_for


def message(count: int) -> Message:
    return Message("M", envelope_for(*["bob@here"] * count), -1, 0)


def test_large_messages_come_in_as_there_is_room_and_small_ones_always() -> None:
    room = Room()
    room.configure(100, 10)
    first = message(80)
    assert room.has(80)
    room.take(first)
    assert room.has(10) and room.has(20) and not room.has(21)
    room.take(message(10))
    assert room.has(10) and not room.has(20)
    room.give_back(first)
    assert room.has(10**6)


def test_small_messages_alone_keep_no_large_one_out() -> None:
    room = Room()
    room.configure(100, 10)
    for _ in range(50):
        room.take(message(10))
    assert room.has(1000)
    room.take(message(1000))
    assert not room.has(11)
