"""The submission ports: where users' mail programs hand their mail in. Real clients, and what must not pass."""

import base64
import contextlib
import fcntl
import os
import re
import smtplib
import socket
import ssl
import subprocess
import time

import pytest

from tests.integration.instance import LIMIT, PATH
from tests.integration.smtp_server import Line, Submission

ALICE = ("alice", "secret word")
PLAIN = base64.b64encode("\0".join(("", *ALICE)).encode()).decode()
MESSAGE = b"Subject: %s\n\nhello\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    path = tmp_path_factory.mktemp("submission") / "i"
    owners = "inline:{ {alice@here.test=alice} {bob@here.test=bob} {c@c.test=alice} }"
    with Submission(path, dict([ALICE, ("bob", "geheim")]), smtpd_sender_login_maps=owners) as instance:
        instance.start()
        yield instance


def refused(client, user, password, mechanism="PLAIN"):
    """Return the answer to a login that must fail."""
    text = base64.b64encode(f"\0{user}\0{password}".encode()).decode()
    return client.docmd("AUTH", f"{mechanism} {text}")


# --- the ports -----------------------------------------------------------------------------------


def test_in_clear_nothing_is_taken_at_submission(server):
    with server.bare() as line:
        line.ask("EHLO c.test")
        assert line.ask("MAIL FROM:<games@here.test>") == "530 5.7.0 Must issue a STARTTLS command first"


def test_both_submission_ports_speak_tls_each_in_its_way(server):
    for client in (server.starttls(), server.wrapped()):
        with client:
            assert client.sock.version() == "TLSv1.3" and not client.has_extn("starttls")
            assert client.esmtp_features["auth"].split() == ["PLAIN", "LOGIN"]
    context = ssl._create_unverified_context()
    with smtplib.SMTP_SSL("::1", server.submissions, timeout=LIMIT, context=context) as client:
        client.login(*ALICE)


def test_who_connects_to_submissions_and_says_nothing_is_let_go_and_forgotten(tmp_path):
    settings = {"smtpd_client_connection_count_limit": 1, "smtpd_client_event_limit_exceptions": ""}
    settings |= {"smtpd_timeout": "10s", "smtpd_starttls_timeout": "3s"}
    with Submission(tmp_path / "i", dict([ALICE]), **settings) as server:
        server.start()
        with socket.create_connection(("127.0.0.1", server.submissions), timeout=LIMIT) as silent:
            assert silent.recv(100) == b""  # nor is anything said to it in clear
        with server.wrapped() as client:
            client.login(*ALICE)
        server.wait_for_log(r"SSL_accept error from localhost\[127.0.0.1\]: the handshake timed out")


def test_being_on_the_network_is_no_login(server):
    for client in (server.starttls(), server.wrapped()):
        with client:
            assert client.mail("games@here.test") == (530, b"5.7.0 Authentication required")
    with server.client() as client:
        client.ehlo()
        assert not client.has_extn("auth")
        assert client.sendmail("a@a.test", ["games@here.test"], "Subject: port 25\n\nx\n") == {}


def test_clear_text_at_the_port_of_tls_ends_the_connection_and_only_that(server):
    with Line(socket.create_connection(("127.0.0.1", server.submissions), timeout=LIMIT)) as line:
        line.say("EHLO c.test")
        try:
            rest = line.file.read()
        except ConnectionError:
            rest = b""
        assert b"220" not in rest and b"250" not in rest
    server.wait_for_log(r"/submissions/smtpd\[\d+\]: SSL_accept error from localhost\[127.0.0.1\]: ")
    with server.wrapped() as client:
        assert client.noop()[0] == 250


def test_sockets_of_systemd_are_served_instead_of_those_of_main_cf(tmp_path):
    with Submission(tmp_path / "i", dict([ALICE]), smtpd_port="") as served, contextlib.ExitStack() as stack:
        ends = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2)]
        moved = [fcntl.fcntl(end.fileno(), fcntl.F_DUPFD, 40 + at) for at, end in enumerate(ends)]
        named = "LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=submissions:smtp"
        command = f'exec 3<&{moved[0]} 4<&{moved[1]}; {named} exec "$@"'
        words = [f"{served.tree}/bin/mailctl", "-c", str(served.path), "start", "--foreground"]
        environment = served.environment | {"PATH": PATH}
        with subprocess.Popen(["bash", "-c", command, "bash", *words], pass_fds=moved, env=environment) as master:
            try:
                served.wait_for(served.master_pid, "master runs")
                configured, served.submissions = served.submissions, ends[0].getsockname()[1]
                with served.wrapped() as client:
                    client.login(*ALICE)
                served.port = ends[1].getsockname()[1]
                assert served.connect_and_ask("a@a.test")[:3] == "250"
                with served.starttls() as client:
                    client.login(*ALICE)
                with pytest.raises(ConnectionRefusedError):
                    socket.create_connection(("127.0.0.1", configured), timeout=LIMIT)
            finally:
                master.terminate()
                for number in moved:
                    os.close(number)


