"""non_smtpd_milters: mail of sendmail(1) with filters that change, refuse, put off, hang and fail."""

import contextlib

import pytest

from tests.integration.instance import Instance
from tests.servers.milter_server import MilterServer

WHO = "games@here.test"


@contextlib.contextmanager
def filtered(path, server, **settings):
    place = f"{{ inet:127.0.0.1:{server.port} command_timeout=60 content_timeout=60 }}"
    with Instance(path / "i", **{"non_smtpd_milters": place, "maildrop_scan_delay": "1s"} | settings) as instance:
        instance.start()
        yield instance


def submit(instance, subject, sender="daemon@here.test", to=WHO):
    instance.submit(f"Subject: {subject}\nX-A: b\n\nbody\n".encode(), "-f", sender, to)


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    with MilterServer() as server, filtered(tmp_path_factory.mktemp("local"), server) as instance:
        yield instance, server


def test_a_filter_hears_of_a_client_on_this_host_and_changes_the_message(story):
    instance, server = story
    server.says = {"E": [b"h" + b"X-Filtered\0yes\0", b"b" + b"other\r\n", b"c"]}
    submit(instance, "changed")
    text = instance.wait_for_mail("games", b"Subject: changed")
    assert b"\nX-Filtered: yes\n" in text
    assert b"\n\nother\n" in text
    assert server.commands().replace("L", "") == "CHMRTNBEQ"
    assert server.payloads("C") == [b"localhost\x004\0\x00127.0.0.1\0"]
    assert server.payloads("M") == [b"<daemon@here.test>\0"]
    assert server.macros()["E"][b"i"]


def test_what_is_refused_bounces_what_is_discarded_goes_nowhere_and_what_is_quarantined_is_held(story):
    instance, server = story
    server.says = {"E": [b"y" + b"550 5.7.2 we do not like it\0"]}
    submit(instance, "refused", sender="sys@here.test")
    assert b"5.7.2" in instance.wait_for_mail("sys", b"we do not like it")
    server.says = {"B": [b"d"]}
    submit(instance, "discarded", to="lp@here.test")
    instance.wait_for_log("milter-discard: END-OF-MESSAGE from localhost")
    server.says = {"E": [b"q" + b"look\0", b"c"]}
    submit(instance, "held", to="man@here.test")
    instance.wait_for_log("milter-hold: END-OF-MESSAGE from localhost.127.0.0.1.: look; from=<daemon@here.test>")
    assert "man@here.test" in instance.mailq()
    assert not instance.mailbox("man")
    assert not instance.mailbox("lp")


def test_what_is_put_off_waits_and_is_shown_again_and_comes_once(story):
    instance, server = story
    server.says = {"M": [b"t"]}
    submit(instance, "later")
    instance.wait_for_log("maildrop/.*a filter says: 451 4.7.1 .*; it waits")
    assert WHO in instance.mailq()
    server.says = {}
    instance.wait_for_mail("games", b"Subject: later")
    instance.wait_for(lambda: WHO not in instance.mailq(), "nothing of it waits")
    assert instance.mailbox("games").count(b"Subject: later") == 1


def test_mail_waits_while_its_filter_is_gone_and_nothing_is_lost(tmp_path):
    with MilterServer() as server:
        pass
    with filtered(tmp_path, server) as instance:
        for number in range(5):
            submit(instance, f"number {number}")
        instance.wait_for_log("milter inet.*milter_default_action = tempfail", 5)
        assert instance.count() == 5
        instance.configure(non_smtpd_milters="")
        instance.reload()
        text = instance.wait_for_mail("games", b"Subject: number", 5)
        assert all(text.count(b"Subject: number %d" % n) == 1 for n in range(5))


def test_messages_whose_filter_hangs_keep_no_other_waiting(story):
    instance, server = story
    slow = lambda payload: [None] if b"slow" in payload else [b"c"]  # noqa: E731
    server.says = {"M": slow}
    for number in range(5):
        submit(instance, f"slow {number}", sender=f"slow{number}@here.test")
    hanging = lambda: sum(any(b"slow" in said for _, said in heard) for heard in server.heard)  # noqa: E731
    instance.wait_for(lambda: hanging() == 5, "all of them wait for the filter")
    submit(instance, "quick", to="proxy@here.test")
    instance.wait_for_mail("proxy", b"Subject: quick")
    assert "no answer in time" not in instance.log(), "it waited for the filters of others"
    server.says = {}
    server.drop_all()
    instance.wait_for_mail("games", b"Subject: slow", 5)


def test_a_message_over_the_submit_socket_is_filtered_before_it_is_taken(story):
    instance, server = story
    server.says = {"E": [b"h" + b"X-Filtered\0yes\0", b"c"]}
    maildrop = instance.path / "queue" / "maildrop"
    mode = maildrop.stat().st_mode
    maildrop.rename(maildrop.with_name("away"))
    try:
        submit(instance, "by socket", to="uucp@here.test")
    finally:
        maildrop.with_name("away").rename(maildrop)
    assert b"X-Filtered: yes" in instance.wait_for_mail("uucp", b"Subject: by socket")
    assert maildrop.stat().st_mode == mode


def test_a_verification_is_not_shown(story):
    instance, server = story
    before = len(server.heard)
    instance.submit(b"Subject: x\n\n", "-bv", WHO)
    instance.wait_for_log("status=deliverable")
    assert len(server.heard) == before
