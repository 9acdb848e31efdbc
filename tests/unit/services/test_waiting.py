"""Who waits for the first pass of a message: until when, for what comes of it too, and never twice."""

from hypothesis import given
from hypothesis import strategies as st

from sendmail_py.services import waiting
from sendmail_py.services.waiting import Later, Waiting


def begin(made: Waiting, *ids: str) -> tuple[Later, list[str]]:
    """Begin to wait; the list gets an entry when it is time."""
    told: list[str] = []
    later = made.add(ids)
    assert later is not None
    later.ready = lambda: told.append("now")
    return later, told


def test_the_end_of_the_pass_is_what_is_waited_for() -> None:
    made = Waiting()
    _, told = begin(made, "A")
    made.ended("B")
    assert told == []
    made.ended("A")
    made.ended("A")
    assert told == ["now"]


def test_a_pass_whose_end_could_not_be_written_goes_on() -> None:
    made = Waiting()
    _, told = begin(made, "A")
    made.ended("A", ["A88"], is_over=False)
    made.ended("A88")
    assert told == []
    made.ended("A")
    assert told == ["now"]


def test_children_and_their_children_are_waited_for() -> None:
    made = Waiting()
    _, told = begin(made, "A")
    made.ended("A", ["A88", "A89"])
    made.ended("A89")
    made.ended("A88", ["A8888"])
    assert told == []
    made.ended("A8888")
    assert told == ["now"]


def test_several_wait_for_one_message() -> None:
    made = Waiting()
    told = [begin(made, "A")[1] for _ in range(3)]
    made.ended("A", ["A88"])
    made.ended("A88")
    assert told == [["now"]] * 3


def test_who_has_left_is_told_nothing_and_makes_room() -> None:
    made = Waiting()
    begun = [begin(made, "A", f"B{n}") for n in range(waiting._MOST)]
    assert made.add(["C"]) is None
    for later, _ in begun:
        later.over()
        later.over()
    made.ended("A")
    assert not any(told for _, told in begun)
    assert made.add(["C"]) is not None


@given(st.lists(st.tuples(st.sampled_from("ABC"), st.lists(st.sampled_from("ABCD"), max_size=2), st.booleans())))
def test_whatever_ends_in_whatever_order_everybody_is_told_once_when_all_is_over(
    events: list[tuple[str, list[str], bool]],
) -> None:
    made = Waiting()
    later, told = begin(made, "A")
    for queue_id, children, is_over in events:
        before = set(later.open)
        made.ended(queue_id, children, is_over)
        if queue_id in before:
            assert later.open == (before | set(children)) - ({queue_id} if is_over else set())
        else:
            assert later.open == before
        assert len(told) == (not later.open)
    for queue_id in list(later.open):
        made.ended(queue_id)
    assert told == ["now"]
