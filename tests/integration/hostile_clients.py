"""The table of hostile clients: what they say, and our answer.

A case begins after the greeting, and its client says everything at once. `codes` are the answers up to
the end of the connection, `taken` how many messages were taken (each to games@here.test, and to nobody else).
Cases of `doors` other than all are for those ports only: what a stranger may not do, a user may.
"""

import itertools
from typing import NamedTuple

MX, SUBMISSION = "mx", "submission"


class Case(NamedTuple):
    name: str
    says: bytes
    codes: str
    taken: int = 0
    doors: tuple[str, ...] = (MX, SUBMISSION)


HELLO = b"EHLO c.test\r\n"
MAIL = b"MAIL FROM:<alice@a.test>\r\n"
RCPT = b"RCPT TO:<games@here.test>\r\n"
DATA = b"DATA\r\n"
BEGUN = HELLO + MAIL + RCPT
QUIT = b"QUIT\r\n"
TEXT = b"Subject: t\r\n\r\nx"
HIDDEN = b"MAIL FROM:<root@a.test>\r\nRCPT TO:<bin@here.test>\r\nDATA\r\nSubject: hidden\r\n\r\nx\r\n.\r\nQUIT\r\n"
THREE, ONE_TAKEN = "250 250 250", "250 250 250 354 250 221"


def smuggled():
    """A second message after what some server takes for the end of the first one."""
    ends = [b"\n", b"\r", b"\r\n", b"\n\r", b"\r\r\n", b"\n\n", b"\0\r\n", b"\r\0\n", b"\r\n\0", b"\x85", b"\v", b"\f"]
    ends.append(b"\xe2\x80\xa8")
    false = [before + b"." + after for before, after in itertools.product(ends, ends)]
    false += [
        b"\r\n.\r",
        b"\r\n. \r\n",
        b"\r\n .\r\n",
        b"\r\n.\\r\\n",
        b"\r\n..\r\n",
        b"\r.\r\n.",
        b"\n.\n\n.\n",
        b".\r\n",
    ]
    false += [
        b"\r\n.\t\r\n",
        b"\r\n.\xc2\xa0\r\n",
        b"\r\n\xef\xbc\x8e\r\n",
        b"\r\n.\x1a\r\n",
        b"\r\n.\x00\r\n",
        b"\x1a.\r\n",
    ]
    for end in false:
        if b"\r\n.\r\n" not in end:
            yield Case(f"smuggled {end!r}", BEGUN + DATA + TEXT + end + HIDDEN, ONE_TAKEN, 1)
    dots = b"\r\n..\r\n" + HIDDEN.replace(b"\r\n.\r\n", b"\r\n")
    yield Case("a doubled dot", BEGUN + DATA + TEXT + dots + b".\r\n" + QUIT, ONE_TAKEN, 1)
    yield Case("BDAT hides nothing", BEGUN + chunk(TEXT + b"\r\n.\r\n" + HIDDEN) + QUIT, f"{THREE} 250 221", 1)


def relayed():
    """Ways to ask for mail to be relayed, to a stranger a reason to refuse."""
    paths = [
        "<victim@a.test>", "<victim%a.test@here.test>", '<"victim@a.test"@here.test>', "<a.test!victim@here.test>",
        "<@here.test:victim@a.test>", "<victim@a.test@here.test>", "<victim%a.test>", '<"victim@a.test">',
        "victim@a.test", "<victim@[192.0.2.1]>", "<victim@[IPv6:2001:db8::1]>", "<@here.test,@a.test:victim@b.test>",
        "<victim@a.test.>", '<"victim%a.test"@here.test>', '<"a.test!victim"@here.test>',
        "<a.test!victim%b.test@here.test>", "<a.test!victim>", "<victim%a.test@[127.0.0.1]>",
        "<here.test!a.test!victim>", "<victim@here.test@a.test>", "<@a.test:games@b.test>",
        "<games@here.test.a.test>", "<games@ here.test@a.test>", '<"games"@a.test>', "<victim@a.test%here.test>",
        "<victim@a.test>,<games@here.test>", "<<victim@a.test>>", "<games@here.test> <victim@a.test>", "<@>", "<>",
        "", "<games@here.test\\@a.test>", "<games@here.test;victim@a.test>", "<(games@here.test)victim@a.test>",
        "<victim@A.TEST>", "<victim@xn--a.test>", "<victim@127.0.0.1>", "<victim@2130706433>",
        "<victim@[2130706433]>", "<:victim@a.test>", "<games@here.test\uff0ea.test>", "<victim\uff05a.test@a.test>",
        "SMTP:victim@a.test", "<mailto:victim@a.test>", "<|id@here.test>", "</etc/passwd@here.test>",
        "<:include:/etc/passwd@here.test>", "<-oQ/tmp@here.test>", "<\\games@a.test>",
    ]  # fmt: skip
    for path in paths:
        says = HELLO + b"MAIL FROM:<root@here.test>\r\nRCPT TO:" + path.encode() + b"\r\nDATA\r\nQUIT\r\n"
        yield Case(f"relay {path}", says, "250 250 5.. 554 221", doors=(MX,))


