"""Spoilt sessions, for a few seconds in `make test` and as long as FUZZ says in `make fuzz`.

Held: nothing raises, how octets are cut changes nothing, an answer is lines of printable ASCII, octets that BDAT
announced are never commands; the server stays the same process, keeps no descriptor, no file and little memory.
"""

import os
import random
import re
import socket
import threading
import time

import pytest

from sendmail_py.protocol import server_replies as replies
from sendmail_py.protocol.server_commands import Chunk, Refused
from sendmail_py.protocol.smtp_client import NEED_DATA
from sendmail_py.protocol.smtp_server import Content, SmtpServer, State, extensions
from tests.fuzz.sessions import corpus, cut, mutated
from tests.integration.instance import LIMIT
from tests.integration.smtp_server import STRANGERS, Served

SECONDS = float(os.environ.get("FUZZ_SECONDS", "1"))
SEED = int(os.environ.get("FUZZ_SEED", "0")) or int.from_bytes(os.urandom(6), "big")
THREADS = 6
MEMORY = 64 << 20
SESSIONS = corpus()
MOODS = [None, None, None, replies.reply(451, "4.3.0", "Error: later"), replies.reply(550, "5.7.1", "Error: no")]


def play(blocks, moods, lf_sessions):
    """Answer a session as a driver of changing mood; returns all that was said and taken."""
    machine = SmtpServer("here.test", extensions(10_000) | {"STARTTLS": ""}, lf_sessions)
    said, content, turn = b"", b"", 0
    for block in blocks:
        machine.receive_data(block)
        while (event := machine.next_event()) is not NEED_DATA:
            if isinstance(event, Content):
                assert event.data
                content += event.data
                continue
            mood = moods[turn % len(moods)]
            turn += 1
            is_decided = isinstance(event, Refused) or event.answer.code >= 400
            said += machine.send(event.answer if is_decided or mood is None else mood)
            if isinstance(event, Chunk) and event.answer.code < 400:
                content += b"|"
    assert re.fullmatch(rb"(?:\d{3}[ -][ -~]*\r\n)*", said)
    return said, content, machine.state


def test_spoilt_sessions_with_the_machine():
    chance = random.Random(SEED)
    end, count = time.monotonic() + SECONDS, 0
    while time.monotonic() < end:
        octets = mutated(chance, SESSIONS)
        moods = [chance.choice(MOODS) for _ in range(7)]
        lf_sessions = chance.random() < 0.3
        try:
            whole = play([octets], moods, lf_sessions)
            assert play(cut(chance, octets), moods, lf_sessions) == whole
        except Exception as error:
            raise AssertionError(f"FUZZ_SEED={SEED}, {octets!r}, {moods}, {lf_sessions}") from error
        count += 1
    print(f"{count} sessions with the machine")
    assert count


def test_octets_of_chunks_are_never_commands():
    chance = random.Random(SEED)
    end = time.monotonic() + SECONDS / 4
    while time.monotonic() < end:
        payloads = [mutated(chance, SESSIONS)[: chance.randrange(1, 3000)] for _ in range(chance.randrange(1, 5))]
        octets = b"MAIL FROM:<a@a.test>\r\nRCPT TO:<b@b.test>\r\n" if chance.random() < 0.7 else b""
        for number, payload in enumerate(payloads):
            last = b" LAST" if number == len(payloads) - 1 else b""
            octets += b"BDAT %d%b\r\n%b" % (len(payload), last, payload)
        said, _, state = play(cut(chance, octets), [None], False)
        assert said.count(b"\r\n") == len(payloads) + (2 if octets[:1] == b"M" else 0), octets
        assert state is State.READY


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    settings = {
        "smtpd_error_sleep_time": "0s",
        "smtpd_timeout": "20s",
        "defer_transports": "local, smtp",
        "message_size_limit": 100_000,
        "smtpd_client_connection_count_limit": 0,
        "queue_minfree": 1,
        "local_recipient_maps": "",
    }
    with Served(tmp_path_factory.mktemp("fuzz") / "i", **settings, **STRANGERS) as served:
        served.start()
        yield served


def memory(pid):
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        return int(re.search(r"Pss:\s+(\d+) kB", file.read())[1]) << 10


def test_spoilt_sessions_with_a_running_server(served):
    assert served.connect_and_ask("alice@a.test")[:3] == "250"
    pid = served.pid_of("smtpd")
    before = memory(pid)
    faults, counts = [], [0] * THREADS
    end = time.monotonic() + SECONDS

    def fuzz(number):
        chance = random.Random(SEED + number)
        while time.monotonic() < end and not faults:
            octets = mutated(chance, SESSIONS)
            heard = b""
            try:
                heard = talk(served.port, cut(chance, octets), chance.random() < 0.2)
            except TimeoutError:
                faults.append(f"FUZZ_SEED={SEED}, {octets!r}: no answer")
            except OSError:
                pass  # the server had said its last line, and we went on
            if not re.fullmatch(rb"(?:\d{3}[ -][ -~]*\r\n)*", heard):
                faults.append(f"FUZZ_SEED={SEED}, {octets!r}: {heard!r}")
            counts[number] += 1

    threads = [threading.Thread(target=fuzz, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS + 4 * LIMIT)
    print(f"{sum(counts)} sessions with a server")
    assert not faults, faults
    assert all(counts)
    served.wait_for(lambda: len(os.listdir(f"/proc/{pid}/fd")) < 30, "the connections are closed")
    assert served.pid_of("smtpd") == pid
    assert os.listdir(served.path / "queue" / "tmp") == []
    assert "error:" not in served.log() and "Traceback" not in served.output()
    assert memory(pid) - before < MEMORY


def talk(port, blocks, goes_early):
    """Say blocks; returns what was heard, unless the client goes without listening."""
    with socket.create_connection(("127.0.0.1", port), timeout=LIMIT) as end:
        for block in blocks:
            end.sendall(block)
        if goes_early:
            return b""
        end.shutdown(socket.SHUT_WR)
        heard = b""
        while more := end.recv(65536):
            heard += more
        return heard
