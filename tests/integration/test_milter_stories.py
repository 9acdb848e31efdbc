"""Filters of mail by SMTP: what they hear, what they may change, and what becomes of a message whose filter fails."""

import contextlib
import hashlib
import itertools
import os
import socket
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.integration.instance import LIMIT
from tests.integration.smtp_server import STRANGERS, Line, Served
from tests.servers.milter_server import MilterServer

KEEPS_BLANKS = 0x100000


@contextlib.contextmanager
def filtered(path, *servers, settings="", **more):
    """An instance whose filters are these servers."""
    milters = ", ".join(f"{{ inet:127.0.0.1:{server.port} {settings} }}" for server in servers)
    with Served(path / "i", smtpd_milters=milters, **more) as served:
        served.start()
        yield served


def send(line, *lines, to=("games@here.test",), sender="alice@a.test"):
    line.to_data(sender, *to)
    line.say(*lines, ".")
    return line.reply()


def index(number):
    return struct.pack("!I", number)


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    with MilterServer(flags=KEEPS_BLANKS) as server, filtered(tmp_path_factory.mktemp("m"), server) as served:
        yield served, server


def test_a_filter_hears_all_of_it_in_order(story):
    served, server = story
    server.says = {}
    with served.connect() as line:
        line.reply()
        text = ("Subject:  two blanks", "X-Folded: a", "\tb", "To: games@here.test", "", "body", "", "..dot")
        assert send(line, *text, to=("games@here.test", "sys@here.test"))[:3] == "250"
        assert send(line, "Subject: second", "", "x")[:3] == "250"
        assert line.ask("MAIL FROM:<c@a.test>")[:3] == "250"
        assert line.ask("RSET")[:3] == "250"
        line.ask("QUIT")
    served.wait_for(lambda: server.commands().endswith("Q"), "the filter hears QUIT")
    fields = server.payloads("L")
    assert server.commands() == "CHMRRT" + "L" * 6 + "NBE" + "HMRT" + "L" * (len(fields) - 6) + "NBE" + "MAQ"
    assert fields[:3] == [b"Subject\0  two blanks\0", b"X-Folded\0 a\n\tb\0", b"To\0 games@here.test\0"]
    assert not [field for field in fields if field.startswith(b"Received")]
    assert server.payloads("B")[0] == b"body\r\n\r\n.dot\r\n"
    client = server.payloads("C")[0]
    assert client.startswith(b"localhost\x004")
    assert client.endswith(b"127.0.0.1\0")
    assert server.payloads("M")[:2] == [b"<alice@a.test>\0"] * 2
    assert server.payloads("R")[:2] == [b"<games@here.test>\0", b"<sys@here.test>\0"]


def test_macros_tell_who_where_and_which_message(story):
    served, server = story
    server.says = {}
    with served.connect() as line:
        line.reply()
        answer = send(line, "Subject: x", "", "x")
    macros = server.macros()
    assert macros["C"][b"j"] == macros["C"][b"{daemon_name}"] == b"here.test"
    assert macros["C"][b"_"] == b"localhost [127.0.0.1]"
    assert macros["C"][b"v"].startswith(b"sendmail-py ")
    assert macros["M"] == {b"{mail_addr}": b"alice@a.test"}
    assert macros["R"] == {b"{rcpt_addr}": b"games@here.test"}
    assert macros["E"] == macros["N"] == {b"i": answer.split()[-1].encode()}


CHANGES = [
    b"i" + index(1) + b"X-Second\0 below Received\0",
    b"i" + index(0) + b"X-Top\0 above all\0",
    b"h" + b"X-Last\0 folded\n\tline\nand no blank\0",
    b"m" + index(2) + b"X-Twice\0 changed\0",
    b"m" + index(1) + b"Subject\0\0",
    b"m" + index(1) + b"Received\0 changed\0",
    b"m" + index(5) + b"X-New\0 appended\0",
    b"m" + index(7) + b"X-None\0\0",
    b"+" + b"<proxy@here.test>\0",
    b"2" + b"<mail@here.test>\0NOTIFY=NEVER\0",
    b"-" + b"<games@here.test>\0",
    b"e" + b"<bounces@a.test>\0",
    b"p",
    b"b" + b"new\r",
    b"b" + b"\nbody\r\n" + b"a\rb\r\n",
    b"c",
]


