"""The little servers as programs, as the demo starts them."""

import json
import os
import pathlib
import smtplib
import subprocess
import sys

import dns.message
import dns.query

from tests.servers.ports import free_port

SERVERS = pathlib.Path(__file__).resolve().parent.parent / "servers"


LIMIT = 60


def start(name, *options):
    process = subprocess.Popen([sys.executable, str(SERVERS / name), *options], stdout=subprocess.PIPE, text=True)
    word, port = process.stdout.readline().split()
    assert word == "ready"
    return process, int(port)


def test_the_sink_writes_each_message_with_its_envelope(tmp_path):
    process, port = start("smtp_sink.py", "--port", "0", "--dir", str(tmp_path))
    try:
        with smtplib.SMTP("127.0.0.1", port, "client.test", LIMIT) as client:
            client.sendmail("a@x.test", ["b@x.test", "c@x.test"], "Subject: x\n\n.hello\n")
        expected = (
            "X-Envelope-From: <a@x.test>\nX-Envelope-To: <b@x.test>\nX-Envelope-To: <c@x.test>\nSubject: x\n\n.hello\n"
        )
        assert (tmp_path / "1.eml").read_text() == expected
    finally:
        process.kill()
        process.communicate(timeout=LIMIT)


def test_the_name_server_answers_from_its_zone(tmp_path):
    zone = tmp_path / "zone.json"
    zone.write_text(json.dumps({"x.test": {"MX": ["10 mx.x.test."]}}))
    process, port = start("name_server.py", "--zone", str(zone))
    try:
        for ask in (dns.query.udp, dns.query.tcp):
            answer = ask(dns.message.make_query("x.test.", "MX"), "127.0.0.1", LIMIT, port).answer
            assert answer[0][0].to_text() == "10 mx.x.test."
    finally:
        process.kill()
        process.communicate(timeout=LIMIT)


def test_processes_share_no_ports_and_none_is_given_twice():
    here = {free_port() for _ in range(250)}
    assert len(here) == 250
    text = "from tests.servers.ports import free_port; print(*[free_port() for _ in range(250)])"
    command = [sys.executable, "-c", text]
    others = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=SERVERS.parents[1]) for _ in range(2)]
    given = [set(map(int, process.communicate(timeout=LIMIT)[0].split())) for process in others]
    assert [len(ports) for ports in given] == [250, 250]
    assert not here & (given[0] | given[1])


def test_a_child_has_other_ports_than_its_parent():
    reader, writer = os.pipe()
    until, end = os.pipe()
    if not (child := os.fork()):
        os.close(end)
        os.write(writer, b"%d" % free_port())
        os.read(until, 1)  # its block is its own for as long as it lives
        os._exit(0)
    theirs = int(os.read(reader, 10))
    assert theirs not in {free_port() for _ in range(200)}
    os.close(end)
    assert os.waitpid(child, 0)[1] == 0
    for descriptor in (reader, writer, until):
        os.close(descriptor)
