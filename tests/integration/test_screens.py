"""What people see: each verb on a real terminal of 80 columns, in a queue with names that have no room there.

No line is broken by the terminal, which would go on at column 0; colours are for it alone; and the screens
that say the same on every host are as they have been looked at (tests/integration/screens).
"""

import re
from pathlib import Path

import pytest

from sendmail_py.commands.mailctl.main import VERBS
from tests.integration.instance import Instance, me
from tests.servers.ports import free_port
from tests.servers.tmux import COLUMNS, Terminal

pytestmark = pytest.mark.real("tmux")
GOLDEN = Path(__file__).parent / "screens"
LONG_DOMAIN = ".".join(["longest-names" * 4] * 3) + ".test"
LONG = f"{'recipient' * 7}@{LONG_DOMAIN}"
SENDER = "the.sender.with.a.long.name@department.of.long.names.example.org"
ERRORS = "error:5.1.1 " + "the reason that somebody has written here for a page of the manual " * 4
# Each screen as it is typed, and a colour that it has.
SCREENS = {
    "status": (["status"], "\x1b[32mrunning"),
    "queue summary": (["queue", "summary"], ""),
    "queue list": (["queue", "list"], ""),
    "queue show": (["queue", "show", "ID"], ""),
    "check": (["check"], "\x1b[32mok"),
    "config explain": (["config", "explain", "relayhost", "smtp_tls_security_level"], ""),
    "trace": (["trace", LONG], "\x1b[33mstatus=deferred"),
    "trace of an id": (["trace", "ID"], "\x1b[33mstatus=deferred"),
    "help": (["help"], "\x1b[1mThe services"),
    "test-delivery": (["test-delivery", LONG], ""),
    "send-test": (["send-test", me()], "\x1b[32mdelivered"),
    "tls-probe": (["tls-probe", "far.test"], ""),
}


@pytest.fixture(scope="module")
def instance(tmp_path_factory):
    settings = {"defer_transports": "smtp", "resolver_timeout": "1s", "transport_maps": "inline:{ far.test=smtp }"}
    settings |= {"resolver_nameservers": f"127.0.0.1:{free_port()}", "smtpd_port": free_port()}
    with Instance(tmp_path_factory.mktemp("screens") / "i", **settings) as instance:
        instance.start()
        instance.submit(b"Subject: x\n\nx\n", "-i", "-f", SENDER, LONG, "someone@far.test")
        (line, _) = instance.wait_for_log("status=deferred", 2)
        instance.queue_id = re.search(r"([0-9A-F]{15,}): to=", line)[1]
        instance.configure(smtp_tls_security_level="the level that nobody has ever heard of", inet_interfaces="a..b")
        assert instance.reload().returncode == 78
        yield instance


@pytest.fixture(scope="module")
def terminal(instance, tmp_path_factory):
    with Terminal(tmp_path_factory.mktemp("terminal"), instance.environment) as terminal:
        yield terminal


def command(instance, words):
    """Return a verb of mailctl as it is typed."""
    known = {"ID": instance.queue_id}
    return [f"{instance.tree}/bin/mailctl", "-c", str(instance.path), *(known.get(word, word) for word in words)]


@pytest.fixture(scope="module", autouse=True)
def good_main_cf(instance):
    """main.cf is mended, and what status tells of the refused reload stays."""
    text = (instance.path / "main.cf").read_text()
    (instance.path / "main.cf").write_text(re.sub("(?m)^(smtp_tls_security_level|inet_interfaces) =.*\n", "", text))


@pytest.mark.parametrize("name", SCREENS)
def test_no_line_of_a_screen_is_broken_by_the_terminal(instance, terminal, name):
    words, colour = SCREENS[name]
    screen = terminal.run(*command(instance, words))
    assert screen.broken == []
    assert max(map(len, screen.lines)) <= COLUMNS and "Traceback" not in screen.text
    assert colour in screen.coloured
    dull = terminal.run(*command(instance, words), NO_COLOR="1")
    assert "\x1b" not in dull.coloured and dull.broken == []


def test_what_has_no_room_goes_on_further_in(instance, terminal):
    for words, of_the_text in ((["trace", LONG], 19), (["queue", "list"], 12), (["queue", "show", "ID"], 13)):
        lines = terminal.run(*command(instance, words)).lines
        pieces = [line for line in lines if line.count("names") > 1]
        assert len(pieces) > 2
        assert {len(line) - len(line.lstrip()) for line in pieces} == {of_the_text}


def test_every_help_fits_the_terminal(terminal, instance):
    for verb in VERBS:
        screen = terminal.run(*command(instance, ["help", verb]))
        assert screen.broken == [] and screen.text.startswith(f"usage: mailctl {verb}"), verb


@pytest.mark.parametrize("name", ["help", "help queue", "help check", "config explain relayhost mynetworks"])
def test_a_screen_is_as_it_has_been_looked_at(instance, terminal, name):
    golden = (GOLDEN / name.replace(" ", "-")).with_suffix(".txt")
    shown = terminal.run(*command(instance, name.split())).text
    assert golden.read_text() == shown


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_a_verb_is_what_the_verb_says_itself(instance, verb):
    helped = instance.mailctl("help", verb, check=True).stdout
    assert helped == instance.mailctl(verb, "--help", check=True).stdout
    assert helped.startswith(b"usage: mailctl " + verb.encode())


def test_help_of_no_verb_is_an_error_of_one_line(instance):
    done = instance.mailctl("help", "dance")
    assert done.returncode == 64 and done.stderr.count(b"\n") == 1 and b"unknown verb dance" in done.stderr