def test_a_filter_changes_what_it_wants_and_the_rest_stays_octet_for_octet(story):
    served, server = story
    server.says = {"E": CHANGES}
    with served.connect() as line:
        line.reply()
        text = (
            "Received: theirs",
            "Subject: gone",
            "X-Twice: one",
            "X-Twice: two",
            "X-Odd:kept  ",
            "Date: d",
            "From: f@a",
        )
        assert send(line, *text, "Message-Id: <1@a>", "", "old body")[:3] == "250"
    for user in ("proxy", "mail"):
        text = served.wait_for_mail(user, b"X-Top: above all").decode()
        head, _, body = text.partition("\n\n")
        assert "Return-Path: <bounces@a.test>" in head
        wanted = (
            "Received: changed\nX-Twice: one\nX-Twice: changed\nX-Odd:kept  \nDate: d\nFrom: f@a\nMessage-Id: <1@a>\n"
        )
        assert head.endswith(wanted + "X-Last: folded\n\tline\n\tand no blank\nX-New: appended")
        top, second = head.index("X-Top: above all\nReceived: from"), head.index("\nX-Second: below Received\n")
        assert top < second < head.index("\nReceived: changed")
        assert body == "new\nbody\na\rb\n\n"
    assert b"X-Top" not in served.mailbox("games")


def test_each_filter_sees_what_the_one_before_it_has_left(tmp_path):
    first = MilterServer({"E": [b"h" + b"X-First\0 1\0", b"b" + b"replaced\r\n", b"c"]})
    second = MilterServer({"E": [b"h" + b"X-Second\0 2\0", b"c"]})
    with first, second, filtered(tmp_path, first, second) as served, served.connect() as line:
        line.reply()
        assert send(line, "Subject: x", "", "old")[:3] == "250"
        served.wait_for_mail("games", b"X-Second:")
        assert b"X-First\0" in b"".join(second.payloads("L"))
        assert second.payloads("B") == [b"replaced\r\n"]


@pytest.mark.parametrize(
    ("command", "said", "answer"),
    [
        ("M", b"r", "550 5.7.1 Command rejected"),
        ("M", b"t", "451 4.7.1 Service unavailable - try again later"),
        ("R", b"r", "550 5.7.1 Command rejected"),
        ("R", b"y" + b"552 5.2.2 100%% full\0", "552 5.2.2 100% full"),
        ("T", b"r", "550 5.7.1 Command rejected"),
        ("L", b"r", "550 5.7.1 Command rejected"),
        ("N", b"t", "451 4.7.1 Service unavailable - try again later"),
        ("B", b"y" + b"554 no status\0", "554 5.7.1 no status"),
        ("E", b"y" + b"550-5.7.1 two\r\n550 5.7.1 lines\0", "550 5.7.1 lines"),
        ("E", b"4", "421 4.7.0 Service unavailable"),
    ],
)
def test_a_filter_refuses_at_any_step_and_the_session_goes_on(story, command, said, answer):
    served, server = story
    server.says = {command: [said]}
    with served.connect() as line:
        line.reply()
        line.ask("EHLO c.test")
        answers = [line.ask("MAIL FROM:<alice@a.test>"), line.ask("RCPT TO:<games@here.test>"), line.ask("DATA")]
        if answers[-1][:3] == "354":
            line.say("Subject: refused", "", "x", ".")
            answers.append(line.reply())
        assert answer in answers
        served.wait_for_log("milter-reject: .* from localhost.127.0.0.1.: " + answer[:9])
        server.says = {}
        if answer[:3] != "421":
            line.ask("RSET")
            assert send(line, "Subject: after", "", "x")[:3] == "250"
    assert b"Subject: refused" not in served.mailbox("games")
    assert not os.listdir(served.path / "queue" / "tmp")


