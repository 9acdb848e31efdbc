"""Options, recipients and senders: what sendmail, Postfix and others were measured to do, or the best of it."""

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import termios
import time

import pytest

from tests.integration.instance import LIMIT

# --- recipients in the arguments -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["bob", "carol"], ["bob", "carol"]),
        (["Bob B. <bob@example.org>"], ["bob@example.org"]),
        (["<bob@example.org>"], ["bob@example.org"]),
        (["bob@example.org (Bob, the builder)"], ["bob@example.org"]),
        (['"Bob, B" <bob@example.org>, carol'], ["bob@example.org", "carol"]),
        (["bob,carol", "dave"], ["bob", "carol", "dave"]),
        (["bob carol"], ["bob", "carol"]),
        (["friends: bob, carol;"], ["bob", "carol"]),
        (["(carol)"], ["carol"]),
        (["bob", "", "<>"], ["bob"]),
        (["\\bob"], ["bob"]),
        (["bob+tag"], ["bob+tag"]),
        (['"b b"@example.org'], ['"b b"@example.org']),
        (["bob@[192.0.2.1]"], ["bob@[192.0.2.1]"]),
        (["bob>"], ["bob"]),
        (["bob (the builder"], ["bob"]),
        (["hosta!joe", "a%b@example.org"], ["hosta!joe", "a%b@example.org"]),
        (["bøb@exämple.org"], ["bøb@exämple.org"]),
        (["bob", "-t"], ["bob", "-t"]),
        (["bob", "-f", "carol"], ["bob", "-f", "carol"]),
        (["--", "-bob@example.org"], ["-bob@example.org"]),
        (["bob", "--", "carol"], ["bob", "--", "carol"]),
        (["|/bin/sh", "/etc/passwd"], ["|/bin/sh", "/etc/passwd"]),  # names of users that are not there
    ],
)
def test_arguments_are_read_as_lists_of_addresses(resting, words, expected):
    assert resting.accepted(*words).recipients == expected


@pytest.mark.parametrize(
    "text",
    ["bob\ncarol", "bob@x\r\nRCPT TO:<carol>", "bob\x01", "bob\r", "<bob", "@", "@example.org",
     "bob@", "bob@a@b", "bob@a..b", '"bob', "(bob", "bob@[192.0.2.1", ":include:/etc/passwd"],
)  # fmt: skip
def test_what_is_no_address_is_refused_with_65_and_nobody_gets_mail(resting, text):
    assert "recipient" in resting.refused(65, "carol", text)


def test_ten_thousand_recipients_are_accepted(resting):
    words = [f"user{number}@example.org" for number in range(10_000)]
    assert resting.accepted(*words).recipients == words


@pytest.mark.parametrize("words", [[], ["-i"], ["-t"], ["-f", ""], ["--"], [""], ["<>"], ["friends:;"], ["-i", "()"]])
def test_without_recipients_it_is_64(resting, words):
    assert "recipients" in resting.refused(64, *words)


