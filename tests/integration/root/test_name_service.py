"""A user data base that does not answer: mail waits, and nobody is called unknown."""

import pytest
from machine import HOST, Machine, wait_until

# A name service module that answers every question alike. The names are glibc's: nss/nss.h.
MODULE = """
int answer(int *error) { *error = ERROR; return STATUS; }
int _nss_failing_getpwnam_r(const char *n, void *e, char *b, unsigned long s, int *error) { return answer(error); }
int _nss_failing_getpwuid_r(unsigned u, void *e, char *b, unsigned long s, int *error) { return answer(error); }
"""
UNAVAILABLE, TRY_AGAIN = -1, -2
ENOENT, EAGAIN, ECONNREFUSED = 2, 11, 111


def failing(machine: Machine, status: int, error: int) -> None:
    """Put a failing name service after the files."""
    machine.run(
        *("tcc", "-shared", "-nostdlib", f"-DSTATUS={status}", f"-DERROR={error}"),
        *("-o", "/usr/local/lib/libnss_failing.so.2", "-"),
        input=MODULE.encode(),
    )
    machine.script("ldconfig; sed -i 's/^passwd:.*/passwd: files failing/' /etc/nsswitch.conf")


@pytest.mark.real("tcc", "ldconfig")
@pytest.mark.parametrize(("status", "error"), [(UNAVAILABLE, ECONNREFUSED), (UNAVAILABLE, ENOENT), (TRY_AGAIN, EAGAIN)])
def test_mail_waits_while_the_name_service_fails_and_arrives_afterwards(
    fresh: Machine, status: int, error: int
) -> None:
    fresh.script("mkdir -p /usr/local/lib; cp /etc/passwd /etc/passwd.whole; cp /etc/nsswitch.conf /etc/nsswitch.good")
    failing(fresh, status, error)
    fresh.script("sed -i '/^carol:/d' /etc/passwd")  # carol is in the part that does not answer
    fresh.start()
    fresh.submit("alice", "carol,bob", text="through the outage")
    fresh.wait_for_mail("bob", "through the outage")
    line = wait_until(
        lambda: next((x for x in fresh.log().splitlines() if f"to=<carol@{HOST}>" in x), ""), "carol's result"
    )
    assert 'status=deferred (cannot look up user "carol"' in line
    assert "unknown user" not in fresh.log()
    fresh.script("cp /etc/passwd.whole /etc/passwd; cp /etc/nsswitch.good /etc/nsswitch.conf")
    fresh.stop()
    fresh.start()
    fresh.run("mailctl", "flush")
    fresh.wait_for_mail("carol", "through the outage")
    assert fresh.mailbox("bob").count("Subject: through the outage") == 1


@pytest.mark.real("tcc", "ldconfig")
def test_a_submitter_whom_the_name_service_cannot_tell_keeps_his_mail_until_it_can(fresh: Machine) -> None:
    fresh.script("mkdir -p /usr/local/lib; cp /etc/nsswitch.conf /etc/nsswitch.good")
    fresh.start()
    words = ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups", "/usr/local/bin/sendmail", "bob"]
    failing(fresh, TRY_AGAIN, EAGAIN)
    fresh.run(*words, input=b"Subject: who am I\n\nwho am I\n")
    fresh.wait_for_log("it waits")
    assert fresh.maildrop()
    fresh.script("cp /etc/nsswitch.good /etc/nsswitch.conf")
    assert f"Return-Path: <uid-54321@{HOST}>" in fresh.wait_for_mail("bob", "who am I")
