"""The modes of sendmail(1) beside submission, and the sentences of newaliases."""

import pytest

from tests.compat.conftest import SIMPLE
from tests.integration.instance import Instance, me


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with Instance(tmp_path_factory.mktemp("modes") / "i") as instance:
        instance.start()
        yield instance


@pytest.mark.parametrize("mode", ["t", "Z", "e", "a", "Zm", "V"])
def test_a_mode_that_is_not_there_is_64_and_stdin_is_not_read(resting, mode):
    assert f"-b{mode}" in resting.refused(64, f"-b{mode}", "bob")
    done = resting.instance.run(
        "/bin/sh", "-c", f'"$0" -b{mode} bob 2>/dev/null; cat', _sendmail(resting), input=SIMPLE
    )
    assert done.stdout == SIMPLE


def _sendmail(resting) -> str:
    return f"{resting.instance.tree}/bin/sendmail"


def test_the_mode_for_testing_rules_says_what_to_use_instead(resting):
    assert "mailctl config" in resting.refused(64, "-bt")


@pytest.mark.parametrize("words", [["-bh"], ["-bH"], ["-bh", "-v"]])
def test_the_host_status_is_empty(resting, words):
    done, files = resting.call(*words)
    assert (done.returncode, done.stdout, done.stderr, files) == (0, b"", b"", [])


@pytest.mark.parametrize(
    "words",
    [
        *(["-q"], ["-q30m"], ["-q1h30m"], ["-qp"], ["-qp5m"], ["-qf"], ["-qGmqueue"], ["-v", "-q"]),
        *(["-qR" + me()], ["-q!Rnobody.example"], ["-qS", "alice"], ["-qS" + me().upper()], ["-q!I660F3F292A7D"]),
        ["-qInowhere", "-q!Inowhere"],
    ],
)
def test_q_in_its_forms_flushes_the_queue_in_silence(running, words):
    running.submit(b"Subject: " + "".join(words).encode() + b"\n\nx\n", "-odq", me())
    running.wait_for(lambda: "(queued only" in running.mailq(), "queued only")
    done = running.run("sendmail", *words)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    running.wait_for_mail(me(), b"Subject: " + "".join(words).encode() + b"\n")
    running.wait_empty()


def test_q_with_limits_tries_what_they_select_and_mailq_lists_it(running):
    for name in ("first", "second", "third"):
        running.submit(f"Subject: {name}\n\nx\n".encode(), "-odq", "-f", f"{name}@example.org", me())
    running.wait_for(lambda: running.mailq().count("(queued only") == 3, "three messages queued only")
    assert "first@" not in _listed(running, "-qSsecond@") and "second@" in _listed(running, "-qSsecond@")
    (queue_id,) = [line.split()[0] for line in running.mailq().splitlines() if "third@example.org" in line]
    running.run("sendmail", "-qInowhere", check=True)
    running.run("sendmail", f"-qI{queue_id[:-1]}", "-q!Sthird@", check=True)
    running.run("sendmail", f"-qI{queue_id}", "-qSthird@", check=True)
    running.wait_for_mail(me(), b"Subject: third\n")
    running.run("sendmail", "-qS<FIRST@", check=True)
    running.wait_for_mail(me(), b"Subject: first\n")
    assert _listed(running, "-q!Sfirst@").count("@example.org") == 1
    assert _listed(running, "-qQ") == _listed(running, "-qL") == "Mail queue is empty\n"
    (queue_id,) = [line.split()[0] for line in running.mailq().splitlines() if "second@example.org" in line]
    running.mailctl("queue", "flush", queue_id[:-1], check=True)
    assert b"Subject: second\n" not in running.mailbox(me())
    running.mailctl("queue", "flush", queue_id, check=True)
    running.wait_for_mail(me(), b"Subject: second\n")
    running.wait_empty()


def _listed(running, *words) -> str:
    return running.run("mailq", *words, check=True).stdout.decode()


@pytest.mark.parametrize("word", ["-qx", "-q30x", "-q!", "-qGother", "-qQ", "-qL", "-q!30m"])
def test_a_q_that_selects_nothing_sensible_is_64_and_one_line(resting, word):
    assert resting.refused(64, word).startswith("sendmail: -q")


def test_q_without_services_is_69_and_one_line(resting):
    assert "not running" in resting.refused(69, "-q")


@pytest.mark.parametrize("words", [["newaliases"], ["sendmail", "-bi"], ["sendmail", "-I"], ["newaliases", "-v"]])
def test_newaliases_says_how_many_as_sendmail_does(resting, words):
    aliases = resting.instance.path / "aliases"
    aliases.write_text("# a comment\npostmaster: root\nroot: alice,\n bob\nlist: :include:/nowhere\n")
    done, files = resting.call(*words[1:], program=words[0])
    said = f"{aliases}: 3 aliases, longest 17 bytes, 49 bytes total\n".encode()
    assert (done.returncode, done.stdout, done.stderr, files) == (0, said, b"", [])


@pytest.mark.parametrize(
    ("program", "words", "said"),
    [
        ("newaliases", ["-bp"], b"Mail queue is empty\n"),
        ("mailq", ["-bi"], b"aliases, longest"),
        ("mailq", ["-bh"], b""),
        ("mailq", ["-bp"], b"Mail queue is empty\n"),
    ],
)
def test_b_counts_more_than_the_name_of_the_program(resting, program, words, said):
    (resting.instance.path / "aliases").write_text("root: alice\n")
    done, files = resting.call(*words, program=program)
    assert (done.returncode, done.stderr, files) == (0, b"", []) and said in done.stdout


def test_newaliases_says_nothing_where_nobody_hears_it(resting):
    (resting.instance.path / "aliases").write_text("root: alice\nthis is no alias\n")
    for closed, output in ((">&-", b""), ("2>&-", b"1 aliases"), (">/dev/full", b"")):
        done = resting.instance.run("/bin/sh", "-c", f'"{resting.instance.tree}/bin/newaliases" {closed}')
        assert (done.returncode, output in done.stdout) == (74 if "full" in closed else 65, True)
        assert b"Traceback" not in done.stderr and b"internal" not in done.stderr


def test_newaliases_warns_of_a_second_entry_and_does_not_fail(resting):
    aliases = resting.instance.path / "aliases"
    aliases.write_text("root: alice\nROOT: bob\n")
    done, _ = resting.call(program="newaliases")
    assert (done.returncode, done.stderr.count(b"\n"), b"1 aliases" in done.stdout) == (0, 1, True)
    assert b", line 2: duplicate entry" in done.stderr


def test_newaliases_names_file_and_line_of_each_fault(resting):
    aliases = resting.instance.path / "aliases"
    aliases.write_text("root: alice\nthis is no alias\nalice: bob\nalice: carol\n")
    done, _ = resting.call(program="newaliases")
    assert done.returncode == 65
    assert [line.partition(": ")[2].partition(":")[0] for line in done.stderr.decode().splitlines()] == [
        f"{aliases}, line 2",
        f"{aliases}, line 4",
    ]


def test_newaliases_without_the_file_says_so(resting):
    (resting.instance.path / "aliases").unlink(missing_ok=True)
    done, _ = resting.call(program="newaliases")
    assert (done.returncode > 0, done.stdout, done.stderr.count(b"\n")) == (True, b"", 1)
    assert str(resting.instance.path / "aliases").encode() in done.stderr