def injected():
    """Lines within lines, and words that are read as more than they are."""
    for name, octets in [
        ("CR in MAIL", b"MAIL FROM:<a@a.test>\rRCPT TO:<games@here.test>\r\n"),
        ("CR in HELO", b"EHLO c\rMAIL FROM:<a@a.test>\r\n"),
        ("NUL in MAIL", b"MAIL FROM:<a@a.test\0>\r\n"),
        ("NUL before MAIL", b"\0MAIL FROM:<a@a.test>\r\n"),
        ("BS in MAIL", b"MAIL FROM:<a\x08@a.test>\r\n"),
        ("ESC in HELO", b"EHLO \x1b]2;x\x07\r\n"),
        ("DEL in MAIL", b"MAIL FROM:<a\x7f@a.test>\r\n"),
        ("invalid UTF-8", b"MAIL FROM:<\xff@a.test>\r\n"),
        ("overlong UTF-8", b"MAIL FROM:<\xc0\xae@a.test>\r\n"),
        ("a surrogate", b"MAIL FROM:<\xed\xa0\x80@a.test>\r\n"),
        ("NEL in an address", b"MAIL FROM:<a\xc2\x85b@a.test>\r\n"),
        ("U+2028 in an address", b"MAIL FROM:<a\xe2\x80\xa8b@a.test>\r\n"),
        ("a quoted control", b'MAIL FROM:<"a\\\rb"@a.test>\r\n'),
        ("no closing bracket", b"MAIL FROM:<a@a.test\r\n"),
        ("two addresses", b"MAIL FROM:<a@a.test><b@b.test>\r\n"),
        ("no FROM", b"MAIL <a@a.test>\r\n"),
        ("an option as address", b"MAIL FROM:<-f@a.test>\r\n"),
        ("SIZE in other digits", b"MAIL FROM:<a@a.test> SIZE=\xd9\xa1\xd9\xa2\r\n"),
        ("SIZE=1_0", b"MAIL FROM:<a@a.test> SIZE=1_0\r\n"),
        ("SIZE=+5", b"MAIL FROM:<a@a.test> SIZE=+5\r\n"),
        ("SIZE=-1", b"MAIL FROM:<a@a.test> SIZE=-1\r\n"),
        ("SIZE without value", b"MAIL FROM:<a@a.test> SIZE=\r\n"),
        ("SIZE of 5000 digits", b"MAIL FROM:<a@a.test> SIZE=" + b"9" * 1900 + b"\r\n"),
        ("SIZE beyond 64 bits", b"MAIL FROM:<a@a.test> SIZE=18446744073709551617\r\n"),
        ("SIZE twice", b"MAIL FROM:<a@a.test> SIZE=1 SIZE=2\r\n"),
        ("BODY=BINARYMIME", b"MAIL FROM:<a@a.test> BODY=BINARYMIME\r\n"),
        ("an unknown BODY", b"MAIL FROM:<a@a.test> BODY=9BIT\r\n"),
        ("CR LF in ENVID", b"MAIL FROM:<a@a.test> ENVID=x+0D+0ATo:+20y\r\n"),
        ("NUL in ENVID", b"MAIL FROM:<a@a.test> ENVID=x+00\r\n"),
        ("a long ENVID", b"MAIL FROM:<a@a.test> ENVID=" + b"x" * 101 + b"\r\n"),
        ("lower-case xtext", b"MAIL FROM:<a@a.test> ENVID=x+0a\r\n"),
        ("RET of another kind", b"MAIL FROM:<a@a.test> RET=ALL\r\n"),
        ("SMTPUTF8 with a value", b"MAIL FROM:<a@a.test> SMTPUTF8=1\r\n"),
        ("an unknown parameter", b"MAIL FROM:<a@a.test> X-NO=1\r\n"),
        ("XVERP", b"MAIL FROM:<a@a.test> XVERP=+=\r\n"),
        ("NOTIFY at MAIL", b"MAIL FROM:<a@a.test> NOTIFY=NEVER\r\n"),
        ("a long s in MAIL FROM", b"MAIL FRO\xc2\xb5:<a@a.test>\r\n"),
        ("EHLO without a name", b"EHLO\r\n"),
        ("RSET with words", b"RSET now\r\n"),
        ("DATA with words", b"DATA now\r\n"),
        ("an empty line", b"\r\n"),
        ("a long line", b"NOOP " + b"x" * 5000 + b"\r\n"),
        ("a line of 100 kB", b"x" * 100_000 + b"\r\n"),
        ("ETRN", b"ETRN a.test\r\n"),
        ("TURN", b"TURN\r\n"),
        ("EXPN", b"EXPN root\r\n"),
        ("DEBUG", b"DEBUG\r\n"),
        ("WIZ", b"WIZ\r\n"),
        ("XCLIENT", b"XCLIENT ADDR=127.0.0.1\r\n"),
        ("XFORWARD", b"XFORWARD ADDR=127.0.0.1\r\n"),
        ("a long s in a command", b"R\xc5\xbfET\r\n"),
    ]:
        yield Case(name, octets + QUIT, "5.. 221")
    for name, octets in [
        ("CR LF in ORCPT", b"ORCPT=rfc822;x+0D+0ABcc:+20y"),
        ("ORCPT without a type", b"ORCPT=x"),
        ("ORCPT twice", b"ORCPT=a;b ORCPT=a;b"),
        ("NOTIFY=NEVER,FAILURE", b"NOTIFY=NEVER,FAILURE"),
        ("NOTIFY=", b"NOTIFY="),
        ("NOTIFY=x", b"NOTIFY=x"),
        ("SIZE at RCPT", b"SIZE=1"),
        ("a long ORCPT", b"ORCPT=rfc822;" + b"x" * 600),
        ("a type with blanks", b"ORCPT=rfc 822;x"),
    ]:
        yield Case(f"RCPT: {name}", HELLO + MAIL + RCPT[:-2] + b" " + octets + b"\r\n" + QUIT, "250 250 5.. 221")
    for name, hello in [
        ("a comment", b"EHLO c.test(x"),
        ("a field", b"EHLO x;by:y"),
        ("quotes", b'EHLO "c'),
        ("long", b"EHLO " + b"x" * 1900),
    ]:
        yield Case(f"HELO: {name}", hello + b"\r\n" + MAIL + RCPT + DATA + TEXT + b"\r\n.\r\n" + QUIT, ONE_TAKEN, 1)
    for name, header in [
        ("without a header", b"x"),
        ("From_ line", b"From root@a.test Mon Jan  5 12:00:00 2026\r\n\r\nx"),
        ("a continued line first", b" x: y\r\n\r\nz"),
        ("NUL", b"Subject: \0\r\n\r\n\0"),
        ("only blanks", b"  \r\n\t\r\n"),
        ("a header of 200 kB", b"X: " + b"y" * 200_000 + b"\r\n\r\nz"),
        ("30,000 fields", b"X: y\r\n" * 30_000 + b"\r\nz"),
        ("queue file words", b"sendmail-py-queue 1\r\nto: [ ] <root@a.test>\r\n\r\nx"),
        ("a lone CR in a field", b"Subject: x\rBcc: victim@a.test\r\n\r\nx"),
        ("nothing", b""),
    ]:
        yield Case(f"content: {name}", BEGUN + DATA + header + b"\r\n.\r\n" + QUIT, ONE_TAKEN, 1)