def test_a_filter_refuses_a_client(story):
    served, server = story
    for says, code in (({"C": [b"r"]}, "550"), ({"C": [b"t"]}, "421"), ({"H": [b"r"]}, "550")):
        server.says = says
        with served.connect() as line:
            answers = [line.reply()]
            if answers[0][:3] == "220":
                answers += [line.ask("EHLO c.test"), line.ask("MAIL FROM:<a@a.test>")]
            assert answers[-1][:3] == code


def test_a_message_is_discarded_or_held(story):
    served, server = story
    with served.connect() as line:
        line.reply()
        for says, subject in (
            ({"R": [b"d"]}, "rcpt"),
            ({"E": [b"d"]}, "end"),
            ({"E": [b"q" + b"looks odd\0", b"a"]}, "held"),
        ):
            server.says = says
            assert send(line, f"Subject: away {subject}", "", "x", to=("lp@here.test",))[:3] == "250"
    served.wait_for_log("milter-hold: END-OF-MESSAGE from localhost.*: looks odd; from=<alice@a.test>")
    served.wait_for_log("milter-discard: ", 2)
    assert "lp@here.test" in served.mailq()
    assert not served.mailbox("lp")


def test_a_filter_that_accepts_hears_no_more(story):
    served, server = story
    for says, heard in (({"C": [b"a"]}, "C"), ({"M": [b"a"]}, "CHM"), ({"L": [b"a"]}, "CHMRTL")):
        server.says = says
        with served.connect() as line:
            line.reply()
            assert send(line, "Subject: x", "", "x")[:3] == "250"
            assert server.commands().rstrip("A") == heard


def test_events_that_a_filter_does_not_want_are_not_sent_and_silent_ones_not_waited_for(tmp_path):
    quiet = MilterServer({"L": [b"r"], "B": [b"r"]}, flags=0x1 | 0x2 | 0x200 | 0x80 | 0x80000)
    skips = MilterServer({"B": [b"s"]})
    with quiet, skips, filtered(tmp_path, quiet, skips) as served, served.connect() as line:
        line.reply()
        assert send(line, "Subject: x", "", *["x" * 900] * 200)[:3] == "250"
        assert quiet.commands().replace("L", "") == "MRNBBBE"
        assert skips.commands().replace("L", "") == "CHMRTNBE"


def test_a_filter_names_the_macros_that_it_wants(tmp_path):
    macros = index(2) + b"{client_addr} j\0" + index(5) + b"i {mail_addr}\0"
    with MilterServer(macros=macros) as server, filtered(tmp_path, server) as served, served.connect() as line:
        line.reply()
        assert send(line, "Subject: x", "", "x")[:3] == "250"
        assert server.macros()["M"] == {b"{client_addr}": b"127.0.0.1", b"j": b"here.test"}
        assert set(server.macros()["E"]) == {b"i", b"{mail_addr}"}


def test_a_large_message_and_a_large_new_body_are_never_in_memory(tmp_path):
    chunk = b"y" * 65533 + b"\r\n"
    server = MilterServer({"E": [*[b"b" + chunk] * 320, b"c"]})
    with server, filtered(tmp_path, server, message_size_limit=50_000_000, mailbox_size_limit=0) as served:
        with served.connect() as line:
            line.reply()
            assert send(line, "Subject: warm", "", "x")[:3] == "250"
            pid = served.pid_of("smtpd")
            before = memory(pid)
            line.to_data("alice@a.test", "sys@here.test")
            line.say("Subject: large", "")
            for _ in range(20):
                line.end.sendall((b"x" * 998 + b"\r\n") * 1000)
            line.say(".")
            assert line.reply()[:3] == "250"
            assert memory(pid) - before < 12 << 20
        body = b"".join(server.payloads("B")[1:])
        assert hashlib.sha256(body).digest() == hashlib.sha256((b"x" * 998 + b"\r\n") * 20000).digest()
        served.wait_for_log("to=<sys@here.test>.*status=sent")
        text = served.mailbox("sys")
        assert text.count(b"y" * 65533) == 320
        assert b"xxx" not in text


