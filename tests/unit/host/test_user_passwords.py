"""The password file of the SMTP server's users, and the hashes in it."""

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from sendmail_py.formats.password_lines import changed, check_name, names
from sendmail_py.host.password_hash import is_of, make, normal
from sendmail_py.host.user_passwords import UserPasswords

SHA512 = "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1"
BCRYPT = "$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"
SCRAM = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="  # noqa: E501
RFC_7914 = (
    "$scrypt$ln=10,r=8,p=16$TmFDbA"
    "$/bq+HJ00cgB4VucZDQHp/nxq18vII3gw53N2Y0s3MWIurzDZLiKjiG/xCSedmDDaxyevuUqD7m2DYMvfoswGQA"
)


# --- hashes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hash", "password"),
    [
        (RFC_7914, "password"),
        (SHA512, "Hello world!"),
        ("{SHA512-CRYPT}" + SHA512, "Hello world!"),
        ("$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5", "Hello world!"),
        (BCRYPT, "U*U"),
        ("{CRYPT}" + BCRYPT, "U*U"),
        (SCRAM, "pencil"),
        ("{SCRAM-SHA-256}" + SCRAM[14:].replace(":", ",").replace("$", ","), "pencil"),
    ],
)
def test_hashes_of_other_programs_are_checked(hash: str, password: str) -> None:
    assert is_of(normal(hash), password)
    assert not is_of(normal(hash), password + "x")


@pytest.mark.parametrize("as_scram", [False, True])
def test_a_new_hash_is_that_of_its_password_in_either_form_and_never_the_same_twice(as_scram: bool) -> None:
    hash = make("\u2168 pa\u00df", as_scram)
    assert is_of(hash, "\u2168 pa\u00df") and is_of(hash, "IX pa\u00df") and not is_of(hash, "IX pass")
    assert hash != make("\u2168 pa\u00df", as_scram)
    assert normal(hash) == hash and hash.isascii()


@pytest.mark.parametrize("password", ["", "a\x07b", "\u00ad"])
def test_what_can_be_no_password_gets_no_hash(password: str) -> None:
    with pytest.raises(ValueError):
        make(password, False)


@pytest.mark.parametrize(
    "text",
    [
        "secret", "{PLAIN}secret", "{SSHA}aGFzaA==", "", "$scrypt$", RFC_7914.replace("ln=10", "ln=40"), SCRAM[:-9],
        RFC_7914.replace("r=8", "r=x"), "{SCRAM-SHA-256}4096,x", RFC_7914.replace("$TmFDbA", "$"),
    ],
)  # fmt: skip
def test_what_is_no_hash_is_refused_without_being_repeated(text: str) -> None:
    with pytest.raises(ValueError) as error:
        normal(text)
    assert "secret" not in str(error.value)


def test_a_hash_that_crypt_does_not_know_matches_nothing() -> None:
    with pytest.raises(ValueError, match="crypt"):
        is_of(normal("$nonsense$x$y"), "x")


# --- the file ------------------------------------------------------------------------------------


def opened(
    path: Path, text: str, mode: int = 0o600, is_ours: Callable[[int], bool] = lambda uid: True
) -> UserPasswords:
    path.write_text(text)
    path.chmod(mode)
    passwords = UserPasswords(str(path), is_ours)
    passwords.refresh(lambda fault: None)
    return passwords


def test_lines_are_read_as_dovecot_and_htpasswd_write_them(tmp_path: Path) -> None:
    text = f"# users\n\ntim:{BCRYPT}:1000:1000::/home/tim::\nuser:{SCRAM}:more\njane:!{BCRYPT}\n"
    passwords = opened(tmp_path / "users", text)
    assert passwords.is_password("tim", "U*U") and passwords.is_password("user", "pencil")
    assert not passwords.is_password("jane", "U*U"), "she is locked"
    assert not passwords.is_password("tim", "pencil") and not passwords.is_password("nobody", "U*U")
    assert passwords.mechanisms == ("PLAIN", "LOGIN"), "tim has no SCRAM keys"


def test_scram_is_offered_where_everybody_has_keys(tmp_path: Path) -> None:
    passwords = opened(tmp_path / "users", f"user:{SCRAM}\n")
    assert passwords.mechanisms == ("SCRAM-SHA-256", "PLAIN", "LOGIN")
    assert str(passwords.keys("user")[0]) == SCRAM and passwords.keys("user")[1]