def confused():
    """Commands out of order."""
    end = TEXT + b"\r\n.\r\n" + QUIT
    for name, octets, codes in [
        ("RCPT first", HELLO + RCPT + QUIT, "250 503 221"),
        ("DATA first", HELLO + DATA + QUIT, "250 503 221"),
        ("DATA after MAIL", HELLO + MAIL + DATA + QUIT, "250 250 554 221"),
        ("content without DATA", HELLO + MAIL + DATA + b"x y\r\n.\r\n" + QUIT, "250 250 554 500 500 221"),
        ("MAIL twice", HELLO + MAIL + MAIL + QUIT, "250 250 503 221"),
        ("EHLO forgets", BEGUN + HELLO + DATA + QUIT, f"{THREE} 250 503 221"),
        ("HELO forgets", BEGUN + b"HELO x\r\n" + DATA + QUIT, f"{THREE} 250 503 221"),
        ("RSET forgets", BEGUN + b"RSET\r\n" + DATA + QUIT, f"{THREE} 250 503 221"),
        ("a refused EHLO forgets nothing", BEGUN + b"EHLO\r\n" + QUIT, f"{THREE} 501 221"),
        ("LHLO", b"LHLO x\r\n" + QUIT, "500 221"),
        ("a lone dot", HELLO + b".\r\n" + QUIT, "250 500 221"),
        ("commands after QUIT", HELLO + QUIT + MAIL + RCPT + DATA + end, "250 221"),
        ("VRFY tells nothing", b"VRFY root\r\nVRFY nobody.such\r\n" + QUIT, "252 252 221"),
        ("STARTTLS amid a transaction", HELLO + MAIL + b"STARTTLS\r\n" + QUIT, "250 250 503 221"),
        ("STARTTLS with words", HELLO + b"STARTTLS now\r\n" + QUIT, "250 501 221"),
    ]:
        doors = (MX,) if "STARTTLS" in name else (MX, SUBMISSION)
        yield Case(name, octets, codes, doors=doors)
    yield Case("AUTH that is not offered", HELLO + b"AUTH PLAIN AGEAYQ==\r\n" + QUIT, "250 50. 221", doors=(MX,))
    yield Case("AUTH= at MAIL", HELLO + b"MAIL FROM:<a@a.test> AUTH=<>\r\n" + QUIT, "250 555 221", doors=(MX,))
    yield Case("no greeting", MAIL + RCPT + DATA + end, "250 250 354 250 221", 1, doors=(MX,))
    yield Case(
        "two messages", BEGUN + DATA + end[:-6] + MAIL + RCPT + DATA + end, f"{THREE} 354 250 250 250 354 250 221", 2
    )
    for name, octets in [
        ("commands", b"\r\nMAIL FROM:<root@a.test>\r\nEHLO x\r\nMAIL FROM:<root@a.test>\r\n"),
        ("EHLO", b"\r\nEHLO x\r\n"),
        ("MAIL", b"\r\nMAIL FROM:<root@a.test>\r\n"),
    ]:
        yield Case(f"STARTTLS, then {name} in clear", HELLO + b"STARTTLS" + octets, "250 421", doors=(MX,))