# --- recipients in the header ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("To: bob\nCc: carol\nBcc: dave\n", ["bob", "carol", "dave"]),
        ("To: bob\nTo: carol\n", ["bob", "carol"]),
        ("To: \nTo: bob\n", ["bob"]),
        ("TO: bob\nBCC: carol\n", ["bob", "carol"]),
        ("To : bob\n", ["bob"]),
        ("To:\n bob,\n\tcarol\n", ["bob", "carol"]),
        ("To: bob,\r\n carol\r\n", ["bob", "carol"]),
        ('To: "X, Y" <xy@example.org>, bob\n', ["xy@example.org", "bob"]),
        ("To: bob (a, b), , carol,\n", ["bob", "carol"]),
        ("To: undisclosed-recipients:;\nBcc: bob\n", ["bob"]),
        ("To: undisclosed-recipients:\nBcc: bob\n", ["bob"]),
        ("To: friends: bob, Carol C <carol@example.org>;, dave\n", ["bob", "carol@example.org", "dave"]),
        ("To: =?utf-8?q?B=2C?= <bob@example.org>\n", ["bob@example.org"]),
        ("To: Jörg <jörg@exämple.org>\n", ["jörg@exämple.org"]),
        ("To: bob\nResent-To: carol\n", ["carol"]),
        ("To: bob\nBcc: dave\nResent-Cc: carol\nResent-Bcc: erin\n", ["carol", "erin"]),
        ("To: bob, bob, <bob>\n", ["bob"]),
        ("Apparently-To: carol\nReply-To: dave\nTo: bob\n", ["bob"]),
        ("From x Mon Nov 23 12:00:00 2026\nTo: bob\n", ["bob"]),
    ],
)
def test_t_takes_the_recipients_of_the_header(resting, header, expected):
    assert resting.accepted("-t", input=header.encode() + b"\nTo: nobody\n").recipients == expected


def test_t_adds_to_the_recipients_in_the_arguments(resting):
    assert resting.accepted("-t", "bob", "carol", input=b"To: carol, dave\n\nx\n").recipients == [
        "bob",
        "carol",
        "dave",
    ]


def test_without_t_the_header_names_no_recipients(resting):
    assert resting.accepted("bob", input=b"To: carol\nBcc: dave\n\nx\n").recipients == ["bob"]


@pytest.mark.parametrize(
    "header",
    [
        b"Subject: x\n",
        b"To:\n",
        b"To: friends:;\n",
        b"To: <>\n",
        b"",
        b"no header\nTo: bob\n",
        b"To: bob\nResent-To:\n",
    ],
)
def test_t_without_recipients_in_the_header_is_64(resting, header):
    assert "no recipients" in resting.refused(64, "-t", input=header + b"\nTo: bob\n")


@pytest.mark.parametrize("header", [b"To: bob\rBcc: dave\n", b"To: b\0b\n", b"To: bob, <" + b"x" * 1000 + b"\n"])
def test_t_with_a_control_character_or_an_endless_address_is_65_and_nobody_gets_mail(resting, header):
    assert "header" in resting.refused(65, "-t", input=header + b"\nx\n")


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (b"To: <bob\n", ['"<bob"']),
        (b'To: "bob\n', ['"\\"bob"']),
        (b"To: bob, carol@, dave\n", ["bob", '"carol@"', "dave"]),
        (b"To: Team: bob, carol\n", ['"Team: bob"', "carol"]),
        (b"To: bob\n\tCc: carol\nCc: dave\n", ['"bob Cc: carol"', "dave"]),
    ],
)
def test_t_takes_what_it_cannot_read_as_it_stands_so_that_it_bounces_and_the_others_get_mail(resting, header, expected):
    assert resting.accepted("-t", input=header + b"\nx\n").recipients == expected


def test_t_finds_the_last_of_a_hundred_thousand_fields(resting):
    assert resting.accepted("-t", input=b"X-Many: x\n" * 100_000 + b"To: bob\n\nx\n").recipients == ["bob"]


def test_t_takes_ten_thousand_recipients_from_one_field(resting):
    expected = [f"user{number}@example.org" for number in range(10_000)]
    message = b"To: " + ",\n ".join(expected).encode() + b"\n\nx\n"
    assert resting.accepted("-t", input=message).recipients == expected


