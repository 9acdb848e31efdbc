"""Tables on a real disk and behind real sockets: found, not found, and what cannot be told now."""

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sendmail_py.formats.tables import TableError
from sendmail_py.host import patterns, socketmap
from sendmail_py.host.tables import Tables, check_tables
from tests.integration.instance import ROOT, is_alive
from tests.servers.socketmap_server import SocketmapServer


def tables(*names: object) -> Tables:
    faults: list[str] = []
    return Tables(map(str, names), faults.append)


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text"
    path.write_text("a.test one\n")
    return path


def test_a_text_table_is_read_again_when_it_changes(text: Path) -> None:
    found = tables(f"hash:{text}")
    assert (found.look_up("A.test"), found.look_up("b.test")) == ("one", None)
    text.write_text("a.test other\nb.test two\n")
    assert (found.look_up("a.test"), found.look_up("b.test")) == ("other", "two")


def test_the_first_table_that_has_a_key_decides(text: Path) -> None:
    found = tables("inline:{a.test=first, {c.test = second x}}", f"lmdb:{text}", "static:{the rest}")
    assert [found.look_up(key) for key in ("a.test", "c.test", "d.test")] == ["first", "second x", "the rest"]


def test_a_table_that_is_not_there_is_an_error_that_names_it_also_behind_others(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=f"hash:{tmp_path}/missing: No such file"):
        tables("inline:{a=b}", f"hash:{tmp_path}/missing").look_up("x")


@pytest.mark.parametrize("end", ["db", "lmdb", "cdb"])
def test_a_table_of_which_only_the_compiled_form_is_there_is_an_error_that_says_so(tmp_path: Path, end: str) -> None:
    (tmp_path / f"transport.{end}").write_bytes(b"\0\1")
    with pytest.raises(TableError, match=f"compiled form {tmp_path}/transport.{end} is there; the text"):
        tables(f"hash:{tmp_path}/transport").look_up("x")


def test_a_fifo_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for kind in ("hash", "regexp", "cidr", "sqlite"):
        with pytest.raises(TableError, match="not a regular file"):
            tables(f"{kind}:{tmp_path}/fifo").look_up("x")


def test_faults_of_a_text_table_are_told_once_and_its_other_lines_count(text: Path) -> None:
    text.write_text("lonely\na.test one\n")
    faults: list[str] = []
    found = Tables([f"hash:{text}"], faults.append)
    assert [found.look_up("a.test"), found.look_up("a.test")] == ["one", "one"]
    assert faults == [f"{text}, line 1: a key and a value are expected"]


def test_patterns_and_networks_are_asked_for_whole_keys_alone(tmp_path: Path, text: Path) -> None:
    (tmp_path / "patterns").write_text("/^(.*)@a\\.test$/ $1@b.test\n/a/ any\n")
    (tmp_path / "networks").write_text("192.0.2.0/24 net\n")
    found = tables(f"pcre:{tmp_path}/patterns", f"cidr:{tmp_path}/networks", f"hash:{text}")
    assert found.look_up("bob@a.test") == "bob@b.test" and found.look_up("192.0.2.3") == "net"
    assert found.look_up("a.test", partial=True) == "one"


def test_several_keys_are_asked_together(tmp_path: Path) -> None:
    (tmp_path / "patterns").write_text("/^x/ first\n")
    found = tables(f"regexp:{tmp_path}/patterns", "inline:{b=second}")
    assert found.look_up_all(["x1", "b", "c"]) == ["first", "second", None]


def test_a_pattern_table_with_a_fault_says_nothing_of_any_key(tmp_path: Path) -> None:
    (tmp_path / "patterns").write_text("/a/ x\n/unclosed\n")
    with pytest.raises(TableError, match="patterns, line 2"):
        tables(f"regexp:{tmp_path}/patterns").look_up("a")


def test_a_pattern_that_takes_for_ever_is_ended_and_the_table_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patterns, "SECONDS", 0.5)
    monkeypatch.setattr("sendmail_py.host.tables.SHARED", patterns.Patterns())
    (tmp_path / "patterns").write_text("/^(a+)+$/ x\n")
    found = tables(f"pcre:{tmp_path}/patterns")
    for _ in range(2):  # the second time nobody waits for it
        with pytest.raises(TableError, match=r"a pattern (takes|has taken) too long"):
            found.look_up("a" * 60 + "!")
    assert found.look_up("aaa") == "x"
    (tmp_path / "patterns").write_text("/^(a+)+$/ other\n")
    assert found.look_up("aaa") == "other"


def test_a_pattern_process_that_was_killed_is_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = patterns.Patterns()
    monkeypatch.setattr("sendmail_py.host.tables.SHARED", shared)
    (tmp_path / "patterns").write_text("/a/ x\n")
    found = tables(f"pcre:{tmp_path}/patterns")
    assert found.look_up("a") == "x"
    assert shared._process is not None
    shared._process.kill()
    shared._process.wait(60)
    assert found.look_up("a") == "x"