def chunk(octets, last=b" LAST"):
    return b"BDAT %d%b\r\n%b" % (len(octets), last, octets)


def chunked():
    """BDAT that is wrong, or refused, with commands in its octets."""
    for name, line in [
        ("no size", b"BDAT"),
        ("LAST alone", b"BDAT LAST"),
        ("a sign", b"BDAT -5 LAST"),
        ("a plus", b"BDAT +5 LAST"),
        ("hexadecimal", b"BDAT 0x5 LAST"),
        ("an underscore", b"BDAT 1_0"),
        ("other digits", b"BDAT \xd9\xa1"),
        ("5000 digits", b"BDAT " + b"9" * 1900),
        ("another word", b"BDAT 5 LASTS"),
        ("a word more", b"BDAT 5 LAST x"),
        ("a fraction", b"BDAT 5.0"),
        ("no blank", b"BDAT 5LAST"),
    ]:
        yield Case(f"BDAT: {name}", BEGUN + line + b"\r\n" + HIDDEN, f"{THREE} 521")
    inner = b"RSET\r\n" + HIDDEN
    for name, octets, codes in [
        ("without MAIL", HELLO + chunk(inner) + QUIT, "250 503 221"),
        ("without RCPT", HELLO + MAIL + chunk(inner) + QUIT, "250 250 554 221"),
        (
            "after a refused RCPT",
            HELLO + MAIL + b"RCPT TO:<nobody.such@here.test>\r\n" + chunk(inner) + QUIT,
            "250 250 550 554 221",
        ),
        ("empty, not the last", BEGUN + chunk(b"", b"") + chunk(inner) + QUIT, f"{THREE} 551 551 221"),
        (
            "after a refused one",
            HELLO + chunk(inner, b"") + chunk(inner, b"") + chunk(inner) + QUIT,
            "250 503 551 551 221",
        ),
        ("MAIL after a chunk", BEGUN + chunk(TEXT, b"") + MAIL + RCPT + DATA + QUIT, f"{THREE} 250 503 503 503 221"),
        ("STARTTLS after a chunk", BEGUN + chunk(TEXT, b"") + b"STARTTLS\r\n" + QUIT, f"{THREE} 250 50. 221"),
        (
            "RSET after a chunk",
            BEGUN + chunk(TEXT, b"") + b"RSET\r\n" + chunk(inner) + QUIT,
            f"{THREE} 250 250 503 221",
        ),
        ("EHLO after a chunk", BEGUN + chunk(TEXT, b"") + HELLO + chunk(inner) + QUIT, f"{THREE} 250 250 503 221"),
        ("QUIT after a chunk", BEGUN + chunk(TEXT, b"") + QUIT + chunk(b""), f"{THREE} 250 221"),
        ("cut short", BEGUN + b"BDAT 1000 LAST\r\n" + TEXT, THREE),
        ("too large", BEGUN + b"BDAT 999999999999 LAST\r\n" + HIDDEN, f"{THREE} 521"),
        (
            "too large at last",
            BEGUN + chunk(TEXT, b"") + b"BDAT 999999999999999999 LAST\r\n" + HIDDEN,
            f"{THREE} 250 521",
        ),
        ("too large, but not to be read", BEGUN + chunk(b"x" * 1_100_000) + QUIT, f"{THREE} 552 221"),
    ]:
        yield Case(f"BDAT: {name}", octets, codes, doors=(MX,) if name == "cut short" else (MX, SUBMISSION))
    for name, octets, codes in [
        ("in DATA", BEGUN + DATA + TEXT + b"\r\nBDAT 5 LAST\r\n.\r\n" + QUIT, ONE_TAKEN),
        (
            "octet by octet",
            BEGUN + b"".join(chunk(TEXT[i : i + 1], b"") for i in range(len(TEXT))) + chunk(b"") + QUIT,
            THREE + " 250" * 16 + " 221",
        ),
        ("commands in a good one", BEGUN + chunk(TEXT + inner) + QUIT, f"{THREE} 250 221"),
        ("DATA after a chunk", BEGUN + chunk(TEXT, b"") + DATA + chunk(b"") + QUIT, f"{THREE} 250 503 250 221"),
        ("no content", BEGUN + chunk(b"") + QUIT, f"{THREE} 250 221"),
    ]:
        yield Case(f"BDAT: {name}", octets, codes, 1)


