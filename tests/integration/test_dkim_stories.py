"""DKIM: what leaves is signed as it goes over the wire, who may have it signed, and mailctl dkim."""

import base64
import contextlib
import hashlib
import re

import dkim
import pytest

from tests.integration.instance import Instance, me
from tests.integration.smtp_server import Served
from tests.servers.name_server import NameServer
from tests.servers.real_filters import opendkim
from tests.servers.smtp_sink import SmtpSink

TO = "bob@elsewhere.test"


class World:
    """An instance whose mail goes to a sink, and the keys that it has made; records is what DNS would say."""

    def __init__(self, path, stack, kind=Instance, **settings):
        self.sink = stack.enter_context(SmtpSink())
        relayhost = f"[127.0.0.1]:{self.sink.port}"
        more = {"minimal_backoff_time": "1s", "maximal_backoff_time": "1s"}
        self.instance = stack.enter_context(kind(path / "i", relayhost=relayhost, **more | settings))
        self.records = {}

    def keygen(self, *words):
        text = self.instance.mailctl("dkim", "keygen", *words, check=True).stdout.decode()
        name, strings = re.search(r"^(\S+)\. IN TXT \( (.*) \)$", text, re.MULTILINE).groups()
        self.records[name] = "".join(re.findall('"([^"]*)"', strings))
        return text

    def sign(self, value):
        self.instance.configure(dkim_domains=f"inline:{{ {{here.test = {value}}} }}")

    def send(self, content, *words, to=TO):
        before = len(self.sink.messages)
        self.instance.submit(content, "-i", *words, to)
        self.instance.wait_for(lambda: len(self.sink.messages) > before, "the message at the sink")
        return self.sink.messages[-1].content

    def verdicts(self, content):
        """Return (domain, selector, whether dkimpy finds it good) of each signature."""
        found = []
        number = len(re.findall(rb"^DKIM-Signature:", content, re.MULTILINE))
        for index in range(number):
            one = dkim.DKIM(content)
            try:
                good = one.verify(index, dnsfunc=self.answer)
            except dkim.DKIMException:  # a body that is another one, for instance
                good = False
            found.append((one.domain.decode(), one.selector.decode(), good))
        return found

    def answer(self, name, timeout=5):
        return self.records.get(name.decode().rstrip("."), "").encode()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with contextlib.ExitStack() as stack:
        world = World(tmp_path_factory.mktemp("dkim"), stack)
        world.keygen("here.test", "r1")
        world.keygen("--type", "ed25519", "here.test", "e1")
        world.sign("r1 e1")
        world.instance.start()
        yield world


BODIES = [
    b"",
    b"one line",
    b"\n\n\n",
    b"trailing blanks \t \n\t\n  \n\n\n",
    b".\n..\n.dots\n",
    b"x" * 5000 + b"\n" + b"long words " * 700 + b"\n",
    "ä".encode() * 2000 + b"\n",
    b"carriage\rreturns\r\r\n",
    b"From here\n>From there\n",
]


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
def test_both_signatures_are_good_whatever_the_body(world, body):
    content = world.send(b"From: Alice <alice@here.test>\nSubject: x\nTo: bob@elsewhere.test\n\n" + body)
    assert world.verdicts(content) == [("here.test", "r1", True), ("here.test", "e1", True)]


HEADERS = [
    b"Subject:  folded\n \t  in  odd\n\tways  \nCc: c@elsewhere.test\nCc: d@elsewhere.test\n",
    b"Subject: " + b"w" * 3000 + b"\n",
    "Subject: ä ö ü\nReply-To: Ä <x@here.test>\n".encode(),
    b"MIME-Version: 1.0\nContent-Type: text/plain\nContent-Transfer-Encoding: 8bit\nReferences: <a> <b>\n",
    b"Subject:\nX-Unsigned: 1\nList-Id: <l.here.test>\n",
]


