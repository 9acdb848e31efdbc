"""Who may ask qmgr what."""

import os
from pathlib import Path

import pytest

from sendmail_py.core.config import Config, Setting
from sendmail_py.host.users import UidCache
from sendmail_py.services.permissions import Permissions, denial

STRANGER = 4_000_000_000  # no machine has this uid


def permissions(**values: str) -> Permissions:
    return Permissions(Config({name: Setting(text, "test") for name, text in values.items()}), ["wait"])


@pytest.mark.parametrize("verb", ["list", "count", "flush", "wait"])
def test_everybody_may_look_and_flush_unless_a_list_says_otherwise(verb: str) -> None:
    assert permissions().refusal(verb, STRANGER) is None


@pytest.mark.parametrize("verb", ["incoming", "hold", "release", "anything", ""])
def test_what_is_on_no_list_is_roots(verb: str) -> None:
    assert permissions().refusal(verb, STRANGER) == {"error": f"{verb}: permission denied", "denied": True}
    assert permissions().refusal(verb, 0) is None
    assert permissions().refusal(verb, os.getuid()) is None


def test_each_list_is_asked_for_its_own_verbs_and_never_for_root() -> None:
    rules = permissions(authorized_mailq_users="", authorized_flush_users="static:all")
    for verb in ("list", "count"):
        assert rules.refusal(verb, STRANGER) == {
            "error": f"User unknown({STRANGER}) is not allowed to view the mail queue",
            "unlisted": True,
        }
        assert rules.refusal(verb, 0) is None
    assert rules.refusal("flush", STRANGER) is None
    rules = permissions(authorized_flush_users="!unknown static:all")
    refusal = rules.refusal("flush", STRANGER)
    assert refusal and refusal["error"] == f"User unknown({STRANGER}) is not allowed to flush the mail queue"
    assert rules.refusal("list", STRANGER) is None


def test_a_list_that_cannot_be_read_refuses_and_says_why(tmp_path: Path) -> None:
    rules = permissions(authorized_mailq_users=f"{tmp_path}/gone")
    refusal = rules.refusal("list", STRANGER)
    assert refusal and "authorized_mailq_users cannot be checked now" in str(refusal["error"])
    (tmp_path / "gone").write_text("unknown\n")
    assert rules.refusal("list", STRANGER) is None


def test_a_list_for_everybody_looks_nobody_up() -> None:
    def look_up(uid: int) -> None:
        raise OSError("the name service is down")

    users = UidCache(look_up)
    assert denial(["static:anyone"], STRANGER, users, "submit mail") == ""
    with pytest.raises(OSError, match="down"):
        denial(["!www", "static:anyone"], STRANGER, users, "submit mail")