# --- the sender -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], None),
        (["-f", "alice"], "alice"),
        (["-falice@example.org"], "alice@example.org"),
        (["-r", "alice@example.org"], "alice@example.org"),
        (["-f", "Alice <alice@example.org>"], "alice@example.org"),
        (["-f", ""], ""),
        (["-f", "<>"], ""),
        (["-f<>"], ""),
        (["-f", "first@example.org", "-f", "last@example.org"], "last@example.org"),
        (["-f", "first@example.org", "-r", "last@example.org"], "last@example.org"),
        (["-f", "first@example.org", "-f", ""], ""),
        (["-f", "-oQ/tmp@example.org"], "-oQ/tmp@example.org"),
        (["-f", "hosta!joe"], "hosta!joe"),
        (["-f", "first@example.org, second@example.org"], "first@example.org"),
        (["-f", '"quo te"@example.org'], '"quo te"@example.org'),
        (["-f", "list-owner+bob=example.org@lists.test"], "list-owner+bob=example.org@lists.test"),
    ],
)
def test_the_sender_is_the_last_of_f_and_r(resting, words, expected):
    assert resting.accepted(*words, "bob").sender == expected


@pytest.mark.parametrize("text", ["a@b\nRCPT TO:<c>", "a\r", "a@b> SIZE=1", "@", "@b"])
def test_a_sender_that_could_not_be_sent_is_refused_with_65(resting, text):
    assert "sender" in resting.refused(65, "-f", text, "bob")


# --- other options ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ["-om"], ["-oem"], ["-oee"], ["-oep"], ["-odb"], ["-odi"], ["-or0s"], ["-oXMIT"], ["-oA/etc/aliases"],
        ["-o", "7"], ["-O", "DeliveryMode=b"], ["-ODeliveryMode=b"], ["-O", "QueueDirectory=/nowhere"], ["-bm"],
        ["-B8BITMIME"], ["-B", "7bit"], ["-G", "-pUUCP:hosta"], ["-h", "3"], ["-L", "tag"], ["-U"], ["-n"], ["-m"],
        ["-vv"], ["-x"], ["-e", "m"], ["-Am"], ["-Ac"], ["-c"], ["-s"], ["-T"], ["-d0.1"], ["-M", "x"],
        ["-Q", "x"], ["-C", "/etc/mail/other.cf"], ["-N", "never"], ["-N", "success,failure"], ["-R", "hdrs"],
        ["-V", "00000042"], ["-D", "/nowhere"], ["-itvv"], ["-d"], ["-OErrorMode=m"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_an_option_of_sendmail_or_postfix_is_accepted(resting, words):
    assert resting.accepted(*words, "bob", input=b"To: bob\n\nx\n").recipients == ["bob"]


@pytest.mark.parametrize(
    "words",
    [
        ["-Z"],
        ["-iZ"],
        ["-k", "x"],
        ["--help"],
        ["-j"],
        ["-N", "often"],
        ["-B", "x"],
        ["-R", "x"],
        ["-V", "a\nb"],
        ["-V", "ä"],
    ],
)
def test_an_unknown_option_or_value_is_64(resting, words):
    resting.refused(64, *words, "bob")


@pytest.mark.parametrize("letter", "ABCDFLMNOQRVXbefhopr")
def test_an_option_without_its_value_is_64_at_once(resting, letter):
    assert f"-{letter} needs a value" in resting.refused(64, f"-{letter}")


@pytest.mark.parametrize("option", ["-X", "-D"])
def test_no_option_writes_a_file(resting, option, tmp_path):
    resting.accepted(option, str(tmp_path / "log"), "bob")
    resting.accepted(f"{option}{tmp_path}/log", "bob")
    assert os.listdir(tmp_path) == []


def test_an_expression_of_exim_is_no_mode(resting, tmp_path):
    resting.refused(64, "-be", f"${{run{{/usr/bin/touch {tmp_path}/file}}}}")
    assert os.listdir(tmp_path) == []


def test_n_r_and_v_are_in_the_envelope(resting):
    text = resting.accepted("-N", "failure,delay", "-R", "hdrs", "-V", "QQ314159", "bob").text
    assert "<bob> notify=FAILURE,DELAY\n" in text
    assert "\nenvid: QQ314159\nret: HDRS\n" in text


@pytest.mark.parametrize(
    ("value", "envid"), [("a b", "a+20b"), ("a+b=c", "a+2Bb+3Dc"), ("a+2Bb", "a+2Bb"), ("x" * 101, "")]
)
def test_v_is_encoded_where_it_is_not_and_too_long_it_is_none(resting, value, envid):
    text = resting.accepted("-V", value, "bob").text
    assert text.partition("\nenvid: ")[2].partition("\n")[0] == envid


# --- input -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "stdin", "content"),
    [
        ([], b"S: x\n\na\n.\nb\n", b"S: x\n\na\n"),
        ([], b"S: x\n\na\n.\r\nb\n", b"S: x\n\na\n"),
        ([], b"S: x\n\n..a\n...\n", b"S: x\n\n.a\n..\n"),
        ([], b"S: x\n\na\n.", b"S: x\n\na\n"),
        ([], b"S: x\n\na .\n", b"S: x\n\na .\n"),
        (["-i"], b"S: x\n\na\n.\nb\n", b"S: x\n\na\n.\nb\n"),
        (["-oi"], b"S: x\n\n..a\n", b"S: x\n\n..a\n"),
        (["-i"], b"S: x\n\na\n.", b"S: x\n\na\n."),
        (["-i"], b"S: x\n\nno end", b"S: x\n\nno end"),
        (["-i"], b"", b""),
    ],
)
def test_the_dot_rule_holds_without_i(resting, words, stdin, content):
    assert resting.accepted(*words, "bob", input=stdin).content == content