@pytest.mark.parametrize("header", HEADERS, ids=range(len(HEADERS)))
def test_both_signatures_are_good_whatever_the_header(world, header):
    content = world.send(b"From: alice@here.test\n" + header + b"\ntext\n")
    assert [good for *_, good in world.verdicts(content)] == [True, True]


def test_a_second_from_or_another_subject_makes_a_signature_bad(world):
    content = world.send(b"From: alice@here.test\nSubject: x\n\ntext\n")
    for spoilt in (
        content.replace(b"Subject: x", b"Subject: y"),
        b"From: eve@a.test\r\n" + content,
        content + b"more\r\n",
    ):
        assert not any(good for *_, good in world.verdicts(spoilt))
    for harmless in (b"X-Added: 1\r\n" + content, content.replace(b"Subject: x", b"Subject:   x  ")):
        assert all(good for *_, good in world.verdicts(harmless))


def test_a_subdomain_is_signed_by_the_domain_and_other_domains_are_not(world):
    content = world.send(b"From: root@mail.here.test\n\nx\n")
    assert world.verdicts(content) == [("here.test", "r1", True), ("here.test", "e1", True)]
    for author in ("alice@elsewhere.test", "alice@nothere.test", "alice@test", "a@here.test\nFrom: b@here.test"):
        assert world.verdicts(world.send(f"From: {author}\n\nx\n".encode())) == []


def test_a_message_of_fifty_megabytes_is_signed_without_being_in_memory(world, tmp_path):
    world.instance.configure(message_size_limit=100_000_000)
    world.instance.reload()
    world.send(b"From: alice@here.test\n\nwarm\n")
    pid = world.instance.pid_of("smtp")
    before = peak(pid)
    content = world.send(b"From: alice@here.test\n\n" + (b"x" * 900 + b"\ty" * 45 + b"\n") * 51_000)
    assert peak(pid) - before < 16 << 20
    head, _, body = content.partition(b"\r\n\r\n")
    assert len(body) > 50_000_000
    digest = base64.b64encode(hashlib.sha256(body.replace(b"\t", b" ")).digest())  # dkimpy would take a minute
    assert head.count(b" bh=" + digest) == 2


def peak(pid):
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[1]) << 10 for line in file if line.startswith("VmHWM"))


def test_the_signature_is_over_what_generic_maps_make_of_the_addresses(tmp_path):
    with contextlib.ExitStack() as stack:
        maps = "inline:{ {alice@here.test = sales@here.test} }"
        world = World(tmp_path, stack, smtp_generic_maps=maps)
        world.keygen("here.test", "r1")
        world.sign("r1")
        world.instance.start()
        content = world.send(b"From: alice@here.test\nSubject: x\n\ntext\n")
        assert b"\r\nFrom: sales@here.test\r\n" in content
        assert world.verdicts(content) == [("here.test", "r1", True)]


def test_a_key_that_cannot_be_read_makes_mail_wait_and_a_new_selector_counts_after_a_reload(tmp_path):
    with contextlib.ExitStack() as stack:
        world = World(tmp_path, stack)
        world.keygen("here.test", "new")
        world.sign("old")
        world.instance.start()
        world.instance.submit(b"From: alice@here.test\nSubject: waits\n\nx\n", TO)
        world.instance.wait_for_log("dsn=4.7.0, status=deferred .DKIM: .*No such file.*here.test.old.pem")
        world.sign("new")
        world.instance.reload()
        world.instance.wait_for(lambda: world.sink.messages, "the message at the sink")
        assert world.verdicts(world.sink.messages[0].content) == [("here.test", "new", True)]