def test_nobody_looks_like_a_user_and_the_same_each_time(tmp_path: Path) -> None:
    passwords = opened(tmp_path / "users", f"user:{SCRAM}\n")
    keys, is_known = passwords.keys("nobody")
    assert not is_known and keys.iterations == 4096 and len(keys.salt) == 16
    assert opened(tmp_path / "users", f"user:{SCRAM}\n").keys("nobody")[0] == keys
    assert passwords.keys("somebody")[0].salt != keys.salt


def test_an_empty_file_lets_nobody_in(tmp_path: Path) -> None:
    passwords = opened(tmp_path / "users", "")
    assert not passwords.is_password("x", "") and not passwords.keys("x")[1]


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o660, 0o602, 0o620])
def test_a_file_that_others_can_get_at_is_not_used(tmp_path: Path, mode: int) -> None:
    with pytest.raises(OSError, match=f"users: its mode is {mode:04o}; 0600 or 0640 is right"):
        opened(tmp_path / "users", f"user:{SCRAM}\n", mode)
    assert opened(tmp_path / "users", f"user:{SCRAM}\n", 0o640).is_password("user", "pencil")


def test_a_file_of_somebody_elses_is_not_used(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=f"it belongs to uid {os.getuid()}"):
        opened(tmp_path / "users", "", is_ours=lambda uid: False)


def test_a_change_counts_at_once_and_a_file_that_is_gone_lets_nobody_in(tmp_path: Path) -> None:
    path = tmp_path / "users"
    passwords = opened(path, f"user:{SCRAM}\n")
    path.write_text(f"tim:{BCRYPT}\n")
    passwords.refresh(lambda fault: None)
    assert passwords.is_password("tim", "U*U") and not passwords.is_password("user", "pencil")
    path.unlink()
    with pytest.raises(OSError, match="No such file"):
        passwords.refresh(lambda fault: None)


def test_a_bad_line_is_told_without_what_is_in_it_and_the_others_count(tmp_path: Path) -> None:
    path = tmp_path / "users"
    path.write_text(f"tim:secret\nuser:{SCRAM}\nhidden\n")
    path.chmod(0o600)
    passwords, faults = UserPasswords(str(path), lambda uid: True), list[str]()
    passwords.refresh(faults.append)
    assert [fault.partition(": ")[0] for fault in faults] == [f"{path}, line 1", f"{path}, line 3"]
    assert "secret" not in str(faults) and "hidden" not in str(faults)
    assert passwords.is_password("user", "pencil")


def test_a_change_of_one_user_leaves_the_other_lines_as_they_are() -> None:
    text = "# users\ntim:x:1:2\n\nuser:y\nnonsense\n"
    assert changed(text, "tim", "z") == "# users\ntim:z\n\nuser:y\nnonsense\n"
    assert changed(text, "new", "z") == text + "new:z\n"
    assert changed(text, "tim", None) == "# users\n\nuser:y\nnonsense\n"
    assert list(names(text)) == ["tim", "user"]


@pytest.mark.parametrize("name", ["", "a:b", "#a", " a", "a ", "a\nb", "a\x00"])
def test_what_a_line_cannot_hold_is_no_name(name: str) -> None:
    with pytest.raises(ValueError):
        check_name(name)


def test_who_logs_in_while_the_file_is_read_again_has_one_whole_answer(tmp_path: Path) -> None:
    """The file has other users each time, and strangers, who cost what some user costs, come from all sides."""
    path = tmp_path / "users"
    passwords = opened(path, f"user0:{SCRAM}\n")
    faults: list[object] = []
    is_over = threading.Event()

    def ask() -> None:
        while not is_over.is_set():
            for number in range(50):
                try:
                    passwords.keys(f"stranger{number}")
                except Exception as error:
                    faults.append(error)

    askers = [threading.Thread(target=ask) for _ in range(3)]
    for asker in askers:
        asker.start()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for number in range(60):
            path.write_text("".join(f"user{number}-{n}:{SCRAM}\n" for n in range(number % 7 + 1)))
            passwords.refresh(lambda fault: None)
    finally:
        sys.setswitchinterval(interval)
        is_over.set()
        for asker in askers:
            asker.join(60)
    assert faults == []