def interrupted(resting, number, *words) -> tuple[list[str], int, bytes]:
    """Signal sendmail after 600 kB of a message; returns the files there before, the status and what it said."""
    command = [f"{resting.instance.tree}/bin/sendmail", *words]
    environment, pipe = resting.instance.environment, subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment) as running:
        running.stdin.write(b"MAIL FROM:<>\r\nRCPT TO:<bob>\r\nDATA\r\n" if "-bs" in words else b"Subject: half\n\n")
        running.stdin.write(b"of it\r\n" * 100_000)
        running.stdin.flush()
        end = time.monotonic() + LIMIT
        while not os.listdir(resting.maildrop) and time.monotonic() < end:
            time.sleep(0.02)
        names = os.listdir(resting.maildrop)
        running.send_signal(number)
        status, said = running.wait(LIMIT), running.stderr.read()
        with contextlib.suppress(BrokenPipeError):
            running.stdin.close()
    return names, status, said


def test_sendmail_that_is_killed_before_the_end_of_stdin_leaves_no_message(resting):
    (name,), status, _ = interrupted(resting, signal.SIGKILL, "-i", "bob")
    assert status == -signal.SIGKILL
    assert (resting.maildrop / name).stat().st_mode & 0o7777 == 0o600  # still being written: pickup takes none of these
    (resting.maildrop / name).unlink()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
@pytest.mark.parametrize("words", [["-i", "bob"], ["-bs"]], ids=" ".join)
def test_sendmail_that_is_told_to_end_removes_what_it_has_written_and_ends_in_silence(resting, words, number):
    names, status, said = interrupted(resting, number, *words)
    assert (len(names), status, said, os.listdir(resting.maildrop)) == (1, -number, b"", [])


def test_an_interrupt_while_a_small_message_comes_in_is_silent_too(resting):
    command, pipe = [f"{resting.instance.tree}/bin/sendmail", "-i", "bob"], subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stderr=pipe, env=resting.instance.environment) as running:
        running.stdin.write(b"Subject: half\n")
        running.stdin.flush()
        end = time.monotonic() + LIMIT  # until it has read that: the interpreter's own start is over then
        while _unread(running.stdin) and time.monotonic() < end:
            time.sleep(0.02)
        running.send_signal(signal.SIGINT)
        assert (running.wait(LIMIT), running.stderr.read()) == (-signal.SIGINT, b"")
    assert os.listdir(resting.maildrop) == []


def _unread(pipe) -> int:
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)
