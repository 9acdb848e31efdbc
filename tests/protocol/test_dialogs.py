"""The dialogs of dialogs/*.txt over a real socket: whole lines, byte by byte, and all that can come at once.

M: a message (from -> to, to)   S: the server says (DROP: it closes)   C: the client says
E: the session ends with this   R: delivery.recipient outcome status (or none)
T: the level of TLS that is wanted   A: the login, which may go in clear here
A file whose name begins with lmtp is a session of LMTP.
"""

import asyncio
import os
import pathlib
import socket

import pytest

from sendmail_py.core.address import Address
from sendmail_py.core.config import Config, Setting
from sendmail_py.core.delivery import Delivery
from sendmail_py.core.envelope import Recipient
from sendmail_py.delivery.smtp_opening import Opening, open_session
from sendmail_py.delivery.smtp_session import SmtpSession
from sendmail_py.delivery.smtp_stream import SessionError, SmtpStream
from sendmail_py.host.tls import client_context
from sendmail_py.protocol.sasl import Login
from sendmail_py.protocol.tls_policy import TlsPolicy, parse_level

CONTENT = b"Subject: x\n\n.dot\nhello\n"
DIALOGS = sorted((pathlib.Path(__file__).parent / "dialogs").glob("*.txt"))
SETTINGS = {"smtp_helo_name": "client.test", "smtp_sasl_security_options": "noanonymous"}
CONFIG = Config({name: Setting(value, "test") for name, value in SETTINGS.items()})


def messages(lines, fd):
    for line in lines:
        if line.startswith("M: "):
            sender, _, to = line[3:].partition(" -> ")
            recipients = [Recipient(Address.parse(text)) for text in to.split(", ")]
            yield Delivery("Q", fd, 0, len(CONTENT), Address.parse(sender.strip("<>")), recipients)


async def play_server(reader, writer, lines, how):
    """Say and expect what the dialog has, in its order."""
    out = b""
    for line in [*lines, "end"]:
        if line.startswith("S: ") and line != "S: DROP":
            out += line[3:].encode() + b"\r\n"
            if how == "at once":
                continue
        for octets in [out] if how != "bytes" else [out[i : i + 1] for i in range(len(out))]:
            writer.write(octets)
            await writer.drain()
            await asyncio.sleep(0)
        out = b""
        if line.startswith("C:"):
            assert (await reader.readuntil(b"\r\n")).decode() == line[3:] + "\r\n"
        if line == "S: DROP":
            break
    writer.close()


def opening(lines):
    """Return what a dialog wants of the beginning of its session."""
    said = {line[0]: line[3:] for line in lines if line[:3] in ("T: ", "A: ")}
    policy = TlsPolicy(parse_level(said.get("T", "")))
    login = Login.parse(said["A"]) if "A" in said else None
    return Opening(policy, lambda: client_context(policy), "mx.test", login)


async def play_client(end, deliveries, lmtp, how_to_begin):
    """Deliver over the socket; returns how the session ended, "" for well."""
    loop = asyncio.get_running_loop()
    _, stream = await loop.create_connection(lambda: SmtpStream("mx.test[192.0.2.1]:25", lmtp), sock=end)
    session = SmtpSession(stream, CONFIG)
    try:
        await open_session(session, how_to_begin, CONFIG)
        await session.deliver(deliveries, lambda _: None, lambda: True)
    except SessionError as error:
        return error.result.reason
    finally:
        stream.abort()
    return ""


def tcp_pair():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    return ours, theirs


@pytest.mark.parametrize("how", ["lines", "bytes", "at once"])
@pytest.mark.parametrize("path", DIALOGS, ids=lambda path: path.stem)
def test_the_dialog_goes_as_written(path, how, tmp_path):
    lines = path.read_text().splitlines()
    (tmp_path / "content").write_bytes(CONTENT)
    fd = os.open(tmp_path / "content", os.O_RDONLY)
    deliveries = list(messages(lines, fd))

    async def both():
        ours, theirs = tcp_pair()
        reader, writer = await asyncio.open_connection(sock=theirs)
        server = asyncio.create_task(play_server(reader, writer, [s for s in lines if s[:2] in ("S:", "C:")], how))
        end = await asyncio.wait_for(play_client(ours, deliveries, path.stem.startswith("lmtp"), opening(lines)), 20)
        await asyncio.wait_for(asyncio.gather(server, return_exceptions=False), 20)
        return end

    try:
        end = asyncio.run(both())
    finally:
        os.close(fd)
    assert end == next((line[3:] for line in lines if line.startswith("E: ")), "")
    for line in lines:
        if line.startswith("R: "):
            where, _, expected = line[3:].partition(" ")
            delivery, recipient = map(int, where.split("."))
            result = deliveries[delivery].results[recipient]
            assert (f"{result.outcome.value} {result.status}" if result else "none") == expected
