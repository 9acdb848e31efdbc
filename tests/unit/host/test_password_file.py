"""smtp_sasl_password_maps: which lines count, when they are read again, and what is complained about."""

import os

import pytest

from sendmail_py.host.password_file import PasswordFile, PasswordFiles, path_of
from sendmail_py.protocol.sasl import Login

TEXT = """\
# comment
[smtp.example.org]:587\tuser@example.org:pass word:with#everything
Smtp.Example.NET other:second
smtp.example.net other:never
  and-more
broken
@example.org just-a-name
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "sasl_passwd"
    path.write_text(TEXT)
    path.chmod(0o600)
    return path


@pytest.fixture
def warnings():
    return []


@pytest.fixture
def passwords(file, warnings):
    made = PasswordFile(str(file))
    made.refresh(warnings.append)
    return made


def test_a_key_has_its_login_whatever_its_case(passwords):
    assert passwords.look_up("[SMTP.example.org]:587") == Login("user@example.org", "pass word:with#everything")


def test_the_first_of_several_lines_counts(passwords):
    assert passwords.look_up("smtp.example.net") == Login("other", "second")


def test_what_is_not_there_has_none(passwords):
    assert passwords.look_up("smtp.example.org") is None


def test_a_line_without_a_login_is_complained_about_and_one_with_a_bad_login_is_an_error(passwords, warnings):
    assert [w.partition(", ")[2] for w in warnings] == [
        'line 4: duplicate entry "smtp.example.net"',
        "line 6: a key and a value are expected",
    ]
    with pytest.raises(ValueError, match=r"@example\.org: user:password expected") as caught:
        passwords.look_up("@example.org")
    assert "just-a-name" not in str(caught.value)


def test_a_changed_file_is_read_again_and_an_unchanged_one_is_not(file, passwords, warnings):
    warnings.clear()
    passwords.refresh(warnings.append)
    assert warnings == []
    file.with_suffix(".new").write_text("smtp.example.net other:third")
    os.rename(file.with_suffix(".new"), file)
    file.chmod(0o600)
    passwords.refresh(warnings.append)
    assert passwords.look_up("smtp.example.net") == Login("other", "third")


def test_a_file_that_has_gone_is_an_error_and_its_passwords_do_not_stay_unnoticed(file, passwords, warnings):
    file.unlink()
    with pytest.raises(OSError, match="sasl_passwd: No such file or directory"):
        passwords.refresh(warnings.append)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666, 0o610])
def test_a_file_that_others_can_get_at_is_complained_about_once(mode, file):
    warnings = []
    file.chmod(mode)
    passwords = PasswordFile(str(file))
    for _ in range(3):
        passwords.refresh(warnings.append)
    assert [w for w in warnings if f"mode is {mode:04o}" in w] == warnings[-1:]
    assert passwords.look_up("smtp.example.net")


def test_what_is_no_regular_file_is_not_waited_for(tmp_path, warnings):
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError, match="not a regular file"):
        PasswordFile(str(tmp_path / "fifo")).refresh(warnings.append)


def test_several_files_are_asked_in_order_for_each_key(tmp_path, file, warnings):
    other = tmp_path / "other"
    other.write_text("smtp.example.net mine:first\nlast.example.net mine:last\n")
    other.chmod(0o600)
    files = PasswordFiles([f"hash:{other}", f"texthash:{file}"], warnings.append)
    assert files.look_up(["[smtp.example.org]:587", "smtp.example.net"]).user == "user@example.org"
    assert files.look_up(["nowhere.test", "smtp.example.net"]) == Login("mine", "first")
    assert files.look_up(["nowhere.test"]) is None


@pytest.mark.parametrize("text", ["hash:/a/b", "texthash:/a/b", "lmdb:/a/b", "/a/b", "proxy:hash:/a/b"])
def test_text_files_are_named_in_every_customary_way(text):
    assert path_of(text) == "/a/b"


@pytest.mark.parametrize("text", ["static:user:secret", "inline:{x=user:secret}", "sqlite:/a", "hash:relative"])
def test_other_tables_are_refused(text):
    with pytest.raises(ValueError):
        path_of(text)