def memory(pid):
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[1]) << 10 for line in file if line.startswith("VmHWM"))


# --- a filter that fails ---------------------------------------------------------------------

STEPS = ["O", "C", "H", "M", "R", "T", "L", "N", "B", "E"]
FAILURES = {"hang": [None], "killed": ["DROP"], "noise": [b"\x01what?"], "oversize": [(b"\xff\xff\xff\xff",)]}
AFTER = {"accept": "250", "tempfail": "451", "reject": "550", "shutdown": "421", "quarantine": "250 held"}


def outcome(served, address, number):
    """Return the code of the first command that is refused, else that of the message, and what became of it."""
    end = socket.create_connection(("127.0.0.1", served.port), timeout=LIMIT, source_address=(address, 0))
    with Line(end) as line:
        said = iter(
            ("EHLO c.test", f"MAIL FROM:<s{number}@a.test>", "RCPT TO:<games@here.test>", "DATA", "x: x\r\n\r\nx\r\n.")
        )
        answer = line.reply()
        while answer[:1] in "23" and (words := next(said, "")):
            answer = line.ask(words)
        return answer[:3]


def test_what_becomes_of_a_message_whose_filter_fails_at_each_step(tmp_path):
    """The table: each step x each failure x each milter_default_action, by the client's address, at one time."""
    cases = list(itertools.product(STEPS, FAILURES, AFTER))
    lines, servers = [], {}
    with contextlib.ExitStack() as stack:
        for step, name in itertools.product(STEPS, FAILURES):
            server = MilterServer({step: FAILURES[name]}, greet=step != "O" or name != "hang")
            servers[step, name] = stack.enter_context(server)
            server.opening = FAILURES[name] if step == "O" else None
        times = "connect_timeout=8 command_timeout=8 content_timeout=8"
        for number, (step, name, action) in enumerate(cases):
            port = servers[step, name].port
            lines.append(f"127.0.2.{number + 1} {{ inet:127.0.0.1:{port} {times} default_action={action} }}\n")
        (tmp_path / "maps").write_text("".join(lines))
        served = stack.enter_context(
            Served(
                tmp_path / "i",
                smtpd_milter_maps=f"texthash:{tmp_path}/maps",
                smtpd_client_connection_count_limit=0,
                smtpd_peername_lookup="no",
            )
        )
        served.start()
        with ThreadPoolExecutor(len(cases)) as pool:
            found = pool.map(lambda n: outcome(served, f"127.0.2.{n + 1}", n), range(len(cases)))
            table = dict(zip(cases, found, strict=True))
        wanted = {case: AFTER[case[2]][:3] for case in cases}
        # A greeting that is no 220 says 421 where it means "later".
        wanted |= {case: "421" for case in cases if case[0] in ("O", "C") and case[2] == "tempfail"}
        assert table == wanted
        held = served.mailq()
        assert [n for n, case in enumerate(cases) if f" s{n}@a.test" in held] == [
            n for n, case in enumerate(cases) if case[2] == "quarantine"
        ]
        served.wait_for(lambda: served.mailbox("games").count(b"\nReturn-Path: ") == 40, "what was accepted is there")


def test_a_filter_that_nobody_runs_is_said_so_in_the_log(tmp_path):
    with MilterServer() as server:
        pass
    with filtered(tmp_path, server) as served, served.connect() as line:
        assert line.reply()[:3] == "421"
        served.wait_for_log("milter inet:127.0.0.1:.*Connect.* at the beginning; milter_default_action = tempfail")


