"""The log: one line a text, whatever the text holds, and never silently nowhere."""

import os
import re
import socket
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


def test_lines_go_to_syslog_with_the_priority_of_the_facility(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syslog, "_SOCKET_PATH", f"{tmp_path}/log")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.settimeout(20)
        end.bind(f"{tmp_path}/log")
        log = Log("sendmail-py", "smtp", facility="local3")
        log.lines(["one", "two"])
        assert end.recv(1000).startswith(b"<158>") and end.recv(1000).endswith(b": two")
    os.unlink(f"{tmp_path}/log")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:  # syslogd was started again
        end.settimeout(20)
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
