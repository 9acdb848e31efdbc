"""The little servers as programs, as the demo starts them."""

import json
import pathlib
import smtplib
import subprocess
import sys

import dns.message
import dns.query

SERVERS = pathlib.Path(__file__).resolve().parent.parent / "servers"


def start(name, *options):
    process = subprocess.Popen([sys.executable, str(SERVERS / name), *options], stdout=subprocess.PIPE, text=True)
    word, port = process.stdout.readline().split()
    assert word == "ready"
    return process, int(port)


def test_the_sink_writes_each_message_with_its_envelope(tmp_path):
    process, port = start("smtp_sink.py", "--port", "0", "--dir", str(tmp_path))
    try:
        with smtplib.SMTP("127.0.0.1", port, "client.test", 10) as client:
            client.sendmail("a@x.test", ["b@x.test", "c@x.test"], "Subject: x\n\n.hello\n")
        expected = (
            "X-Envelope-From: <a@x.test>\nX-Envelope-To: <b@x.test>\nX-Envelope-To: <c@x.test>\nSubject: x\n\n.hello\n"
        )
        assert (tmp_path / "1.eml").read_text() == expected
    finally:
        process.kill()
        process.communicate()


def test_the_name_server_answers_from_its_zone(tmp_path):
    zone = tmp_path / "zone.json"
    zone.write_text(json.dumps({"x.test": {"MX": ["10 mx.x.test."]}}))
    process, port = start("name_server.py", "--zone", str(zone))
    try:
        for ask in (dns.query.udp, dns.query.tcp):
            answer = ask(dns.message.make_query("x.test.", "MX"), "127.0.0.1", 10, port).answer
            assert answer[0][0].to_text() == "10 mx.x.test."
    finally:
        process.kill()
        process.communicate()
