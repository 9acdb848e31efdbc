"""Queue ids: unique by construction, in the order of time, and told from other names."""

from hypothesis import given
from hypothesis import strategies as st

from sendmail_py.spool.queue_id import base_id, child_id, hash_directory, is_queue_id

# Past the year 2100, and every inode number there can be.
times = st.integers(10**15, 2**52 - 1)
inodes = st.integers(1, 2**64 - 1) | st.integers(1, 300)
steps = st.lists(st.tuples(st.integers(0, 10**6) | st.integers(0, 9), st.integers(0, 10**6)), max_size=3)


def made(base: tuple[int, int], path: list[tuple[int, int]]) -> str:
    """Return the id of a descendant: a base id and the steps down to it."""
    queue_id = base_id(*base)
    for recipient, chunk in path:
        queue_id = child_id(queue_id, recipient, chunk)
    return queue_id


@given(st.tuples(times, inodes), steps, st.tuples(times, inodes), steps)
def test_two_ids_are_the_same_only_when_made_from_the_same(
    base: tuple[int, int], path: list[tuple[int, int]], other: tuple[int, int], other_path: list[tuple[int, int]]
) -> None:
    assert (made(base, path) == made(other, other_path)) == ((base, path) == (other, other_path))


@given(times, inodes, inodes)
def test_no_id_begins_another_one_of_the_same_microsecond(time: int, inode: int, other: int) -> None:
    assert inode == other or not base_id(time, inode).startswith(base_id(time, other))


@given(steps, steps)
def test_what_children_add_can_be_read_without_a_length(
    path: list[tuple[int, int]], other: list[tuple[int, int]]
) -> None:
    begins = made((10**15, 1), path).startswith(made((10**15, 1), other))
    assert begins == (path[: len(other)] == other)


@given(times, inodes, times, inodes)
def test_ids_sort_by_time(time: int, inode: int, later: int, other: int) -> None:
    if time < later:
        assert base_id(time, inode) < base_id(later, other)


@given(times, inodes, steps)
def test_every_id_is_one_that_monitoring_tools_recognise(time: int, inode: int, path: list[tuple[int, int]]) -> None:
    queue_id = made((time, inode), path)
    assert is_queue_id(queue_id) and len(queue_id) >= 10
    assert len(hash_directory(queue_id)) == 2 and queue_id.endswith(hash_directory(queue_id))


def test_other_names_are_no_ids() -> None:
    for name in ("", "ABC", "0123456789abc", "new.4711", "0123456789AB/", "../0123456789", "A" * 201, "0123456789\n"):
        assert not is_queue_id(name), name
