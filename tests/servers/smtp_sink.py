"""A real little SMTP server that takes all mail, or is rude exactly as told.

    with SmtpSink(replies={"RCPT": "451 4.7.1 later"}) as sink: ... sink.messages
    python tests/servers/smtp_sink.py --port P --dir DIR     (one file N.eml for each message)

With lmtp=True it speaks LMTP: LHLO, and a reply to the dot for each recipient ("DOT <address>" for one of them);
with path= it listens on a Unix socket. Where ehlo has CHUNKING it knows BDAT, unless a reply to that begins with 50.
Keys of `replies` are CONNECT, EHLO, LHLO, HELO, MAIL, RCPT, DATA, DOT, BDAT, LAST (BDAT with LAST), RSET, QUIT, or
"RCPT <address>" for one recipient; a value is the reply's text, or a list of texts used in turn (the last one stays).
Special values: "DROP" closes the connection, "SILENT" never answers, "ENDLESS" sends a line without end, "CHATTER"
sends reply lines without end; "NORMAL" is what it would have said. A text may hold \\n (several lines), and " DROP" at
its end closes after it.
"""

import argparse
import os
import socket
import sys
import threading

if not __package__:  # as a program
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from tests.servers.little_server import LittleServer

EHLO = ["sink.test", "PIPELINING", "SIZE 100000000", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "DSN"]
NORMAL = {
    "CONNECT": "220 sink.test ESMTP",
    "HELO": "250 sink.test",
    "MAIL": "250 2.1.0 Ok",
    "RCPT": "250 2.1.5 Ok",
    "DATA": "354 go ahead",
    "DOT": "250 2.0.0 Ok: queued",
    "BDAT": "250 2.0.0 chunk",
    "LAST": "250 2.0.0 Ok: queued",
    "RSET": "250 2.0.0 Ok",
    "QUIT": "221 2.0.0 Bye",
}


class Message:
    """A message as it came over the wire: paths with their parameters, and the content unstuffed, CRLF."""

    def __init__(self, sender, recipients, content):
        self.sender = sender
        self.recipients = recipients
        self.content = content


class SmtpSink(LittleServer):
    """messages and commands (all lines) tell what happened."""

    def __init__(
        self,
        replies=None,
        ehlo=None,
        host="127.0.0.1",
        port=0,
        keep_content=True,
        read_pause=0.0,
        message=None,
        lmtp=False,
        path="",
    ):
        super().__init__(path, host, port)
        self.lmtp = lmtp
        self.replies = dict(replies or {})
        self.ehlo = EHLO if ehlo is None else ehlo
        self.messages = []
        self.commands = []
        self.segments = []
        self.keep_content = keep_content
        self.octets = 0
        self.read_pause = read_pause
        self.on_message = message
        self._lock = threading.Lock()

    def reply(self, key, *more):
        """Return what to say, for the most special key that is scripted."""
        for name in (*more, key):
            said = self.replies.get(name)
            if isinstance(said, list):
                with self._lock:
                    said = said.pop(0) if len(said) > 1 else said[0]
            if said is not None and said != "NORMAL":
                return said
        if key == ("LHLO" if self.lmtp else "EHLO"):
            return "\n".join(f"250{' ' if n == len(self.ehlo) - 1 else '-'}{word}" for n, word in enumerate(self.ehlo))
        return NORMAL.get(key, "502 5.5.2 what?")

    def serve(self, end):
        self.session(self, end).run()


class _Drop(OSError):
    pass