def test_changes_of_a_filter_that_then_fails_are_taken_back(tmp_path):
    server = MilterServer({"E": [b"h" + b"X-Half\0 done\0", b"-" + b"<games@here.test>\0", b"b" + b"half", "DROP"]})
    with server, filtered(tmp_path, server, settings="default_action=accept") as served, served.connect() as line:
        line.reply()
        assert send(line, "Subject: whole", "", "all of it")[:3] == "250"
        text = served.wait_for_mail("games", b"Subject: whole")
        assert b"X-Half" not in text
        assert b"\nall of it\n" in text


def test_a_change_that_a_filter_did_not_ask_for_is_a_failure(tmp_path):
    server = MilterServer({"E": [b"b" + b"x", b"c"]}, actions=0x1)
    with server, filtered(tmp_path, server) as served, served.connect() as line:
        line.reply()
        assert send(line, "Subject: x", "", "x") == "451 4.7.1 Service unavailable - try again later"


def test_a_client_that_hangs_up_after_the_dot_has_its_message_filtered_all_the_same(story):
    served, server = story
    has_gone = threading.Event()

    def slowly(_):
        has_gone.wait(LIMIT)
        return [b"h" + b"X-Late\0 yes\0", b"c"]

    server.says = {"E": slowly}
    with served.connect() as line:
        line.reply()
        line.to_data()
        line.say("Subject: gone", "", "x", ".")
        served.wait_for(lambda: "E" in server.commands(), "the filter has all of it")
    has_gone.set()
    text = served.wait_for_mail("games", b"Subject: gone")
    assert b"X-Late: yes" in text.partition(b"Subject: gone")[2]


def test_tables_choose_the_filters_of_a_client(tmp_path):
    with MilterServer() as one, MilterServer() as other:
        maps = f"inline:{{ {{127.0.0.1 = inet:127.0.0.1:{other.port}}} {{::1 = DISABLE}} }}"
        with filtered(tmp_path, one, smtpd_milter_maps=maps, **STRANGERS) as served:
            for host in ("127.0.0.1", "::1"):
                with served.connect(host) as line:
                    line.reply()
                    assert send(line, "Subject: x", "", "x")[:3] == "250"
            assert (len(one.heard), len(other.heard)) == (0, 1)


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"smtpd_milters": "inet:8891@localhost"}, "smtpd_milters: inet:8891@localhost: inet:host:port or unix:/path"),
        ({"non_smtpd_milters": "{ unix:/x, colour=red }"}, "non_smtpd_milters: colour=red: one of connect_timeout="),
        ({"receive_override_options": "no_address_mappings"}, "no_address_mappings: only no_milters can stand here"),
        ({"submission_options": "-o smtpd_milters=x"}, "smtpd_milters: x: inet:host:port or unix:/path"),
    ],
)
def test_what_is_no_filter_stops_the_start(tmp_path, settings, line):
    with Served(tmp_path / "i", **settings) as served:
        assert served.start(check=False).returncode != 0
        assert line in served.output()


def test_no_milters_means_none(tmp_path):
    with MilterServer() as server, filtered(tmp_path, server, receive_override_options="no_milters") as served:
        with served.connect() as line:
            line.reply()
            assert send(line, "Subject: x", "", "x")[:3] == "250"
        served.configure(non_smtpd_milters=f"inet:127.0.0.1:{server.port}")
        served.reload()
        served.submit(b"Subject: unseen\n\n", "games@here.test")
        served.wait_for_mail("games", b"Subject: unseen")
        assert server.heard == []


def test_a_filter_that_makes_progress_for_ever_is_given_up(tmp_path):
    def progress(_):
        for said in itertools.cycle([b"p", b"h" + b"X-More\0yes\0"]):
            yield said
            time.sleep(0.05)

    with (
        MilterServer({"E": progress}) as server,
        filtered(tmp_path, server, settings="content_timeout=1 default_action=tempfail") as served,
        served.connect() as line,
    ):
        line.reply()
        assert send(line, "Subject: slow", "", "x")[:9] == "451 4.7.1"
        served.wait_for_log("milter .*: no answer in time at the end of the message; milter_default_action = tempfail")
        assert served.count() == 0