def test_mail_of_strangers_is_never_signed_and_that_of_clients_in_mynetworks_is(tmp_path):
    with contextlib.ExitStack() as stack:
        world = World(tmp_path, stack, Served, mynetworks="127.0.0.1", local_header_rewrite_clients="")
        world.keygen("here.test", "r1")
        world.sign("r1")
        (world.instance.path / "aliases").write_text(f"away: {TO}\n")
        world.instance.start()
        for host, signed in (("127.0.0.1", True), ("::1", False)):
            before = len(world.sink.messages)
            with world.instance.connect(host) as line:
                line.reply()
                line.to_data("alice@here.test", TO if signed else "away@here.test")
                line.say("From: alice@here.test", f"Subject: by {host}", "", "x", ".")
                assert line.reply()[:3] == "250"
            world.instance.wait_for(lambda n=before: len(world.sink.messages) > n, "the message at the sink")
            assert world.verdicts(world.sink.messages[-1].content) == ([("here.test", "r1", True)] if signed else [])


def test_mailctl_makes_shows_and_checks_keys(tmp_path):
    zone = {}
    with NameServer(zone) as names, contextlib.ExitStack() as stack:
        world = World(tmp_path, stack, resolver_nameservers=names.address)
        mailctl = world.instance.mailctl
        text = world.keygen("here.test", "r1")
        assert "dkim_domains = inline:{ {here.test = r1} }" in text
        assert mailctl("dkim", "keygen", "here.test", "r1").returncode == 78
        key = world.instance.path / "data" / "dkim" / "here.test.r1.pem"
        assert (key.stat().st_mode & 0o777, key.parent.stat().st_mode & 0o777) == (0o600, 0o700)
        shown = mailctl("dkim", "show", "here.test", check=True).stdout.decode()
        assert shown.strip() in text
        assert b"PRIVATE" not in mailctl("dkim", "show", "here.test").stdout
        done = mailctl("dkim", "check", "here.test")
        assert (done.returncode, b"main.cf signs nothing" in done.stdout, b"not published" in done.stdout) == (
            1,
            True,
            True,
        )
        world.sign("r1")
        record = world.records["r1._domainkey.here.test"]
        for published, code, said in (
            ("", 1, b"not published (in use)"),
            ("v=DKIM1; k=rsa; p=", 1, b"revoked"),
            ("v=DKIM1; k=rsa; p=AAAA", 1, b"another key"),
            (record, 0, b": published (in use)"),
        ):
            strings = " ".join(f'"{published[at : at + 255]}"' for at in range(0, len(published), 255))
            names.zone["r1._domainkey.here.test"] = {"TXT": [strings]} if published else {"A": ["127.0.0.1"]}
            done = mailctl("dkim", "check", "here.test")
            assert (done.returncode, said in done.stdout) == (code, True), done.stdout
        assert mailctl("dkim", "show", "other.test").returncode == 78
        assert mailctl("dkim", "keygen", "../x").returncode == 64
        assert mailctl("dkim", "keygen", "here.test", "a/b").returncode == 64


@pytest.mark.real("opendkim")
def test_opendkim_finds_the_signatures_good(tmp_path):
    with contextlib.ExitStack() as stack:
        world = World(tmp_path, stack)
        world.keygen("here.test", "r1")
        keys = tmp_path / "keys"
        keys.mkdir()
        (keys / "key").write_text((world.instance.path / "data/dkim/here.test.r1.pem").read_text())
        (keys / "public").write_text("".join(f"{name} {text}\n" for name, text in world.records.items()))
        port = stack.enter_context(opendkim(tmp_path / "checks", "x.test", "v", keys))
        place = f"inet:127.0.0.1:{port}"
        checker = stack.enter_context(Served(tmp_path / "c", smtpd_milters=place))
        checker.configure(mydestination="elsewhere.test")
        checker.start()
        world.instance.configure(relayhost=f"[127.0.0.1]:{checker.port}")
        world.sign("r1")
        world.instance.start()
        for number, body in enumerate(BODIES):
            content = b"From: alice@here.test\nSubject: number %d\n\n" % number + body
            world.instance.submit(content, "-i", f"{me()}@elsewhere.test")
        checker.wait_for_mail(me(), b"dkim=pass (2048-bit key) header.d=here.test", len(BODIES))