def other_protocols():
    """Programs that were made to speak to this port (cross-protocol requests): the first line ends the session."""
    form = b"\r\n\r\n" + HELLO + HIDDEN
    for line in [
        b"GET / HTTP/1.1",
        b"POST / HTTP/1.1",
        b"PUT /x HTTP/1.0",
        b"HEAD / HTTP/1.0",
        b"DELETE / HTTP/1.1",
        b"OPTIONS * HTTP/1.1",
        b"CONNECT here.test:25 HTTP/1.1",
        b"PRI * HTTP/2.0",
        b"Host: here.test",
        b"User-Agent: x",
        b"Content-Type: text/plain",
        b"OPTIONS sip:x SIP/2.0",
        b"Subject: x",
        b"post / http/1.1",
    ]:
        yield Case(f"another protocol: {line.decode()}", line + form, "421")
    for name, octets, codes in [
        ("TLS", b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + bytes(60) + b"\r\n" + QUIT, "500 221"),
        ("SSH", b"SSH-2.0-x\r\n" + QUIT, "500 221"),
        ("Redis", b"*1\r\n$4\r\nPING\r\n" + QUIT, "500 500 500 221"),
        ("POP3", b"USER x\r\nPASS y\r\n" + QUIT, "500 500 221"),
        ("IMAP", b"a1 LOGIN x y\r\n" + QUIT, "500 221"),
        ("PROXY", b"PROXY TCP4 192.0.2.1 192.0.2.2 1 25\r\n" + QUIT, "500 221"),
        ("LMTP", b"LHLO c.test\r\n" + QUIT, "500 221"),
        ("memcached", b"set x 0 0 5\r\nhello\r\n" + QUIT, "500 500 221"),
    ]:
        yield Case(f"another protocol: {name}", octets, codes)


