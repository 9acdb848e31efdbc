"""pickup's rules: who may submit, and how much; what sendmail(1) and the next pickup are told."""

import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from sendmail_py.core.config import Config, Setting
from sendmail_py.core.exitcodes import EX_TEMPFAIL, EX_UNAVAILABLE
from sendmail_py.host.users import UidCache, User
from sendmail_py.services.pickup import Pickup
from sendmail_py.spool.blocked import blocked_until
from sendmail_py.spool.layout import BLOCKED, INCOMING, MAILDROP
from sendmail_py.spool.maildrop import Drop
from sendmail_py.spool.message_file import read_message
from sendmail_py.spool.store import Store
from tests.unit.services.test_pickup import Played, lines, submitted

MALLORY = 65534 if os.getuid() == 0 else os.getuid()

MakePickup = Callable[..., Pickup]


@pytest.fixture
def make(store: Store, tmp_path: Path) -> MakePickup:
    """Return a function that makes a pickup with these parameters, as after a start."""
    (tmp_path / "data").mkdir()

    def make_pickup(**values: str) -> Pickup:
        values = {
            "queue_directory": store.top,
            "data_directory": f"{tmp_path}/data",
            "run_directory": f"{store.top}/nowhere",
            "myorigin": "example.org",
            "myhostname": "mx.example.org",
        } | values
        config = Config({name: Setting(text, "test") for name, text in values.items()})
        pickup = Pickup(Played(config))
        pickup.users = pickup.admission._users = cast(UidCache, Users())
        pickup.admission.publish()
        return pickup

    return make_pickup


class Users:
    """A user data base with one user."""

    def find(self, uid: int) -> User | None:
        """Look a user up."""
        if uid != MALLORY:
            return None
        return User("mallory", uid, uid, "/home/mallory", "/bin/sh", "")


def drop(store: Store, *recipients: str) -> str:
    """Submit a message as mallory; returns the name of the file."""
    name = submitted(store, *recipients)
    if os.getuid() == 0:
        os.chown(f"{store.top}/{MAILDROP}/{name}", MALLORY, -1)
    return name


def take_all(pickup: Pickup, count: int, *recipients: str) -> int:
    """Submit so many messages; returns how many came into the queue."""
    before = len(queued(pickup))
    for _ in range(count):
        pickup.take(drop(pickup.store, *recipients), from_scan=False)
    return len(queued(pickup)) - before


def queued(pickup: Pickup) -> list[str]:
    return [queue_id for queue_id, _ in pickup.store.entries(INCOMING)]


def warnings(pickup: Pickup) -> list[str]:
    return [line for line in lines(pickup) if line.startswith("warning: ") and "qmgr cannot be told" not in line]


# --- authorized_submit_users -------------------------------------------------------------------


def test_a_file_of_a_user_who_may_not_submit_is_left_alone_and_logged_once(make: MakePickup, store: Store) -> None:
    pickup = make(authorized_submit_users="!mallory, static:all")
    name = drop(store)
    for from_scan in (False, True, True):
        pickup.take(name, from_scan)
    assert queued(pickup) == []
    assert lines(pickup) == [
        f"warning: {MAILDROP}/{name} is left alone: User mallory({MALLORY}) is not allowed to submit mail, "
        "by authorized_submit_users"
    ]
    make().take(name, from_scan=True)  # when the list allows him again
    assert len(queued(pickup)) == 1


def test_a_list_in_a_file_that_cannot_be_read_lets_mail_wait(make: MakePickup, tmp_path: Path) -> None:
    pickup = make(authorized_submit_users=f"{tmp_path}/users")
    assert take_all(pickup, 1) == 0
    assert warnings(pickup)[0].endswith("No such file or directory; it waits")
    (tmp_path / "users").write_text("# them\nmallory\n")
    pickup.scan()
    assert len(queued(pickup)) == 1


def test_who_hands_over_a_message_is_refused_by_the_same_rules(make: MakePickup) -> None:
    answer = make(authorized_submit_users="alice").admission.refusal(MALLORY)
    assert answer and (answer.code, answer.text) == (
        EX_UNAVAILABLE,
        f"User mallory({MALLORY}) is not allowed to submit mail",
    )
    answer = make(authorized_submit_users="alice").admission.refusal(MALLORY + 1)
    assert answer and answer.text == f"User unknown({MALLORY + 1}) is not allowed to submit mail"
    assert make(authorized_submit_users="unknown").admission.refusal(MALLORY + 1) is None
    pickup = make(local_submission_rate_limit="1")
    assert pickup.admission.refusal(MALLORY) is None and take_all(pickup, 1) == 1
    answer = pickup.admission.refusal(MALLORY)
    assert answer and answer.code == EX_TEMPFAIL and "local_submission_rate_limit = 1 " in answer.text


