"""Records between processes, with descriptors, over paths of any length."""

import array
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sendmail_py.host.sockets import RECORD_LIMIT, connect, listen, pair, peer_uid, receive_record, send_record

Ends = tuple[socket.socket, socket.socket]
texts = st.text(st.characters(max_codepoint=0xFFFF))
records = st.recursive(st.none() | st.booleans() | st.integers() | texts, lambda inner: st.lists(inner, max_size=3))


@pytest.fixture
def ends() -> Iterator[Ends]:
    one, other = pair()
    with one, other:
        other.settimeout(60)
        yield one, other


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def give(end: socket.socket, data: bytes, descriptors: list[int]) -> None:
    """Send octets with descriptors, as any program could."""
    end.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))])


@given(records)
@settings(max_examples=50)
def test_a_record_comes_as_it_was_sent(record: object) -> None:
    one, other = pair()
    with one, other:
        send_record(one, record)
        assert receive_record(other) == (record, [])


def test_descriptors_come_with_their_record_and_are_closed_on_exec(ends: Ends, tmp_path: Path) -> None:
    files = []
    for n in range(64):
        (tmp_path / str(n)).write_text(str(n))
        files.append(os.open(tmp_path / str(n), os.O_RDONLY))
    send_record(ends[0], {"n": 64}, files)
    send_record(ends[0], {"n": 0})
    received = receive_record(ends[1])
    assert received is not None
    assert [os.pread(descriptor, 9, 0) for descriptor in received[1]] == [str(n).encode() for n in range(64)]
    assert not any(os.get_inheritable(descriptor) for descriptor in received[1])
    for descriptor in files + received[1]:
        os.close(descriptor)
    assert receive_record(ends[1]) == ({"n": 0}, [])


def test_the_end_of_the_connection_is_none(ends: Ends) -> None:
    ends[0].close()
    assert receive_record(ends[1]) is None


@pytest.mark.parametrize(
    "data",
    [b"{", b"\xff", b"[" * 100_000, b'{"a":1}' + b" " * (RECORD_LIMIT + 1)],
    ids=["no JSON", "no UTF-8", "deep", "long"],
)
def test_a_bad_record_is_a_value_error_and_its_descriptors_are_closed(ends: Ends, data: bytes) -> None:
    before = open_descriptors()
    give(ends[0], data, [0, 0, 0])
    with pytest.raises(ValueError):
        receive_record(ends[1])
    assert open_descriptors() == before


def test_descriptors_that_come_with_an_empty_record_are_closed(ends: Ends) -> None:
    before = open_descriptors()
    give(ends[0], b"", [0, 0, 0])
    assert receive_record(ends[1]) is None
    assert open_descriptors() == before


def test_more_descriptors_than_are_taken_are_a_value_error(ends: Ends) -> None:
    before = open_descriptors()
    give(ends[0], b"{}", [0] * 100)
    with pytest.raises(ValueError, match="too long"):
        receive_record(ends[1])
    assert open_descriptors() == before


def test_a_full_socket_that_does_not_block_says_so(ends: Ends) -> None:
    ends[0].setblocking(False)
    with pytest.raises(BlockingIOError):
        for _ in range(10_000):
            send_record(ends[0], "x" * 10_000)


@pytest.mark.parametrize("length", [3, 150])
def test_a_path_of_any_length_can_be_listened_at_and_connected_to(tmp_path: Path, length: int) -> None:
    directory = tmp_path / ("d" * length)
    directory.mkdir()
    path = f"{directory}/public"
    for _ in range(2):  # the second takes the place of the first
        with listen(path, 0o666) as listener, connect(path, timeout=60) as end:
            assert stat.S_IMODE(os.stat(path).st_mode) == 0o666
            accepted, _ = listener.accept()
            with accepted:
                accepted.setblocking(True)
                send_record(end, {"verb": "list"})
                assert receive_record(accepted) == ({"verb": "list"}, [])
                assert peer_uid(accepted) == os.getuid()


def test_a_connection_to_nobody_is_an_error_that_leaves_nothing_open(tmp_path: Path) -> None:
    listen(f"{tmp_path}/dead", 0o600).close()
    before = open_descriptors()
    for name in ("dead", "missing"):
        with pytest.raises(OSError):
            connect(f"{tmp_path}/{name}")
    assert open_descriptors() == before
