"""Mail that leaves a root instance: by a process that owns nothing of the queue."""

import json
import re
import subprocess
from collections.abc import Iterator

import pytest
from machine import HERE, HOST, SPOOL, Machine, wait_until

NET = "sendmail-py-net"


def start(machine: Machine, *words: object) -> tuple["subprocess.Popen[str]", int]:
    """Start a little server on the machine; returns it and its port."""
    command = machine.command([machine.venv_python(), *words])
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    assert server.stdout
    return server, int(server.stdout.readline().split()[1])


@pytest.fixture
def relaying(running: Machine) -> Iterator[tuple[Machine, str]]:
    """The running machine with a name server and a mail server; yields where the latter's mail is."""
    mail, zone = "/run/relayed", "/run/zone"
    zone_text = {"remote.example": {"MX": ["10 mx.remote.example."]}, "mx.remote.example": {"A": ["127.0.0.1"]}}
    running.run("sh", "-c", f"cat > {zone}", input=json.dumps(zone_text).encode())
    names, name_port = start(running, f"{HERE}/tests/servers/name_server.py", "--zone", zone)
    sink, sink_port = start(running, f"{HERE}/tests/servers/smtp_sink.py", "--dir", mail)
    running.configure(
        resolver_nameservers=f"127.0.0.1:{name_port}", smtp_tcp_port=sink_port, smtp_permit_loopback_mx="yes"
    )
    running.configure(defer_transports="")
    running.run("mailctl", "reload")
    try:
        yield running, mail
    finally:
        running.script(f"rm -rf {mail}")
        for server in (names, sink):
            server.kill()
            server.wait(60)
            assert server.stdout
            server.stdout.close()


def relayed(machine: Machine, mail: str, text: str) -> str:
    """Wait for a relayed message with this text and return it."""
    found = wait_until(
        lambda: machine.run("sh", "-c", f"grep -lr --include='*.eml' '{text}' {mail}", check=False).stdout, text
    )
    return machine.run("cat", found.decode().split()[0]).stdout.decode()


def test_mail_goes_to_the_mx_and_the_log_says_so(relaying: tuple[Machine, str]) -> None:
    machine, mail = relaying
    machine.submit("alice", "someone@remote.example", text="into the world")
    message = relayed(machine, mail, "into the world")
    assert f"X-Envelope-From: <alice@{HOST}>\nX-Envelope-To: <someone@remote.example>\n" in message
    line = machine.wait_for_log("to=<someone@remote.example>, relay=mx.remote.example[127.0.0.1]:")
    assert "status=sent" in line


def test_the_smtp_client_is_its_own_user_without_capabilities_or_files_of_the_queue(
    relaying: tuple[Machine, str],
) -> None:
    machine, mail = relaying
    machine.submit("bob", "someone@remote.example", text="by whom")
    relayed(machine, mail, "by whom")
    pid = wait_until(lambda: machine.services().get("smtp"), "an smtp process")
    status = machine.status_of(pid)
    uid, gid = machine.run("getent", "passwd", NET).stdout.decode().split(":")[2:4]
    assert status["Uid"] == "\t".join([uid] * 4) and status["Gid"] == "\t".join([gid] * 4)
    assert (status["Groups"], status["CapEff"], status["CapPrm"]) == ("", "0" * 16, "0" * 16)
    for directory in ("maildrop", "incoming", "active", "deferred", "hold", "tmp", "lock"):
        done = machine.run("ls", f"{SPOOL}/{directory}", user=NET, check=False)
        assert done.returncode and b"Permission denied" in done.stderr
    assert (
        machine.script(f"find {SPOOL} /var/lib/sendmail-py -user {NET}; find /etc/sendmail-py -writable", NET, False)
        == ""
    )


def test_the_smtp_client_opens_nothing_of_the_queue_and_reads_messages_by_descriptor(
    relaying: tuple[Machine, str],
) -> None:
    machine, mail = relaying
    machine.stop()
    with machine.traced("execve,openat,open,recvmsg,pread64,sendfile") as trace:
        machine.submit("alice", "someone@remote.example", text="by descriptor")
        relayed(machine, mail, "by descriptor")
    (pid,) = {pid for pid, call in trace if '/__main__.py", "smtp", ' in call}
    calls = [call for of, call in trace if of == pid]
    assert not [call for call in calls if SPOOL in call]
    assert [call for call in calls if call.startswith("recvmsg") and "SCM_RIGHTS" in call]
    assert [call for call in calls if re.match(r"(pread64|sendfile)\(", call) and "by descriptor" in call]


def test_mail_is_signed_with_a_key_that_only_the_smtp_client_can_read(relaying: tuple[Machine, str]) -> None:
    machine, mail = relaying
    made = machine.run("mailctl", "dkim", "keygen", HOST, "r1").stdout.decode()
    assert f"r1._domainkey.{HOST}. IN TXT" in made
    key = f"/var/lib/sendmail-py/dkim/{HOST}.r1.pem"
    owners = machine.script(f"stat -c '%a %U:%G' {key} {key.rpartition('/')[0]}").split("\n")
    assert owners[:2] == [f"600 {NET}:{NET}", f"700 {NET}:{NET}"]
    for user in ("sendmail-py", "alice"):
        assert "Permission denied" in machine.script(f"setpriv --reuid={user} --clear-groups cat {key} 2>&1 || true")
    machine.configure(dkim_domains=f"inline:{{ {{{HOST} = r1}} }}")
    machine.run("mailctl", "reload")
    machine.submit("alice", "someone@remote.example", text="signed and sent")
    message = relayed(machine, mail, "signed and sent")
    assert f"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d={HOST};" in message
    assert "PRIVATE" not in machine.script("mailctl dkim show " + HOST)