# --- local_submission_rate_limit -----------------------------------------------------------------


def test_over_the_limit_files_wait_and_that_is_logged_once_and_published(make: MakePickup, store: Store) -> None:
    pickup = make(local_submission_rate_limit="2/10")
    assert take_all(pickup, 5) == 2
    pickup.scan()
    assert len(queued(pickup)) == 2
    (line,) = warnings(pickup)
    assert f"uid {MALLORY} has reached local_submission_rate_limit = 2/10 (messages/recipients an hour) until " in line
    until = blocked_until(store.top, MALLORY)
    assert time.time() + 3500 < until <= time.time() + 3600
    status = os.lstat(f"{store.top}/{MAILDROP}/{BLOCKED}")
    assert stat.S_IMODE(status.st_mode) == 0o644 and status.st_uid == os.getuid()


def test_when_the_hour_is_over_what_waited_comes_in_and_nobody_is_blocked(
    make: MakePickup, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    pickup = make(local_submission_rate_limit="2")
    assert take_all(pickup, 4) == 2
    assert 0 < pickup.admission.next_opening() <= 3600
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 3601)
    pickup.admission.publish()
    assert not os.path.lexists(f"{store.top}/{MAILDROP}/{BLOCKED}")
    assert pickup.admission.next_opening() == 0
    pickup.scan()
    assert len(queued(pickup)) == 4


def test_a_message_with_more_recipients_than_an_hour_allows_bounces(make: MakePickup, store: Store) -> None:
    pickup = make(local_submission_rate_limit="0/3")
    assert take_all(pickup, 1, "a", "b", "c", "d") == 1
    (queue_id,) = queued(pickup)
    e = read_message(store.path(INCOMING, queue_id))
    assert e.refused == "5.5.3 4 recipients are more than local_submission_rate_limit = 0/3 ever allows"
    assert take_all(pickup, 1, "a", "b", "c") == 1


@pytest.mark.parametrize("orderly", [True, False])
def test_counts_survive_an_orderly_restart_and_who_is_blocked_stays_so_after_any(
    make: MakePickup, store: Store, orderly: bool
) -> None:
    pickup = make(local_submission_rate_limit="2")
    assert take_all(pickup, 1) == 1
    if orderly:
        pickup.admission.keep()
        pickup = make(local_submission_rate_limit="2")
    assert take_all(pickup, 2) == 1
    again = make(local_submission_rate_limit="2")
    assert take_all(again, 1) == 0 and blocked_until(store.top, MALLORY)
    assert take_all(make(local_submission_rate_limit="9"), 1) == 1
    assert not blocked_until(store.top, MALLORY)


def test_a_limit_that_is_taken_away_leaves_no_file_behind(make: MakePickup, store: Store) -> None:
    take_all(make(local_submission_rate_limit="1"), 1)
    assert blocked_until(store.top, MALLORY)
    pickup = make()
    assert not os.path.lexists(f"{store.top}/{MAILDROP}/{BLOCKED}")
    assert take_all(pickup, 3) == 3


def test_what_another_has_put_in_the_place_of_the_file_is_replaced_or_logged(make: MakePickup, store: Store) -> None:
    path = Path(f"{store.top}/{MAILDROP}/{BLOCKED}")
    path.symlink_to("/etc/passwd")
    pickup = make(local_submission_rate_limit="1")
    take_all(pickup, 1)
    assert path.is_file() and not path.is_symlink() and blocked_until(store.top, MALLORY)
    path.unlink()
    path.mkdir()
    pickup = make(local_submission_rate_limit="1")
    assert take_all(pickup, 1) == 0
    assert "users over the limit are not told" in warnings(pickup)[0]
    assert os.listdir(f"{store.top}/tmp") == []


def test_a_torn_file_of_counts_is_passed_over(make: MakePickup, tmp_path: Path) -> None:
    (tmp_path / "data/submissions").write_text("1 2 3\nx y z w\n\n")
    assert take_all(make(local_submission_rate_limit="1"), 2) == 1


def test_with_no_limit_nothing_is_written(make: MakePickup, store: Store, tmp_path: Path) -> None:
    pickup = make()
    assert take_all(pickup, 3) == 3
    pickup.admission.keep()
    assert os.listdir(tmp_path / "data") == []
    assert BLOCKED not in os.listdir(f"{store.top}/{MAILDROP}")


def test_a_file_being_written_is_not_counted(make: MakePickup, store: Store) -> None:
    pickup = make(local_submission_rate_limit="1")
    unfinished = Drop(store.top)
    pickup.take(unfinished.name, from_scan=False)
    assert take_all(pickup, 1) == 1
