"""The modes of sendmail(1) beside submission, and the sentences of newaliases."""

import pytest

from tests.compat.conftest import SIMPLE
from tests.integration.instance import Instance, me


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with Instance(tmp_path_factory.mktemp("modes") / "i") as instance:
        instance.start()
        yield instance


@pytest.mark.parametrize("mode", ["t", "v", "Z", "e", "a", "Zm", "V"])
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
    "words", [["-q"], ["-q30m"], ["-qI660F3F292A7D"], ["-qRexample.org"], ["-qS", "alice"], ["-qf"], ["-v", "-q"]]
)
def test_q_in_its_forms_flushes_the_queue_in_silence(running, words):
    running.submit(b"Subject: " + "".join(words).encode() + b"\n\nx\n", "-odq", me())
    running.wait_for(lambda: "(queued only" in running.mailq(), "queued only")
    done = running.run("sendmail", *words)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    running.wait_for_mail(me(), b"Subject: " + "".join(words).encode() + b"\n")
    running.wait_empty()


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