def test_commands_hidden_behind_starttls_log_nobody_in(server):
    with server.bare() as line:
        line.end.sendall(f"EHLO c.test\r\nSTARTTLS\r\nAUTH PLAIN {PLAIN}\r\n".encode())
        assert line.replies()[-1] == "421 4.7.0 Error: commands after STARTTLS, before TLS"


def test_a_login_before_starttls_counts_no_more_after_it(tmp_path):
    settings = {"smtpd_sasl_auth_enable": "yes", "smtpd_tls_auth_only": "no", "smtpd_sasl_auth_required": "yes"}
    with Submission(tmp_path / "i", dict([ALICE]), **settings) as served:
        served.start()
        with served.client() as client:
            client.login(*ALICE)
            assert client.mail("a@a.test")[0] == 250
            client.rset()
            client.starttls(context=ssl._create_unverified_context())
            client.ehlo()
            assert client.mail("a@a.test") == (530, b"5.7.0 Authentication required")
            client.login(*ALICE)
            assert client.mail("a@a.test")[0] == 250


# --- real clients --------------------------------------------------------------------------------


def test_smtplib_logs_in_and_sends_and_the_log_and_the_message_say_as_whom(server):
    with server.starttls() as client:
        client.login(*ALICE)
        client.sendmail("alice@here.test", ["games@here.test"], MESSAGE % b"smtplib")
    text = server.wait_for_mail("games", b"Subject: smtplib")
    message = next(part for part in text.split(b"\nFrom ") if b"Subject: smtplib" in part)
    assert b" with ESMTPSA id " in message and b"secret" not in message and b"Authenticated" not in message
    assert b"\nMessage-Id: " in message and b"\nFrom: alice@here.test" in message, "submission adds what is missing"
    pattern = r"/submission/smtpd\[\d+\]: \w+: client=localhost\[127.0.0.1\], sasl_method=PLAIN, sasl_username=alice$"
    server.wait_for_log(pattern)
    server.wait_for_log(r"disconnect from localhost\[127.0.0.1\] ehlo=2 starttls=1 auth=1 mail=1 rcpt=1 data=1 quit=1")


def run(server, *words, input=b"", check=True, **environment):
    done = subprocess.run(
        list(map(str, words)), input=input, capture_output=True, timeout=LIMIT, env={"PATH": PATH, **environment}
    )
    assert not check or done.returncode == 0, f"{done.stdout!r} {done.stderr!r}\n{server.log()}"
    return done


SWAKS = ("swaks", "-s", "127.0.0.1", "-f", "alice@here.test", "-t", "games@here.test", "-au", "alice", "--hide-all")


@pytest.mark.real("swaks")
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_swaks_logs_in_at_both_ports(server, mechanism):
    both = (["-p", server.submission, "-tls"], ["-p", server.submissions, "-tlsc"])
    for way in both:
        subject = f"swaks {mechanism} {way[1]}"
        run(server, *SWAKS, "-ap", ALICE[1], "-a", mechanism, *way, "--header", f"Subject: {subject}")
        server.wait_for_mail("games", f"Subject: {subject}".encode())
    assert run(server, *SWAKS, "-ap", "wrong", "-a", mechanism, *both[0], check=False).returncode == 28, "no login"


@pytest.mark.real("curl")
def test_curl_logs_in_at_both_ports(server):
    for scheme, port in (("smtp", server.submission), ("smtps", server.submissions)):
        words = ["--url", f"{scheme}://127.0.0.1:{port}", "--ssl-reqd", "-k", "-u", ":".join(ALICE), "-T", "-"]
        words += ["--mail-from", "alice@here.test", "--mail-rcpt", "games@here.test"]
        run(server, "curl", "-sS", *words, input=MESSAGE % f"curl {scheme}".encode())
        server.wait_for_mail("games", f"Subject: curl {scheme}".encode())