class Session:
    """One connection."""

    def __init__(self, sink, end):
        self.sink = sink
        self.end = end
        if end.family != socket.AF_UNIX:
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.out = b""
        self.sender = None
        self.recipients = []
        self.chunks = b""
        self.chunk_refused = False

    def run(self):
        self.say(self.sink.reply("CONNECT"))
        while True:
            line = self.line()
            text = line.decode("utf-8", "replace")
            self.sink.commands.append(text)
            verb = text[:4].upper()
            argument = text.partition(":")[2]
            self.command(verb, argument)
            if verb == "QUIT":
                self.flush()
                return

    def command(self, verb, argument):
        if verb == "BDAT" and "CHUNKING" in self.sink.ehlo:
            self.chunk(self.sink.commands[-1].split())
            return
        address = argument.partition(">")[0].strip("<")
        said = self.sink.reply(verb, f"{verb} {address}")
        good = said[:1] == "2"
        if verb == "RSET" or (verb == "MAIL" and good):
            self.sender, self.recipients = (argument if verb == "MAIL" else None), []
            self.chunk_refused = False
        elif verb == "RCPT" and self.sender is None and "RCPT" not in self.sink.replies:
            said = "503 5.5.1 MAIL first"
        elif verb == "RCPT" and good:
            self.recipients.append(argument)
        elif verb == "DATA" and not self.recipients and "DATA" not in self.sink.replies:
            said = "554 5.5.1 no valid recipients"
        self.say(said)
        if verb == "DATA" and said.startswith("354"):
            self.content()

    def chunk(self, words):
        is_last = words[-1] == "LAST"
        said = "503 5.5.1 one before was refused"
        if not self.chunk_refused:
            said = self.sink.reply("LAST" if is_last else "BDAT")
        if self.chunk_refused or not said.startswith("50"):
            size = int(words[1])
            while len(self.buffer) < size:
                self.flush()
                self.fill()
            self.chunks += self.buffer[:size]
            self.buffer = self.buffer[size:]
        if is_last and said[:1] == "2":
            self.keep(self.chunks)
        self.chunk_refused = said[:1] != "2" and not is_last
        if is_last or self.chunk_refused:
            self.chunks = b""
        self.say(said)

    def content(self):
        self.flush()
        content = self.until_dot()
        recipients = self.recipients
        self.keep(content)
        for recipient in recipients if self.sink.lmtp else [""]:
            address = recipient.partition(">")[0].strip("<")
            self.say(self.sink.reply("DOT", f"DOT {address}"))

    def keep(self, content):
        if self.recipients:
            with self.sink._lock:
                message = Message(self.sender, self.recipients, content)
                self.sink.messages.append(message)
                if self.sink.on_message:
                    self.sink.on_message(len(self.sink.messages), message)
        self.sender, self.recipients = None, []

    def until_dot(self):
        kept = []
        window = b"\r\n"  # the content seen so far that could belong to the end mark
        while True:
            window += self.buffer
            self.buffer = b""
            at = window.find(b"\r\n.\r\n")
            if at >= 0:
                kept.append(window[: at + 2])
                self.buffer = window[at + 5 :]
                break
            kept.append(window[:-4])
            window = window[-4:]
            if not self.sink.keep_content:
                self.sink.octets += len(kept.pop())
            if self.sink.read_pause:
                self.sink.ending.wait(self.sink.read_pause)
            self.fill()
        return b"".join(kept).replace(b"\r\n.", b"\r\n")[2:] if self.sink.keep_content else b""

    def line(self):
        while b"\r\n" not in self.buffer:
            self.flush()
            self.fill()
        line, _, self.buffer = self.buffer.partition(b"\r\n")
        return line

    def fill(self):
        data = self.end.recv(65536)
        if not data:
            raise _Drop
        if len(self.sink.segments) < 1000:
            self.sink.segments.append(data[:2000])
        self.buffer += data

    def say(self, text):
        while text in ("ENDLESS", "CHATTER"):
            self.end.sendall(b"x" * 1000 if text == "ENDLESS" else b"220-and so on\r\n" * 100)
        if text == "SILENT":
            self.flush()
            self.sink.ending.wait()
            raise _Drop
        drop = text.endswith("DROP")
        text = text.removesuffix("DROP").rstrip()
        if text:
            self.out += text.replace("\n", "\r\n").encode("utf-8", "surrogateescape") + b"\r\n"
        if drop:
            self.flush()
            raise _Drop

    def flush(self):
        out, self.out = self.out, b""
        if out:
            self.end.sendall(out)


SmtpSink.session = Session


def path(argument):
    """Return the path of a MAIL or RCPT argument, with its brackets and without the parameters."""
    return argument[: argument.rfind(">") + 1]


def main():
    parser = argparse.ArgumentParser(description="A little SMTP server on 127.0.0.1 that keeps what it gets.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--dir", required=True)
    options = parser.parse_args()
    os.makedirs(options.dir, exist_ok=True)

    def write(number, message):
        lines = [f"X-Envelope-From: {path(message.sender)}", *(f"X-Envelope-To: {path(r)}" for r in message.recipients)]
        head = "".join(f"{line}\n" for line in lines).encode("utf-8", "replace")
        name = os.path.join(options.dir, f"{number}.eml")
        with open(f"{name}.tmp", "wb") as file:
            file.write(head + message.content.replace(b"\r\n", b"\n"))
        os.rename(f"{name}.tmp", name)
        message.content = b""

    with SmtpSink(port=options.port, message=write) as sink:
        print(f"ready {sink.port}", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
