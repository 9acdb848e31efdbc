"""Every verb of mailctl that reads: --json for programs, colours for people at a terminal and for nobody else."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from sendmail_py.commands.mailctl import main
from sendmail_py.commands.mailctl.main import VERBS, usage
from sendmail_py.formats.oauth import Account
from sendmail_py.host.configuration import load
from sendmail_py.spool.token_store import TokenStore, directory_of
from tests.integration.instance import LIMIT, ROOT, Instance, me
from tests.servers.ports import free_port

CHANGING = {"start", "stop", "reload", "flush", "init", "setup"}
# Each reading verb as it is typed.
READING = {
    "status": ["status"],
    "queue list": ["queue", "list"],
    "queue count": ["queue", "count"],
    "queue summary": ["queue", "summary"],
    "queue show": ["queue", "show", "ID"],
    "trace": ["trace", "ID"],
    "send-test": ["send-test", me()],
    "test-delivery": ["test-delivery", me()],
    "map": ["map", "inline:{ {a = b} }", "a"],
    "passwd list": ["passwd", "list"],
    "check": ["check"],
    "oauth list": ["oauth", "list"],
    "tls-probe": ["tls-probe", "far.test"],
    "dkim show": ["dkim", "show", "here.test"],
    "dkim check": ["dkim", "check", "here.test"],
    "config": ["config", "myhostname"],
    "config explain": ["config", "explain", "myhostname"],
    "import": ["import", "postfix", "OTHER", "--dry-run"],
}


@pytest.fixture(scope="module")
def instance(tmp_path_factory):
    """A running instance with something for every verb to tell."""
    path = tmp_path_factory.mktemp("reading")
    (path / "other.cf").write_text("relayhost = [smtp.example.net]\n")
    settings = {"defer_transports": "smtp", "dkim_domains": "inline:{ {here.test = sel} }"}
    settings |= {"resolver_nameservers": f"127.0.0.1:{free_port()}", "resolver_timeout": "1s"}
    settings |= {"smtpd_port": free_port(), "smtpd_tls_security_level": "may", "relayhost": "[smtp.example.net]"}
    with Instance(path / "i", **settings) as instance:
        instance.other = path / "other.cf"
        instance.mailctl("dkim", "keygen", "here.test", "sel", check=True)
        instance.mailctl("passwd", "add", "alice", input=b"secret\n", check=True)
        instance.start()
        instance.submit(b"Subject: x\n\nx\n", "-i", "someone@far.test")
        (line,) = instance.wait_for_log("status=deferred")
        instance.queue_id = re.search(r"([0-9A-F]{15,}): to=", line)[1]
        yield instance


def words_of(instance, name):
    known = {"ID": instance.queue_id, "OTHER": str(instance.other)}
    return [known.get(word, word) for word in READING[name]]


def values(text):
    """Return all values of JSON in a text that holds nothing else."""
    found, decoder, at = [], json.JSONDecoder(), 0
    while at < len(text):
        value, at = decoder.raw_decode(text, at)
        found.append(value)
        at += len(text[at:]) - len(text[at:].lstrip())
    return found


def test_no_verb_is_forgotten_here():
    assert {name.split()[0] for name in READING} | CHANGING == set(VERBS)


@pytest.mark.parametrize("name", READING)
def test_each_reading_verb_prints_json_and_nothing_else(instance, name):
    done = instance.mailctl(*words_of(instance, name), "--json")
    assert done.returncode in (0, 1, 2, 75), done.stderr
    (found,) = values(done.stdout.decode())
    assert found or found == []


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_explains_itself_without_an_instance_and_does_nothing(tmp_path, capsys, verb):
    with pytest.raises(SystemExit) as ended:
        sys.exit(main.run(["-c", str(tmp_path), verb, "--help"], str(ROOT)))
    said = capsys.readouterr()
    assert (ended.value.code, said.err) == (0, "")
    assert said.out.startswith(f"usage: mailctl {verb}") and len(said.out.splitlines()) > 2
    assert list(tmp_path.iterdir()) == []


def test_the_help_names_every_verb_and_fits_a_terminal_of_80_columns():
    for words in (["help"], ["queue", "--help"]):
        shown = subprocess.run([f"{ROOT}/bin/mailctl", *words], capture_output=True, text=True, timeout=60).stdout
        assert max(map(len, shown.splitlines())) < 80
    assert set(re.findall(r"^  ([a-z][a-z-]*) ", usage(), re.M)) == set(VERBS)


# --- at a terminal -------------------------------------------------------------------------------


def at_a_terminal(instance, *words, **environment):
    """Run mailctl with a terminal as its output, and return what is shown."""
    ours, theirs = pty.openpty()
    command = [f"{instance.tree}/bin/mailctl", "-c", str(instance.path), *words]
    variables = instance.environment | {"TERM": "xterm"} | environment
    with os.fdopen(ours, "rb", 0) as screen:
        process = subprocess.Popen(command, env=variables, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs)
        os.close(theirs)
        shown = b""
        try:
            while block := screen.read(65536):
                shown += block
        except OSError:  # the last end of the terminal is closed
            pass
        process.wait(LIMIT)
    return shown.decode()


COLOURED = {
    "status": "\x1b[32mrunning\x1b[0m",
    "trace": "\x1b[33mstatus=deferred\x1b[0m",
    "send-test": "\x1b[32mdelivered\x1b[0m",
    "check": "\x1b[32mok\x1b[0m",
}


@pytest.mark.parametrize("name", COLOURED)
def test_colours_are_for_terminals_and_for_who_has_not_said_no(instance, name):
    words = words_of(instance, name)
    assert COLOURED[name] in at_a_terminal(instance, *words)
    for environment in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        assert "\x1b" not in at_a_terminal(instance, *words, **environment)


def test_long_lines_are_broken_between_words_on_a_terminal_and_whole_in_a_pipe(instance):
    lines = at_a_terminal(instance, "trace", instance.queue_id, NO_COLOR="1").splitlines()
    words = [len(word) for line in lines for word in line.split()]
    assert all(len(line) <= 80 or len(line.split()) == 1 for line in lines) and max(words) < 80
    assert len(lines) > len(instance.mailctl("trace", instance.queue_id).stdout.splitlines())


@pytest.mark.parametrize("name", [*COLOURED, "config explain", "import", "queue show"])
def test_what_goes_into_a_pipe_has_no_escape_codes(instance, name):
    environment = instance.environment | {"TERM": "xterm"}
    done = instance.mailctl(*words_of(instance, name), env=environment)
    assert b"\x1b" not in done.stdout + done.stderr


# --- status --------------------------------------------------------------------------------------


def test_status_tells_of_services_queue_certificate_logins_and_the_last_errors(instance):
    tokens = directory_of(load(str(instance.path))[0])
    os.makedirs(tokens, 0o700)
    store = TokenStore(tokens)
    store.save(Account("microsoft", "ann@example.org", "device", "https://t.test/", "id", revoked="invalid_grant"))
    with open(instance.path / "maillog", "a") as log:
        log.write("Nov 28 22:00:01 here sendmail-py/qmgr[7]: warning: the disk is slow today\n")
    shown = instance.mailctl("status", check=True).stdout.decode()
    assert re.search(r"^running, pid \d+, since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d \(\d+ .*\)$", shown, re.M)
    assert re.search(r"^  qmgr    pid \d+ +ready, up \d+", shown, re.M)
    assert "\nqueue: 1 deferred\n" in shown
    assert "smtpd: TLS with a certificate of its own" in shown and "which no client can verify" in shown
    assert "login of ann@example.org (microsoft): has to log in again: invalid_grant" in shown
    assert "\nlast warnings and errors:\n" in shown
    assert shown.endswith("  Nov 28 22:00:01 qmgr: warning: the disk is slow today\n")
    found = json.loads(instance.mailctl("status", "--json").stdout)
    assert found["running"] and found["queue"] == {"deferred": 1} and found["throttled"] == []
    assert found["troubles"][-1]["text"] == "warning: the disk is slow today"


def killed_again(instance, service):
    """Kill a service where it runs; says whether it has to wait for its next start by now."""
    if pid := instance.pid_of(service):
        os.kill(pid, signal.SIGKILL)
    found = json.loads(instance.mailctl("status", "--json").stdout)
    return any(row["name"] == service and row["seconds"] > 3 for row in found["throttled"])


@pytest.mark.real("openssl")
def test_status_and_health_name_a_throttled_service_and_status_a_refused_reload_and_the_end_of_certificates(tmp_path):
    files = {"smtpd_tls_cert_file": tmp_path / "c.pem", "smtpd_tls_key_file": tmp_path / "k.pem"}
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "9"]
        + ["-subj", "/CN=here.test", "-keyout", str(tmp_path / "k.pem"), "-out", str(tmp_path / "c.pem")],
        check=True,
        capture_output=True,
    )
    place = f"127.0.0.1:{free_port()}"
    files |= {"metrics_listen": place, "service_throttle_time": "60s"}
    with Instance(tmp_path / "i", smtpd_port=free_port(), **files) as instance:
        instance.start()
        instance.wait_for(lambda: killed_again(instance, "pickup"), "pickup has to wait for seconds")
        with pytest.raises(urllib.error.HTTPError, match="503"):
            urllib.request.urlopen(f"http://{place}/health", timeout=60)
        instance.configure(relayhost="[a", minimal_backoff_time="soon")
        assert instance.reload().returncode == 78
        shown = instance.mailctl("status", check=True).stdout.decode()
        assert re.search(rf"^certificate {tmp_path}/c.pem: ends on \d{{4}}-\d\d-\d\d, in 8 d 23 h$", shown, re.M)
        assert str(tmp_path / "k.pem") not in shown
        assert re.search(r"^  pickup  throttled: it ended too soon; started again in \d+ s$", shown, re.M)
        assert "the last reload was refused, the old configuration serves on: " in shown
        assert "minimal_backoff_time = soon" in shown
        assert "warning: service pickup (pid " in shown
        instance.stop()
        done = instance.mailctl("status")
        assert done.returncode == 69 and done.stdout.startswith(b"not running\nqueue: empty\n")
        assert b"the services are not running" in done.stderr
