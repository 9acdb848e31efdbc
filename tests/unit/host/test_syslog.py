"""The log: one line a text, whatever the text holds, and never silently nowhere."""

import json
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sendmail_py.host import syslog
from sendmail_py.host.syslog import Log, escape


@given(st.text(st.characters(categories=["Cc", "Cs", "Zl", "Zp", "Lu", "Zs", "Cf", "So"])))
def test_an_escaped_text_is_one_line_of_utf_8_without_controls(text: str) -> None:
    written = escape(text)
    assert all(c.isprintable() or c == "\u00a0" for c in written)
    assert len(written.splitlines()) <= 1
    written.encode("utf-8")


def test_printable_text_stays_and_the_rest_becomes_octets() -> None:
    assert escape("j\u00f6rg \u00a0x \\ \u65e5\u672c") == "j\u00f6rg \u00a0x \\ \u65e5\u672c"
    assert escape("a\r\nb\0\x1b[2J\x7f\x85") == "a\\x0d\\x0ab\\x00\\x1b[2J\\x7f\\xc2\\x85"
    assert escape("a\udcffb") == "a\\xffb"


def test_half_a_character_that_json_can_name_does_not_stop_the_log() -> None:
    assert escape("a\ud800b\udfff") == "a\\ud800b\\udfff"