@pytest.mark.real("msmtp")
@pytest.mark.parametrize("tls", ["on", "off"])
def test_msmtp_logs_in_with_starttls_or_without(server, tmp_path, tls):
    port = server.submission if tls == "on" else server.submissions
    words = rc(tmp_path / "rc", f"port {port}\nauth on\ntls_starttls {tls}\n")
    run(server, *words, "games@here.test", input=MESSAGE % f"msmtp {tls}".encode())
    server.wait_for_mail("games", f"Subject: msmtp {tls}".encode())


def rc(path, text):
    """Return a command line of msmtp with this configuration, for alice."""
    path.write_text(
        f"account default\nhost 127.0.0.1\ntls on\ntls_certcheck off\n{text}"
        f'user {ALICE[0]}\npassword "{ALICE[1]}"\nfrom alice@here.test\n'
    )
    path.chmod(0o600)
    return "msmtp", "-C", path


@pytest.mark.real("s-nail")
def test_s_nail_logs_in(server, tmp_path):
    url = f"submissions://alice:secret%20word@127.0.0.1:{server.submissions}"
    words = ["-:/", "-S", "v15-compat", "-S", f"mta={url}", "-S", "tls-verify=ignore", "-S", "smtp-auth=login"]
    run(
        server,
        "s-nail",
        *words,
        "-r",
        "alice@here.test",
        "-s",
        "s-nail",
        "games@here.test",
        input=b"x\n",
        HOME=tmp_path,
    )
    server.wait_for_mail("games", b"Subject: s-nail")


@pytest.mark.real("openssl")
@pytest.mark.parametrize("port", ["submission", "submissions"])
def test_somebody_with_openssl_logs_in_by_hand(server, port):
    words = ["s_client", "-quiet", "-crlf", "-connect", f"127.0.0.1:{getattr(server, port)}"]
    words += ["-starttls", "smtp"] if port == "submission" else []
    said = f"EHLO c.test\nAUTH PLAIN {PLAIN}\nMAIL FROM:<alice@here.test>\nQUIT\n"
    heard = run(server, "openssl", *words, input=said.encode()).stdout
    assert b"235 2.7.0 Authentication successful\r\n250 2.1.0 Ok\r\n221 2.0.0 Bye" in heard


@pytest.mark.real("msmtp")
def test_scram_proves_the_password_to_a_client_and_the_client_to_us(tmp_path):
    with Submission(tmp_path / "i") as served:
        served.mailctl("passwd", "add", "--scram", "alice", input=b"secret word\n", check=True)
        served.start()
        with served.starttls() as client:
            assert client.esmtp_features["auth"].split() == ["SCRAM-SHA-256", "PLAIN", "LOGIN"]
            assert client.docmd("AUTH", "SCRAM-SHA-256 " + encoded("n,,n=alice,r=abc"))[0] == 334
            assert client.docmd(encoded("c=biws,r=abc,p=AAAA"))[0] == 535
            client.login(*ALICE)
            client.sendmail("a@a.test", ["games@here.test"], MESSAGE % b"by password")
        words = rc(tmp_path / "rc", f"port {served.submission}\nauth scram-sha-256\n")
        run(served, *words, "games@here.test", input=MESSAGE % b"proven")
        served.wait_for_mail("games", b"Subject: proven")
        served.wait_for_log("sasl_method=SCRAM-SHA-256, sasl_username=alice")
        served.wait_for_log("sasl_method=PLAIN, sasl_username=alice")


def test_what_a_login_must_not_be_depends_on_whether_there_is_tls(tmp_path):
    settings = {"smtpd_sasl_auth_enable": "yes", "smtpd_tls_auth_only": "no"}
    settings |= {"smtpd_sasl_security_options": "noplaintext", "smtpd_sasl_tls_security_options": "noanonymous"}
    with Submission(tmp_path / "i", **settings) as served:
        served.mailctl("passwd", "add", "--scram", "alice", input=b"secret word\n", check=True)
        served.start()
        with served.client() as client:
            client.ehlo("c.test")
            assert client.esmtp_features["auth"].split() == ["SCRAM-SHA-256"]
            assert refused(client, *ALICE)[0] == 504  # the password has been said, and is not looked at
            client.starttls(context=ssl._create_unverified_context())
            client.ehlo("c.test")
            assert client.esmtp_features["auth"].split() == ["SCRAM-SHA-256", "PLAIN", "LOGIN"]
            assert refused(client, *ALICE)[0] == 235


def encoded(text):
    return base64.b64encode(text.encode()).decode()


# --- who may be whom -----------------------------------------------------------------------------


