"""Callers whose unit keeps them out of the spool: /var read-only, no new privileges, a uid without a name."""

import subprocess

import pytest
from machine import HOST, SPOOL, Machine, wait_until

# What systemd's ProtectSystem=strict, ReadOnlyPaths= and DynamicUser= come to for a program.
READ_ONLY_VAR = """
mount --rbind /var /var
mount -o remount,ro,bind /var
mount --rbind /run /run
for path in /var/spool /var/mail /var/log /var/lib /run; do mount -o remount,ro,bind "$path"; done
if touch /var/spool/sendmail-py/maildrop/x 2>/dev/null; then exit 99; fi
exec "$@"
"""
NO_VAR = 'mount -t tmpfs none /var; exec "$@"'


def hardened(
    machine: Machine, uid: str, *words: str, message: bytes, script: str = READ_ONLY_VAR
) -> "subprocess.CompletedProcess[bytes]":
    """Run a command on the machine as a unit does that is kept from writing anywhere."""
    rights = ["setpriv", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all", "--clear-groups"]
    rights += [f"--reuid={uid}", f"--regid={uid}"]
    unit = ["unshare", "--mount", "--propagation", "private", "sh", "-euc", script, "sh", *rights]
    command = machine.command([*unit, *words])
    return subprocess.run(command, input=message, capture_output=True, timeout=60)


def text(body: str) -> bytes:
    return f"Subject: {body}\n\n{body}\n".encode()


@pytest.mark.parametrize("script", [READ_ONLY_VAR, NO_VAR], ids=["read-only /var", "no /var at all"])
def test_mail_goes_over_the_socket_and_its_sender_is_the_kernels_word(running: Machine, script: str) -> None:
    body = f"from a unit {script == NO_VAR}"
    done = hardened(running, "alice", "/usr/local/sbin/sendmail", "-i", "bob", message=text(body), script=script)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    message = running.wait_for_mail("bob", body)
    uid = running.run("id", "-u", "alice").stdout.decode().strip()
    assert f"Return-Path: <alice@{HOST}>" in message and f"from userid {uid})" in message
    assert f"From: Alice Example <alice@{HOST}>" in message
    assert " login=alice pid=" in running.wait_for_log(f"uid={uid} from=<alice@{HOST}>")
    assert running.maildrop() == []


def test_a_dynamic_user_without_a_name_can_send(running: Machine) -> None:
    done = hardened(running, "61234", "/usr/local/sbin/sendmail", "bob", message=text("a dynamic user"))
    assert (done.returncode, done.stderr) == (0, b"")
    assert f"Return-Path: <uid-61234@{HOST}>" in running.wait_for_mail("bob", "a dynamic user")


@pytest.mark.parametrize("mapped", [["--map-current-user"], ["--map-root-user"], []], ids=["himself", "root", "nobody"])
@pytest.mark.parametrize("script", ['exec "$@"', READ_ONLY_VAR], ids=["by file", "read-only /var"])
def test_a_user_namespace_makes_nobody_somebody_else(running: Machine, mapped: list[str], script: str) -> None:
    body = f"from a namespace {mapped} {script == READ_ONLY_VAR}"
    words = ["unshare", "--user", *mapped, "/usr/local/sbin/sendmail", "bob"]
    done = hardened(running, "alice", *words, message=text(body), script=script)
    if b"unshare failed" in done.stderr:
        pytest.skip("a user may make no user namespace here (the kernel's setting, or a chroot)")
    assert (done.returncode, done.stderr) == (0, b"")
    message = running.wait_for_mail("bob", body)
    uid = running.run("id", "-u", "alice").stdout.decode().strip()
    assert f"Return-Path: <alice@{HOST}>" in message and f"from userid {uid})" in message


def test_a_session_of_smtp_and_recipients_from_the_header_work_there(running: Machine) -> None:
    session = "EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<bob>\r\nDATA\r\nSubject: s\r\n\r\nsmtp in a unit\r\n.\r\nQUIT\r\n"
    done = hardened(running, "alice", "/usr/local/sbin/sendmail", "-bs", message=session.encode())
    assert b"\n250 2.0.0 Ok: queued as " in done.stdout, done
    running.wait_for_mail("bob", "smtp in a unit")
    done = hardened(running, "alice", "/usr/local/sbin/sendmail", "-t", message=b"Bcc: bob\n" + text("t in a unit"))
    assert done.returncode == 0, done.stderr
    running.wait_for_mail("bob", "t in a unit")


def test_the_exit_codes_are_those_of_everywhere(running: Machine) -> None:
    large = text("large") + b"x" * 10_300_000
    for words, message, status in ((["bob"], large, 65), ([], b"", 64), (["-t"], text("x"), 64)):
        done = hardened(running, "alice", "/usr/local/sbin/sendmail", *words, message=message)
        assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (status, b"", 1), done.stderr
    assert running.script(f"ls -A {SPOOL}/tmp {SPOOL}/maildrop | grep -v : | grep -v '^$' || :") == ""


def test_without_services_it_is_75_with_both_causes(stopped: Machine) -> None:
    done = hardened(stopped, "alice", "/usr/local/sbin/sendmail", "bob", message=text("nobody there"))
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (75, b"", 1)
    assert b"Read-only file system" in done.stderr and b"/run/sendmail-py/submit: No such file" in done.stderr
    assert stopped.maildrop() == []


def test_the_socket_is_open_to_all_and_belongs_to_root(running: Machine) -> None:
    assert running.script("stat -c '%a %U %F' /run/sendmail-py/submit") == "666 root socket\n"
    assert running.run("rm", "-f", "/run/sendmail-py/submit", user="mallory", check=False).returncode
    running.stop()
    assert not running.path("/run/sendmail-py/submit").exists()


def test_a_spool_that_can_be_written_is_written_and_the_socket_left_alone(running: Machine) -> None:
    running.script("strace -V >/dev/null")
    done = running.run(
        "strace", "-f", "-e", "trace=connect", "/usr/local/sbin/sendmail", "bob", user="alice", input=text("by file")
    )
    assert b"connect(" not in done.stderr
    running.wait_for_mail("bob", "by file")


def test_the_command_line_of_the_caller_is_for_roots_eyes_only(stopped: Machine) -> None:
    stopped.configure(defer_transports="local")
    stopped.start()
    try:
        script = 'printf "Subject: x\\n\\nwho called\\n" | /usr/local/sbin/sendmail bob; : --password=s3cret-7f'
        stopped.run("sh", "-c", script, user="alice")
        found = f"grep -l 'who called' -r {SPOOL}/deferred"
        path = wait_until(lambda: stopped.script(f"{found} || :").strip(), "it is deferred")
        head = stopped.run("cat", path).stdout.decode().split("\n\n")[0]
        uid = stopped.run("id", "-u", "alice").stdout.decode().strip()
        assert f"submitter: uid={uid} login=alice pid=" in head and 'cwd="/" command="sh -c printf' in head
        assert "--password=s3cret-7f" in head
        for words in (["mailq"], ["mailq", "-j"], ["cat", path], ["ls", f"{SPOOL}/deferred"]):
            done = stopped.run(*words, user="alice", check=False)
            assert b"s3cret-7f" not in done.stdout + done.stderr
        assert "s3cret-7f" not in stopped.log()
    finally:
        stopped.configure(defer_transports="")
        stopped.run("mailctl", "reload")
        stopped.run("mailctl", "flush")
    message = stopped.wait_for_mail("bob", "who called")
    assert "s3cret-7f" not in message
