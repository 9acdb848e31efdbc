"""sendmail(1) as programs call it: its input, its options, and everything that can be wrong around it."""

import os
import resource
import subprocess
import uuid

import pytest

from tests.integration.instance import DOMAIN, Instance, me

SIMPLE = b"Subject: x\n\nhello\n"


@pytest.fixture(scope="module")
def instance(tmp_path_factory):
    with Instance(tmp_path_factory.mktemp("submission") / "i") as instance:
        instance.start()
        yield instance


@pytest.fixture
def resting(tmp_path):
    """An instance whose services are not started: what was accepted stays in the maildrop."""
    return Instance(tmp_path / "i")


def delivered(instance, message, *words, user="", **more):
    """Submit a message and return it as it stands in the mailbox, from Return-Path on."""
    mark = uuid.uuid4().hex.encode()
    head, separator, body = message.partition(b"\n")
    instance.submit(b"X-Mark: " + mark + b"\n" + head + separator + body, *words, **more)
    instance.wait_for_mail(user or me(), mark)
    instance.wait_empty()
    mailbox = instance.mailbox(user or me())
    start = mailbox.rindex(b"\nReturn-Path: ", 0, mailbox.index(mark)) + 1
    return mailbox[start:].partition(b"\n\nFrom ")[0].removesuffix(b"\n\n") + b"\n"


def body(text):
    return text.partition(b"\n\n")[2]


def drops(instance):
    return os.listdir(instance.path / "queue" / "maildrop")


# --- content -------------------------------------------------------------------------------------


def test_crlf_lf_and_mixed_input_is_stored_with_lf(instance):
    for line_ends in (b"a\r\nb\r\n", b"a\nb\n", b"a\r\nb\n"):
        assert body(delivered(instance, b"Subject: ends\r\n\r\n" + line_ends, me())) == b"a\nb\n"


def test_a_lone_carriage_return_stays_in_the_body(instance):
    assert body(delivered(instance, b"Subject: cr\n\na\rb\n", me())) == b"a\rb\n"


def test_a_lone_dot_ends_the_message(instance):
    assert body(delivered(instance, b"Subject: dot\n\na\n.\nb\n", me())) == b"a\n"


@pytest.mark.parametrize("option", ["-i", "-oi"])
def test_with_i_a_lone_dot_is_text(instance, option):
    assert body(delivered(instance, b"Subject: dot\n\na\n.\nb\n", option, me())) == b"a\n.\nb\n"


def test_t_takes_recipients_from_the_header_and_removes_bcc(instance):
    message = f"To: {me()}\nCc: daemon\nBcc: bin,\n sys\nSubject: all of you\n\nx\n".encode()
    text = delivered(instance, message, "-t", user="bin")
    for user in (me(), "daemon", "bin", "sys"):
        instance.wait_for_mail(user, b"all of you")
    assert b"Bcc" not in text
    assert f"\nTo: {me()}@{DOMAIN}\nCc: daemon@{DOMAIN}\n".encode() in text


def test_a_full_name_given_with_f_stands_in_from(instance):
    assert f"\nFrom: Jane Doe <{me()}@{DOMAIN}>\n".encode() in delivered(instance, SIMPLE, "-F", "Jane Doe", me())


def test_a_sender_given_with_f_is_the_return_path(instance):
    assert delivered(instance, SIMPLE, "-f", "other@example.org", me()).startswith(b"Return-Path: <other@example.org>")


def test_bare_addresses_get_the_domain_of_this_host(instance):
    text = delivered(instance, b"From: jane\nTo: Joe <joe>, x@example.org\n\nx\n", me())
    assert f"\nFrom: jane@{DOMAIN}\nTo: Joe <joe@{DOMAIN}>, x@example.org\n".encode() in text


def test_a_message_without_header_gets_one(instance):
    mark = uuid.uuid4().hex.encode()
    instance.submit(b"just text " + mark + b"\n", me())
    assert b"\n\njust text " + mark in instance.wait_for_mail(me(), mark)


def test_octets_that_are_no_text_arrive_as_they_are(instance):
    octets = bytes(range(256)).replace(b"\r\n", b"").replace(b"\n", b"") + b"\n"
    assert body(delivered(instance, b"Subject: octets\n\n" + octets, me())) == octets


# --- surroundings ----------------------------------------------------------------------------------


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_mail_is_queued_whatever_descriptor_is_closed(resting, closed):
    done = resting.run("/bin/sh", "-c", f'exec "$0" -i {me()} {closed}', f"{resting.tree}/bin/sendmail", input=SIMPLE)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    (name,) = drops(resting)
    text = (resting.path / "queue" / "maildrop" / name).read_bytes()
    assert text.startswith(b"sendmail-py-queue 1\n")
    assert text.endswith(b"\n\n" if "<&-" in closed else SIMPLE)