def test_a_user_writes_to_the_world_under_his_own_addresses_alone(server):
    with server.starttls() as client:
        client.login(*ALICE)
        for sender, answer in (("alice@here.test", 250), ("alice+x@here.test", 250), ("c@c.test", 250), ("", 250)):
            client.mail(sender)
            assert client.rcpt("games@here.test")[0] == answer, sender
            client.rset()
        for sender in ("bob@here.test", "nobody@else.test"):
            client.mail(sender)
            text = f"5.7.1 <{sender}>: Sender address rejected: not owned by user alice"
            assert client.rcpt("stranger@elsewhere.test") == (553, text.encode())
            client.rset()
    server.wait_for_log(r"NOQUEUE: reject: RCPT .*: 553 5.7.1 .* helo=<c.test> sasl_username=<alice>$")


def test_the_queue_knows_who_has_submitted(server):
    server.configure(defer_transports="local")
    server.reload()
    with server.wrapped() as client:
        client.login(*ALICE)
        answer = client.docmd("MAIL", "FROM:<alice@here.test>"), client.docmd("RCPT", "TO:<games@here.test>")
        assert [code for code, _ in answer] == [250, 250]
        queue_id = re.search(rb"queued as (\w+)", client.data(MESSAGE % b"kept")[1])[1].decode()
    server.wait_for(lambda: list(server.path.glob(f"queue/deferred/*/{queue_id}")), "it is deferred")
    (file,) = server.path.glob(f"queue/deferred/*/{queue_id}")
    assert re.search(rb"^submitter: .*\bsasl=alice\b", file.read_bytes(), re.MULTILINE)
    server.configure(defer_transports="")
    server.reload()
    server.mailctl("flush")
    server.wait_for_mail("games", b"Subject: kept")


def test_received_may_name_the_user(tmp_path):
    option = "-o smtpd_sasl_authenticated_header=yes"
    with Submission(tmp_path / "i", dict([ALICE]), submission_options=option) as served:
        served.start()
        with served.starttls() as client:
            client.login(*ALICE)
            client.sendmail("a@a.test", ["games@here.test"], MESSAGE % b"named")
        text = served.wait_for_mail("games", b"Subject: named")
        assert b"(localhost [127.0.0.1])\n\t(Authenticated sender: alice)\n\tby here.test" in text


@pytest.mark.parametrize(
    ("settings", "sender", "to", "answer"),
    [
        ({}, "a@a.test> SIZE=99999999", "", b"552 5.3.4 Message size exceeds the limit"),
        ({"queue_minfree": 1 << 60}, "a@a.test>", "", b"452 4.3.1 Insufficient system storage"),
        ({}, "a@a.test>", "nobody.such@here.test", b"550 5.1.1 <nobody.such@here.test>: Recipient address rejected: "),
        ({"smtpd_recipient_limit": 1}, "a@a.test>", "games@here.test", b"452 4.5.3 Error: too many recipients"),
    ],
)  # fmt: skip
def test_a_refusal_says_what_it_is_in_words_and_in_codes(tmp_path, settings, sender, to, answer):
    with Submission(tmp_path / "i", dict([ALICE]), **settings) as served:
        served.start()
        with served.wrapped() as client:
            client.login(*ALICE)
            said = client.docmd("MAIL", f"FROM:<{sender}")
            if to:
                assert client.rcpt("games@here.test")[0] == 250
                said = client.docmd("RCPT", f"TO:<{to}>")
            assert (b"%d %b" % said).startswith(answer)


# --- logins that fail ----------------------------------------------------------------------------


def test_a_wrong_login_is_logged_for_fail2ban_without_what_was_said(server):
    with server.starttls() as client:
        assert refused(client, "alice", "hunter2")[0] == refused(client, "nobody", "hunter2")[0] == 535
        assert client.docmd("AUTH", "LOGIN")[0] == 334
        assert client.docmd("*") == (501, b"5.7.0 Authentication aborted")
    line = r"warning: localhost\[127.0.0.1\]: SASL PLAIN authentication failed: authentication failure, sasl_username="
    server.wait_for_log(line + "alice$")
    server.wait_for_log(line + "nobody$")
    assert "hunter2" not in server.log() and encoded("\0alice\0hunter2") not in server.log()
    server.wait_for_log(r"disconnect from localhost\[127.0.0.1\] ehlo=2 starttls=1 auth=0/3 quit=1 commands=4/7")


