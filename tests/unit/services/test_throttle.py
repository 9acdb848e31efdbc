"""How soon a service that ended is started again."""

import pytest

from sendmail_py.services import children
from sendmail_py.services.children import Throttle


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the clock that master's children are measured by, as a list of one number."""
    now = [1000.0]
    monkeypatch.setattr(children.time, "monotonic", lambda: now[0])
    return now


def test_a_service_never_started_need_not_wait(clock: list[float]) -> None:
    assert Throttle(60).wait("qmgr") == 0


def test_pauses_grow_up_to_the_longest_while_a_service_keeps_dying(clock: list[float]) -> None:
    throttle = Throttle(5)
    pauses = []
    for _ in range(6):
        throttle.ended("qmgr", ran=0.1, expected=False)
        pauses.append(throttle.wait("qmgr"))
    assert pauses == [0.5, 1, 2, 4, 5, 5]
    assert throttle.wait("local") == 0
    clock[0] += 4
    assert throttle.wait("qmgr") == 1
    clock[0] += 100
    assert throttle.wait("qmgr") == 0


@pytest.mark.parametrize(("ran", "expected"), [(3600.0, False), (0.1, True)])
def test_a_steady_run_or_an_expected_end_starts_the_pauses_anew(clock: list[float], ran: float, expected: bool) -> None:
    throttle = Throttle(60)
    for _ in range(3):
        throttle.ended("smtp", ran=0.1, expected=False)
    throttle.ended("smtp", ran, expected)
    assert throttle.wait("smtp") == 0
    throttle.ended("smtp", ran=0.1, expected=False)
    assert throttle.wait("smtp") == 0.5