def test_patterns_without_their_process_are_an_error_that_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sendmail_py.host.tables.SHARED", patterns.Patterns())
    monkeypatch.setattr("sys.executable", "/bin/false")
    (tmp_path / "patterns").write_text("/a/ x\n")
    for _ in range(2):
        with pytest.raises(TableError, match=r"the process .* has ended \(status 1\)"):
            tables(f"pcre:{tmp_path}/patterns").look_up("a")


def test_the_process_of_patterns_ends_with_who_has_started_it(tmp_path: Path) -> None:
    (tmp_path / "patterns").write_text("/^(a+)+$/ x\n")
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from sendmail_py.host import patterns, tables\n"
        "found = tables.Tables([sys.argv[2]], print)\n"
        "assert found.look_up('a') == 'x'\n"
        "print(patterns.SHARED._process.pid, flush=True)\n"
        "found.look_up('a' * 60 + '!')\n"
    )
    command = [sys.executable, "-c", script, str(ROOT), f"pcre:{tmp_path}/patterns"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        worker = int(process.stdout.readline())
        process.kill()  # in the midst of a question that has no end
    end = time.monotonic() + 60
    while is_alive(worker):
        assert time.monotonic() < end, "the process of patterns lives on"
        time.sleep(0.02)


def test_an_sqlite_database_is_asked(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "db") as connection:
        connection.execute("CREATE TABLE t (k TEXT, v TEXT)")
        connection.executemany("INSERT INTO t VALUES (?, ?)", [("a.test", "one"), ("two", "x"), ("two", "y")])
    connection.close()
    (tmp_path / "t.cf").write_text(f"dbpath = {tmp_path}/db\nquery = SELECT v FROM t WHERE k = '%s'\n")
    found = tables(f"sqlite:{tmp_path}/t.cf")
    assert [found.look_up(key) for key in ("A.test", "two", "x'y")] == ["one", "x,y", None]


def test_a_key_that_a_pattern_took_too_long_over_costs_that_time_once(tmp_path: Path) -> None:
    (tmp_path / "t").write_text("/^(a+)+$/ x\n")
    found = tables(f"regexp:{tmp_path}/t")
    with pytest.raises(TableError, match="takes too long over this key"):
        found.look_up("a" * 40 + "!")
    with pytest.raises(TableError, match="has taken too long over this key a short while ago"):
        found.look_up("a" * 40 + "!")
    assert found.look_up("aa") == "x"


def test_a_database_that_takes_too_long_cannot_be_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sendmail_py.host.sqlite.SECONDS", 0.2)
    sqlite3.connect(tmp_path / "db").close()
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50000000) SELECT max(i) FROM n"
    (tmp_path / "t.cf").write_text(f"dbpath = {tmp_path}/db\nquery = {endless} WHERE '%s' <> ''\n")
    with pytest.raises(TableError, match="interrupted"):
        tables(f"sqlite:{tmp_path}/t.cf").look_up("key")


@pytest.fixture(params=["inet", "unix"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[SocketmapServer, str]]:
    """Return a socketmap server, and the beginning of its table's name."""
    path = str(tmp_path / "socket") if request.param == "unix" else ""
    with SocketmapServer({"m a b": "OK it is", "m bad": "TEMP not now", "m drop": "DROP", "m n": "NOISE"}, path) as it:
        yield it, f"socketmap:unix:{path}:m" if path else f"socketmap:inet:127.0.0.1:{it.port}:m"


def test_a_socketmap_is_asked_over_one_connection(server: tuple[SocketmapServer, str]) -> None:
    it, name = server
    found = tables(name)
    assert [found.look_up(key) for key in ("a b", "other", "a b")] == ["it is", None, "it is"]
    assert it.questions == ["m a b", "m other", "m a b"] and it.connections == 1


def test_a_socketmap_that_has_closed_the_connection_is_asked_again(server: tuple[SocketmapServer, str]) -> None:
    it, name = server
    found = tables(name)
    assert found.look_up("a b") == "it is"
    it.drop_all()
    assert found.look_up("a b") == "it is" and it.connections == 2


@pytest.mark.parametrize("key", ["bad", "drop", "n"])
def test_a_socketmap_that_gives_no_answer_is_an_error(server: tuple[SocketmapServer, str], key: str) -> None:
    with pytest.raises(TableError, match="socketmap"):
        tables(server[1]).look_up(key)


def test_a_socketmap_that_says_nothing_is_given_up_and_not_asked_again_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(socketmap, "SECONDS", 0.2)
    with SocketmapServer({"m a": "SILENT"}) as server:
        found = tables(f"socketmap:inet:127.0.0.1:{server.port}:m")
        with pytest.raises(TableError, match="timed out"):
            found.look_up("a")
        with pytest.raises(TableError, match="has just failed"):
            found.look_up("b")
        assert server.questions == ["m a"]


@pytest.mark.parametrize("name", ["ldap:/x", "socketmap:inet:host", "socketmap:unix:x:m", "inline:{x}", "hash:x", "x"])
def test_a_name_that_can_never_work_is_an_error(name: str) -> None:
    with pytest.raises(ValueError, match=name.partition(":")[0]):
        check_tables([name])