def test_after_a_failure_the_answer_waits_also_for_the_right_password(tmp_path):
    settings = {"smtpd_auth_failure_delay": "1s", "smtpd_auth_failure_delay_limit": "1s"}
    with Submission(tmp_path / "i", dict([ALICE]), **settings) as served:
        served.start()
        for password, code in (("x", 535), (ALICE[1], 235)):
            with served.starttls() as client:
                begun = time.monotonic()
                assert refused(client, "alice", password)[0] == code
                assert time.monotonic() - begun >= 1


def test_after_some_failures_a_session_ends_also_for_the_right_password(tmp_path):
    with Submission(tmp_path / "i", dict([ALICE]), smtpd_auth_error_limit=2, smtpd_auth_failure_delay="0s") as served:
        served.start()
        with served.starttls() as client:
            assert [refused(client, "alice", "x")[0] for _ in range(2)] == [535, 421]
            with pytest.raises(smtplib.SMTPServerDisconnected):
                client.login(*ALICE)


def test_logins_of_one_client_have_a_rate(tmp_path):
    settings = {"smtpd_client_auth_rate_limit": 2, "mynetworks": "192.0.2.0/24"}
    with Submission(tmp_path / "i", dict([ALICE]), **settings) as served:
        served.start()
        for code in (235, 235, 450):
            with served.starttls() as client:
                assert refused(client, *ALICE)[0] == code
        served.wait_for_log(r"AUTH command rate limit exceeded: 3 from localhost\[127.0.0.1\] for service smtp")


@pytest.mark.parametrize("spoil", [lambda file: file.chmod(0o644), lambda file: file.unlink()])
def test_a_password_file_that_cannot_be_used_lets_nobody_in_and_says_why(tmp_path, spoil):
    with Submission(tmp_path / "i", dict([ALICE])) as served:
        spoil(served.path / "users")
        served.start()
        with served.starttls() as client:
            assert not client.has_extn("auth")
            assert refused(client, *ALICE) == (454, b"4.7.0 Temporary authentication failure; try again later")
            assert client.mail("a@a.test")[0] == 530
        served.wait_for_log(r"nobody can log in: .*/users: (its mode is 0644; 0600 or 0640 is right|No such file)")
        served.set_users(dict([ALICE]))
        (served.path / "users").chmod(0o600)
        with served.starttls() as client:
            client.login(*ALICE)


def test_a_new_password_counts_at_once(tmp_path):
    with Submission(tmp_path / "i", dict([ALICE])) as served:
        served.start()
        with served.starttls() as client:
            client.login(*ALICE)
        served.mailctl("passwd", "add", "alice", input=b"another one\n", check=True)
        with served.starttls() as client:
            with pytest.raises(smtplib.SMTPAuthenticationError):
                client.login(*ALICE)
            client.login("alice", "another one")


# --- mailctl passwd ------------------------------------------------------------------------------


def test_mailctl_passwd_adds_lists_verifies_and_removes_users(tmp_path):
    with Submission(tmp_path / "i", smtpd_sasl_local_domain="here.test") as instance:
        (instance.path / "users").unlink()
        for user in ("bob", "carol@else.test"):
            instance.mailctl("passwd", "add", user, input=b"geheim\n", check=True)
        assert (instance.path / "users").stat().st_mode & 0o777 == 0o600
        assert instance.mailctl("passwd", "list").stdout == b"bob@here.test\ncarol@else.test\n"
        assert instance.mailctl("passwd", "verify", "bob", input=b"geheim\n").stdout == b"right\n"
        done = instance.mailctl("passwd", "verify", "bob", input=b"falsch\n")
        assert (done.stdout, done.returncode) == (b"wrong\n", 1)
        instance.mailctl("passwd", "remove", "bob", check=True)
        assert instance.mailctl("passwd", "list").stdout == b"carol@else.test\n"
        gone = instance.mailctl("passwd", "remove", "bob")
        assert gone.returncode == 67 and gone.stderr.endswith(b"users: there is no bob@here.test\n")


@pytest.mark.parametrize(
    ("words", "input", "why"),
    [
        (["add", "a:b"], b"x\n", b"a name has no colon"),
        (["add", "bob"], b"\n", b"the password is empty; nothing is changed"),
        (["add"], b"", b"the following arguments are required: user"),
        ([], b"", b"the following arguments are required: verb"),
    ],
)
def test_mailctl_passwd_says_what_is_wrong(tmp_path, words, input, why):
    instance = Submission(tmp_path / "i")
    done = instance.mailctl("passwd", *words, input=input)
    assert done.returncode == 64 and why in done.stderr and done.stderr.count(b"\n") == 1
