"""The plain submission writes what sendmail.py would have written, and leaves to it what is not plain."""

import posix
import re
import subprocess
import sys
from pathlib import Path

import pytest

from sendmail_py.commands import plain

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
from sendmail_py.commands import {0}
{0}.main(["sendmail", *sys.argv[2:]])
print("left")
"""
PLAIN = [
    ["-i", "bob@example.net"],
    ["-i", "-f", "alice@example.org", "bob@example.net"],
    ["-oi", "-ralice@example.org", "--", "bob", "carol@example.net"],
    ["-i", "-FCronDaemon", "-B8BITMIME", "-oem", "root"],
    ["-bm", "-i", "-om", '-FJ\u00fcrgen "x" <y>', "a+b/c=d@Example.NET", "|x"],
]
NOT_PLAIN = [
    ["bob"],
    ["-i"],
    ["-i", "-t"],
    ["-it", "bob"],
    ["-i", "-v", "bob"],
    ["-i", "-odq", "bob"],
    ["-i", "-C/etc", "bob"],
    ["-i", "-f", "", "bob"],
    ["-i", "-f"],
    ["-i", "-o", "i", "bob"],
    ["-i", "-bp"],
    ["-i", "-bv", "bob"],
    ["-i", "-N", "never", "bob"],
    ["-i", "-B7bit", "bob"],
    ["-i", "-F", "Bob", "bob"],
    ["-i", "bob@Example.net", "bob@example.NET"],
    *(
        ["-i", text]
        for text in (".b@x", "b.@x", "a..b@x", "b.", "<b@x>", "a@x, b@y", "a b", "a@", "@x", "a@b@c", "a@.x")
    ),
    *(["-i", text] for text in ("a@x.", '"a b"@x', "\\\\bob", "b\u00f6b@x", "(c) b@x", "group:;")),
]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Return a configuration directory with a spool in it."""
    for name in ("queue", "queue/incoming", "queue/maildrop"):
        (tmp_path / name).mkdir()
    (tmp_path / "queue/maildrop").chmod(0o3733)
    (tmp_path / "main.cf").write_text("queue_directory = $config_directory/queue\n")
    return tmp_path


def written(directory: Path, module: str, words: list[str], text: bytes) -> tuple[str, bytes]:
    """Submit by one of the modules, and return what it says and the file, without time and process id."""
    command = [sys.executable, "-IS", "-c", PROGRAM.format(module), str(ROOT), *words]
    environment = {"MAIL_CONFIG": str(directory), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, input=text, capture_output=True, env=environment, timeout=60, check=True)
    data = b""
    for file in (directory / "queue").glob("maildrop/*"):
        data = re.sub(rb"(?m)^arrived: .*$|pid=\d+", b"", file.read_bytes())
        file.unlink()
    return done.stdout.decode(), data


@pytest.mark.parametrize("words", PLAIN)
def test_a_plain_submission_is_written_as_any_other(directory: Path, words: list[str]) -> None:
    text = b"Subject: x\n\n.\nhello \xff\n"
    said, data = written(directory, "plain", words, text)
    assert said == "" and b"\nto: [ ] <" in data and data.endswith(b"\n\n" + text)
    assert ("", data) == written(directory, "sendmail", words, text)


def test_an_empty_message_is_plain_too(directory: Path) -> None:
    assert written(directory, "plain", ["-i", "bob"], b"") == written(directory, "sendmail", ["-i", "bob"], b"")


@pytest.mark.parametrize("words", NOT_PLAIN)
def test_what_needs_thought_is_left_alone(words: list[str]) -> None:
    assert plain.read_words(words) is None


@pytest.mark.parametrize("name", ["mailq", "newaliases", "rmail.sendmail-py"])
def test_another_name_means_something_else(name: str) -> None:
    assert plain.main([f"/usr/bin/{name}", "-i", "bob"]) == b""


@pytest.mark.parametrize(
    "line",
    [
        "authorized_submit_users = root",
        "local_submission_rate_limit = 10",
        "daemonless = yes",
        "message_size_limit = 10 MB",
        "queue_minfree = much",
    ],
)
def test_rules_and_mistakes_in_main_cf_are_left_alone_too(
    directory: Path, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open(directory / "main.cf", "a") as file:
        file.write(line + "\n")
    monkeypatch.setitem(posix.environ, b"MAIL_CONFIG", bytes(directory))  # type: ignore[misc]
    assert plain.main(["sendmail", "-i", "bob"]) == b""


def test_a_message_over_the_limit_is_left_with_what_has_been_read(directory: Path) -> None:
    with open(directory / "main.cf", "a") as file:
        file.write("message_size_limit = 1000\n")
    said, data = written(directory, "plain", ["-i", "bob"], b"x" * 1001)
    assert (said, data) == ("left\n", b"")


def test_a_spool_that_is_not_there_is_left_to_the_submit_socket(directory: Path) -> None:
    (directory / "queue/maildrop").rmdir()
    assert written(directory, "plain", ["-i", "bob"], b"x\n") == ("left\n", b"")