def flooded():
    """Too much of something."""
    again = b"RSET\r\n"
    for name, octets, codes in [
        ("errors", b"NO\r\n" * 100, "500 " * 20 + "421"),
        ("NOOPs", b"NOOP\r\n" * 300, "250 " * 100 + "250 " * 20 + "421"),
        ("RSETs", again * 300, "250 " * 100 + "250 " * 20 + "421"),
        ("EHLOs", HELLO * 300, "250 " * 100 + "250 " * 20 + "421"),
        ("VRFYs", b"VRFY x\r\n" * 300, "252 " * 100 + "252 " * 20 + "421"),
        ("unknown users", HELLO + MAIL + b"RCPT TO:<nobody.such@here.test>\r\n" * 50, "250 250 " + "550 " * 20 + "421"),
        ("MAILs", HELLO + MAIL * 50, "250 250 " + "503 " * 20 + "421"),
        ("long lines", (b"x" * 3000 + b"\r\n") * 50, "500 " * 20 + "421"),
        ("refused chunks", HELLO + chunk(b"x", b"") * 50, "250 503 " + "551 " * 19 + "421"),
        ("transactions", (MAIL + again) * 50 + QUIT, "250 " * 100 + "221"),
    ]:
        yield Case(f"a flood of {name}", octets, codes)
    recipients = HELLO + MAIL + RCPT * 1100 + b"QUIT\r\n"
    yield Case("a flood of recipients", recipients, "250 250 " + "250 " * 1000 + "452 " * 100 + "221")
    yield Case(
        "a message over the limit", BEGUN + DATA + b"x" * 1_100_000 + b"\r\n.\r\n" + QUIT, f"{THREE} 354 552 221"
    )
    yield Case("a long text line", BEGUN + DATA + b"x" * 900_000 + b"\r\n.\r\n" + QUIT, ONE_TAKEN, 1)
    yield Case("a loop", BEGUN + DATA + b"Received: x\r\n" * 200 + b"\r\n.\r\n" + QUIT, f"{THREE} 354 554 221")


STEPS = [b"", b"EH", HELLO, MAIL[:9], MAIL, RCPT, DATA, TEXT[:7], b"\r\n\r\nx", b"\r\n", b".", b"\r"]
CHUNK_STEPS = [BEGUN, b"BD", b"AT 20", b"\r\n", TEXT, b"12345", b"BDAT 5 LA", b"ST\r\n", b"123"]

CASES = list(itertools.chain(smuggled(), relayed(), injected(), confused(), chunked(), other_protocols(), flooded()))