def test_lines_go_to_the_file_in_order_each_with_time_host_and_process(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path / "maillog", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    try:
        log = Log("sendmail-py", "qmgr", file_descriptor=descriptor)
        log.lines(["ABC: one", "ABC: two\nforged: line"])
        log.warning("three")
        log.error("four")
    finally:
        os.close(descriptor)
    lines = (tmp_path / "maillog").read_text().splitlines()
    shape = rf"[A-Z][a-z]{{2}} [ \d]\d \d\d:\d\d:\d\d \S+ sendmail-py/qmgr\[{os.getpid()}\]: (.*)"
    assert [re.fullmatch(shape, line)[1] for line in lines] == [  # type: ignore[index]
        "ABC: one",
        "ABC: two\\x0aforged: line",
        "warning: three",
        "error: four",
    ]


def test_after_a_rotation_the_descriptor_of_the_log_is_of_the_new_file_and_of_no_other(tmp_path: Path) -> None:
    old, new = (os.open(tmp_path / name, os.O_CREAT | os.O_WRONLY | os.O_APPEND) for name in ("old", "new"))
    log = Log("sendmail-py", "smtpd", file_descriptor=old)
    log.move_to(new)
    other = os.open(tmp_path / "message", os.O_CREAT | os.O_WRONLY)
    os.write(old, b"what a thread was about to write\n")
    log.renamed("sendmail-py/submission", "smtpd").info("later")
    assert (tmp_path / "old").read_bytes() == (tmp_path / "message").read_bytes() == b""
    assert [line.split()[-1] for line in (tmp_path / "new").read_text().splitlines()] == ["write", "later"]
    assert not os.get_inheritable(old)
    for descriptor in (old, other):
        os.close(descriptor)


def test_lines_go_to_syslog_with_the_priority_of_the_facility(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syslog, "_SOCKET_PATH", f"{tmp_path}/log")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.settimeout(60)
        end.bind(f"{tmp_path}/log")
        log = Log("sendmail-py", "smtp", facility="local3")
        log.lines(["one", "two"])
        assert end.recv(1000).startswith(b"<158>") and end.recv(1000).endswith(b": two")
    os.unlink(f"{tmp_path}/log")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:  # syslogd was started again
        end.settimeout(60)
        end.bind(f"{tmp_path}/log")
        log.info("three")
        assert end.recv(1000).endswith(b": three")


def test_without_syslog_lines_go_to_stderr(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(syslog, "_SOCKET_PATH", f"{tmp_path}/nowhere")
    Log("sendmail-py", "qmgr").info("is it seen?")
    assert capfd.readouterr().err.endswith(": is it seen?\n")


def test_a_log_file_that_cannot_be_written_does_not_swallow_the_line(capfd: pytest.CaptureFixture[str]) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        Log("sendmail-py", "qmgr", file_descriptor=full).info("is it seen?")
    finally:
        os.close(full)
    assert capfd.readouterr().err.endswith(": is it seen?\n")


# --- what programs read ------------------------------------------------------------------------------


def test_as_json_each_line_is_an_object_with_time_process_and_values(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path / "maillog", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    try:
        log = Log("sendmail-py", "smtp", file_descriptor=descriptor, log_format="json")
        log.lines(['6615B08B52681211: to=<b\xf6b@x>, relay=none, delay=0.1, dsn=2.0.0, status=sent (250 "ok"\n)'])
        log.warning("odd")
    finally:
        os.close(descriptor)
    first, second = map(json.loads, (tmp_path / "maillog").read_text().splitlines())
    assert (first["to"], first["status"], first["text"]) == ("b\xf6b@x", "sent", '250 "ok"\\x0a')
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", first["time"])
    assert (second["level"], second["service"], second["pid"]) == ("warning", "smtp", os.getpid())


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A log daemon's socket; it reads only when a test does."""
    monkeypatch.setattr(syslog, "_SOCKET_PATH", f"{tmp_path}/log")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.settimeout(60)
        end.bind(f"{tmp_path}/log")
        yield end


def test_to_journald_a_line_goes_with_its_values_as_fields(
    daemon: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(syslog, "_OF_JOURNALD", str(tmp_path))
    monkeypatch.setattr(syslog, "_JOURNAL_PATH", f"{tmp_path}/log")
    Log("sendmail-py", "smtp").lines(
        ["6615B08B52681211: to=<b@x>, delay=1, delays=0.1/0/0/1, status=bounced (no\nPRIORITY=0)"]
    )
    fields = dict(line.split("=", 1) for line in daemon.recv(4000).decode().splitlines())
    assert fields["MESSAGE"].startswith("6615B08B52681211: to=<b@x>")
    assert (fields["PRIORITY"], fields["SYSLOG_FACILITY"], fields["SYSLOG_IDENTIFIER"]) == (
        "6",
        "2",
        "sendmail-py/smtp",
    )
    assert (fields["MAIL_TO"], fields["MAIL_STATUS"], fields["MAIL_DELAYS"]) == ("b@x", "bounced", "0.1/0.0/0.0/1.0")


def test_severities_are_those_of_the_lines(daemon: socket.socket) -> None:
    log = Log("sendmail-py", "smtp")
    log.info("one")
    log.warning("two")
    log.error("three")
    assert [daemon.recv(1000).partition(b">")[0] for _ in range(3)] == [b"<22", b"<20", b"<19"]


def test_a_daemon_that_takes_nothing_holds_up_nobody_and_gets_the_lines_later(daemon: socket.socket) -> None:
    log = Log("sendmail-py", "smtp")
    count = 1500
    for number in range(count):  # with a blocking socket this would never end
        log.info(f"line {number}")
    got: list[int] = []
    while len(got) < count:
        got.append(int(daemon.recv(1000).rpartition(b" ")[2]))
        log.lines([])
    assert got == list(range(count))


def test_beyond_the_limit_the_oldest_lines_go_and_a_line_says_how_many(daemon: socket.socket) -> None:
    log = Log("sendmail-py", "smtp")
    count = 5000
    for number in range(count):
        log.info(f"line {number}")
    got = [daemon.recv(1000)]
    while not got[-1].endswith(b"line %d" % (count - 1)):
        log.lines([])
        got.append(daemon.recv(1000))
    (notice,) = (line for line in got if b"warning" in line)
    lost = int(re.search(rb"not taken (\d+) lines", notice)[1])  # type: ignore[index]
    assert len(got) - 1 + lost == count


def test_what_a_daemon_had_not_taken_when_it_ended_goes_to_stderr(
    daemon: socket.socket, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    log = Log("sendmail-py", "smtp")
    for number in range(1000):
        log.info(f"line {number}")
    os.unlink(tmp_path / "log")
    daemon.close()
    log.info("the last")
    told = capfd.readouterr().err.splitlines()
    assert len(told) > 100 and told[-1].endswith("the last") and told[-2].endswith("line 999")
