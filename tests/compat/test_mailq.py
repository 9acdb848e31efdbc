"""What monitoring reads: mailq's text and its JSON, as the programs that parse it look at it."""

import json
import re

import pytest

from tests.integration.instance import DOMAIN, Instance, me

# Each program with the way it counts; all of them have to find 2 messages, and with an empty queue 0.
COUNTS = {
    "check_mailq -M postfix": lambda text: int(
        (re.search(r"Kbytes in (\d+)", text.splitlines()[-1]) or re.match("(0?)Mail queue is empty", "0" + text))[1]
    ),
    "check_mailq -M sendmail": lambda text: int((re.search(r"(?im)^\s+Total\sRequests:\s(\d+)$", text) or [0, 0])[1]),
    "netdata": lambda text: 0 if text.split(" ")[:2] == ["Mail", "queue"] else int(text.splitlines()[-1].split(" ")[4]),
    "Linuxfabrik": lambda text: (
        0 if text == "Mail queue is empty\n" else int(re.search(r" in (.*) Requests?\.", text)[1])
    ),
    "egrep -c ^[A-F0-9]{10}": lambda text: len(re.findall(r"(?m)^[A-F0-9]{10}", text)),
    "egrep -c ^[A-F0-9]{12}": lambda text: len(re.findall(r"(?m)^[A-F0-9]{12}", text)),
    "grep -c ^[A-F0-9]": lambda text: len(re.findall(r"(?m)^[A-F0-9]", text)),
    "head -1, tail -n1 | awk $5": lambda text: (
        0 if text.splitlines()[0] == "Mail queue is empty" else int(text.splitlines()[-1].split()[4])
    ),
}
KEYS = ["queue_name", "queue_id", "arrival_time", "message_size", "forced_expire", "sender", "recipients"]


@pytest.fixture(scope="module", params=["services down", "services up"])
def queue(request, tmp_path_factory):
    """Two messages that wait, one from the null sender, seen with the services down and up."""
    with Instance(tmp_path_factory.mktemp("mailq") / "i", defer_transports="local") as instance:
        instance.submit(b"Subject: one\n\nhello\n", "-f", "", me())
        instance.submit(b"Subject: two\n\nhello\n", "-f", "alice@example.org", me(), "bin")
        if request.param == "services up":
            instance.start()
            instance.wait_for(lambda: instance.mailq().count("(deferred transport)") == 2, "both deferred")
        yield instance


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    return Instance(tmp_path_factory.mktemp("empty") / "i")


@pytest.mark.parametrize("program", COUNTS)
def test_each_program_counts_two_messages(queue, program):
    assert COUNTS[program](queue.mailq()) == 2


@pytest.mark.parametrize("program", COUNTS)
def test_each_program_sees_an_empty_queue(empty, program):
    assert COUNTS[program](empty.mailq()) == 0


@pytest.mark.parametrize(
    "words", [["mailq"], ["sendmail", "-bp"], ["mailq", "-v"], ["mailq", "-Ac"], ["sendmail", "-bpv"]]
)
def test_an_empty_queue_is_one_line_and_exit_0(empty, words):
    done = empty.run(*words)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"Mail queue is empty\n", b"")


def test_the_listing_has_the_shape_of_postfix(queue):
    lines = queue.mailq().splitlines()
    assert lines[0] == "-Queue ID-  --Size-- ----Arrival Time---- -Sender/Recipient-------"
    rows = [
        line for line in lines if re.match(r"[0-9A-F]{10,}[*!#]? +\d+ \w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d  \S+$", line)
    ]
    assert sorted(row.split()[-1] for row in rows) == ["MAILER-DAEMON", "alice@example.org"]
    assert [line for line in lines if line.startswith(" " * 41) and line.strip().partition("@")[0] in (me(), "bin")]
    assert re.fullmatch(r"\t\tTotal requests: 2", lines[-2])
    assert re.fullmatch(r"-- \d+ Kbytes in 2 Requests\.", lines[-1])


def test_mailq_and_bp_print_the_same(queue):
    assert queue.run("sendmail", "-bp").stdout.decode() == queue.mailq()


def test_mailq_j_prints_a_line_of_json_for_each_message(queue):
    rows = [json.loads(line) for line in queue.run("mailq", "-j", check=True).stdout.splitlines()]
    assert [list(row) for row in rows] == [KEYS, KEYS]
    by_sender = {row["sender"]: row for row in rows}
    assert sorted(by_sender) == ["MAILER-DAEMON", "alice@example.org"]
    row = by_sender["alice@example.org"]
    assert {r["address"].removesuffix(f"@{DOMAIN}") for r in row["recipients"]} == {me(), "bin"}
    assert re.fullmatch("[0-9A-F]{10,}", row["queue_id"]) and row["queue_id"] in queue.mailq()
    assert (row["forced_expire"], type(row["arrival_time"]), type(row["message_size"])) == (False, int, int)
    if row["queue_name"] == "deferred":
        assert {r["delay_reason"] for r in row["recipients"]} == {"deferred transport"}


def test_mailq_j_of_an_empty_queue_prints_nothing(empty):
    done = empty.run("mailq", "-j")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.mark.parametrize("program", ["sendmail", "newaliases"])
def test_only_mailq_has_j(empty, program):
    done = empty.run(program, "-j")
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (64, b"", 1)


def test_mailq_c_lists_the_queue_of_that_configuration(queue, empty):
    assert "Total requests: 2" in empty.run("mailq", "-C", queue.path, check=True).stdout.decode()
    assert "is empty" in empty.run("mailq", "-C", "/nowhere", check=True).stdout.decode()


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_descriptors_are_no_error(queue, closed):
    done = queue.run("/bin/sh", "-c", f'"{queue.tree}/bin/mailq" {closed}')
    assert (done.returncode, done.stderr) == (0, b"")
    assert (b"Total requests: 2" in done.stdout) == (">&-" not in closed.split())


@pytest.mark.parametrize("command", ["mailq", "mailctl queue list"])
def test_output_that_cannot_be_written_is_one_line_and_74(queue, command):
    done = queue.run("/bin/sh", "-c", f'"{queue.tree}/bin/{command.split()[0]}" {command.partition(" ")[2]} >/dev/full')
    assert (done.returncode, done.stderr.count(b"\n")) == (74, 1)
    assert b"standard output: No space left on device" in done.stderr


def test_a_reader_that_goes_away_is_no_error(queue):
    script = f'"{queue.tree}/bin/mailq" | true; exit "${{PIPESTATUS[0]}}"'
    done = queue.run("/bin/bash", "-c", script)
    assert (done.returncode, done.stderr) == (0, b"")