@pytest.mark.real("unshare")
@pytest.mark.parametrize(("closed", "status"), [("", 0), ("<&-", 75), ("2>&-", 75)])
def test_where_there_is_no_dev_null_mail_is_queued_or_refused_in_one_line(resting, closed, status):
    script = f'mount -t tmpfs none /dev; exec "$0" -i {me()} {closed}'
    words = ["/usr/bin/unshare", "--mount", *([] if os.getuid() == 0 else ["--map-root-user"]), "/bin/sh", "-c", script]
    done = resting.run(*words, f"{resting.tree}/bin/sendmail", input=SIMPLE)
    assert (done.returncode, len(drops(resting))) == (status, not status)
    assert done.stderr.count(b"\n") == (status != 0 and "2>" not in closed)


@pytest.mark.parametrize("umask", [0o777, 0])
def test_mail_is_queued_under_any_umask(resting, umask):
    resting.submit(SIMPLE, me(), umask=umask)
    (name,) = drops(resting)
    assert (resting.path / "queue" / "maildrop" / name).stat().st_mode == 0o100640


def test_mail_is_queued_in_an_empty_environment(resting):
    resting.submit(SIMPLE, "-C", str(resting.path), me(), env={})
    assert len(drops(resting)) == 1


def test_mail_is_queued_from_a_directory_that_is_gone(resting, tmp_path):
    script = 'mkdir "$1" && cd "$1" && rmdir "$1" && exec "$0" -i "$2"'
    sendmail = f"{resting.tree}/bin/sendmail"
    done = resting.run("/bin/sh", "-c", script, sendmail, tmp_path / "gone", me(), input=SIMPLE)
    assert (done.returncode, len(drops(resting))) == (0, 1), done.stderr


def limited():
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024))


def test_a_tiny_file_size_limit_refuses_with_75_and_leaves_nothing(resting):
    done = resting.run("sendmail", me(), input=b"Subject: x\n\n" + b"x\n" * 5000, preexec_fn=limited)
    assert (done.returncode, done.stderr.count(b"\n"), drops(resting)) == (75, 1, [])
    assert b"File too large" in done.stderr


# --- refusals ----------------------------------------------------------------------------------------


def refused(instance, status, *words, **more):
    """Run sendmail; it must end with this status, one line, and nothing kept. Returns the line."""
    done = instance.run("sendmail", *words, **({"input": SIMPLE} | more))
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (status, b"", 1), done.stderr
    return done.stderr.decode()


def test_no_recipients_is_64_and_stdin_is_not_read(resting):
    reader, writer = os.pipe()  # never written, never closed while sendmail runs
    try:
        done = subprocess.run(
            [f"{resting.tree}/bin/sendmail", "-i"], stdin=reader, capture_output=True, timeout=60,
            env=resting.environment,
        )  # fmt: skip
    finally:
        os.close(reader)
        os.close(writer)
    assert (done.returncode, done.stderr.count(b"\n"), drops(resting)) == (64, 1, [])


def test_t_without_recipients_in_the_header_is_64(resting):
    assert "no recipients" in refused(resting, 64, "-t")
    assert drops(resting) == []


@pytest.mark.parametrize("word", ["-Z", "-bz", "-B", "-8"])
def test_an_unknown_option_is_64(resting, word):
    refused(resting, 64, word)
    assert drops(resting) == []


def test_too_large_a_message_is_65_and_leaves_nothing(resting):
    resting.configure(message_size_limit=1000)
    assert "1000" in refused(resting, 65, me(), input=SIMPLE + b"x" * 1000)
    assert drops(resting) == []


def test_a_configuration_directory_without_main_cf_is_78(resting, tmp_path):
    (tmp_path / "empty").mkdir()
    assert f"{tmp_path}/empty/main.cf" in refused(resting, 78, me(), env={"MAIL_CONFIG": str(tmp_path / "empty")})
    assert f"{tmp_path}/empty/main.cf" in refused(resting, 78, "-C", tmp_path / "empty", me())


def test_a_configuration_that_is_no_directory_is_ignored(resting):
    resting.submit(SIMPLE, "-C", "/etc/mail/no-such-file.cf", me())
    assert len(drops(resting)) == 1


def test_a_missing_spool_is_75(resting):
    resting.configure(queue_directory=f"{resting.path}/nowhere")
    assert "nowhere" in refused(resting, 75, me())


def test_a_spool_of_the_wrong_mode_is_75_and_leaves_nothing(resting):
    (resting.path / "queue" / "maildrop").chmod(0o777)
    assert "mailctl setup" in refused(resting, 75, me())
    assert drops(resting) == []


def test_a_file_system_without_room_is_75_and_leaves_nothing(resting):
    resting.configure(queue_minfree=1 << 60)
    assert "not enough free space" in refused(resting, 75, me())
    assert drops(resting) == []


@pytest.mark.parametrize("line", ["message_size_limit = banana", "what is this line", "queue_minfree = -1"])
def test_a_broken_main_cf_does_not_stop_sendmail_from_queueing(resting, line):
    with open(resting.path / "main.cf", "a") as file:
        file.write(f"{line}\n")
    resting.submit(SIMPLE, me())
    assert len(drops(resting)) == 1


def test_the_submitter_is_known_from_the_file_not_from_its_text(instance):
    assert f"(sendmail-py, from userid {os.getuid()})".encode() in delivered(
        instance, SIMPLE, "-f", "forged@example.org", me()
    )
    assert instance.wait_for_log(rf"uid={os.getuid()} from=<forged@example\.org>")
