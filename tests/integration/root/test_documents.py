"""Every command in the documents is typed; what cannot be has a reason here.

The documents are played in order on one machine, each from a main.cf that sets nothing: played.py says what becomes
of a block. What is only shown there may hide no command of ours. The README's are typed on a machine of its own.
"""

import re
from collections.abc import Iterator

import pytest
from document_machine import WORLD, DocumentMachine
from machine import ROOT
from played import MAIN_CF, NOT_TYPED, is_done, play, reason

from tests.servers.oauth_server import SECRET
from tests.transcript import Step, blocks

DOCUMENTS = {str(path.relative_to(ROOT)): path for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))}
SHOWN = ("", "text", "json", "yaml", "ini", "dockerfile", "dovecot", "crontab")
OURS = re.compile(r"^(mailctl|sendmail|mailq|newaliases|make|apt-get|systemctl|podman|pip)( |$)")
BASE = "maillog_file = /var/log/mail.log\n"
# What a document takes for granted, and what happens where it says so.
BEFORE = {
    "docs/migration.md": """
        mkdir -p /etc/postfix /etc/ssmtp
        printf 'relayhost = [smtp.example.org]:587\\nmyhostname = host.example.org\\n' > /etc/postfix/main.cf
        printf 'account default\\nhost smtp.example.org\\nport 25\\nfrom you@example.org\\ntls off\\n' > /root/.msmtprc
        chmod 600 /root/.msmtprc
        printf 'mailhub=mx.example.com\\n' > /etc/ssmtp/ssmtp.conf""",
    "docs/queue.md": """
        { printf 'Subject: big\\n\\n'; head -c 6000000 /dev/zero | tr '\\0' x | fold; } | sendmail -odq far@example.com
        while read -r text; do echo "Nov 28 19:47:30 host sendmail-py/qmgr[1]: 6615B7278C59C62192AB: $text"; done \
            >> /var/log/mail.log << 'END'
        message-id=<20261128194730.6615B7278C59C62192AB@mx.example.org>
        from=<alice@host.example.org>, size=300, nrcpt=1 (queue active)
        to=<bob@example.net>, relay=none, delay=1, delays=1/0/0/0, dsn=2.0.0, status=sent (250 Ok)
        removed
        END
        until mailctl queue count -j | grep -q deferred; do sleep 0.1; done""",
    "docs/oauth.md": f"printf '{SECRET}\\n' > /root/secret; chmod 600 /root/secret",
    "docs/submission.md": f"""
        mkdir -p /etc/letsencrypt/live/mail.example.org
        cd /etc/letsencrypt/live/mail.example.org
        openssl pkey -in {WORLD}/host.pem -out privkey.pem
        openssl x509 -in {WORLD}/host.pem -out fullchain.pem
        echo 'you@example.org alice' > /etc/sendmail-py/owners""",
    "docs/smarthost.md": """
        touch /etc/sendmail-py/relayhosts /etc/sendmail-py/tls_policy
        install -m 600 -o sendmail-py-net /dev/null /etc/sendmail-py/sasl_passwd""",
}


@pytest.fixture(scope="module")
def host() -> Iterator[DocumentMachine]:
    with DocumentMachine() as host:
        host.install()
        host.run("mailctl", "setup", "--root-alias", "alice")
        host.path(MAIN_CF).write_text(BASE)
        host.start()
        yield host
        host.stop()


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_kind_of_a_block_says_what_is_done_with_it(name: str) -> None:
    for block in blocks(DOCUMENTS[name]):
        assert block.kind in ("sh", "console", "main.cf", *SHOWN), f"{block.section}: {block.kind}"
        hidden = [line for line in block.lines if block.kind in SHOWN and OURS.match(line)]
        assert not hidden, f"{block.section}: no test would type {hidden}"


def test_what_is_not_typed_here_is_held_by_a_test_that_is_there() -> None:
    assert [why.held_by for why in NOT_TYPED.values() if not (ROOT / why.held_by).exists()] == []
    used = {why for name in DOCUMENTS for block in blocks(DOCUMENTS[name]) if (why := reason(name, block))}
    assert used == set(NOT_TYPED.values())


TYPED = [
    name
    for name, path in DOCUMENTS.items()
    if name != "README.md" and any(is_done(name, block) for block in blocks(path))
]


@pytest.mark.parametrize("name", TYPED)
def test_what_a_document_says_is_done(host: DocumentMachine, name: str) -> None:
    host.path(MAIN_CF).write_text(BASE)
    host.script(BEFORE.get(name, ":"))
    host.run("mailctl", "reload")
    for block in blocks(DOCUMENTS[name]):
        if block.kind == "main.cf":
            host.path(MAIN_CF).write_text(BASE + block.text)  # tests/unit/test_documents.py looks what is in it
        elif is_done(name, block):
            play(host, block)
    host.script("rm -f /etc/sendmail-py/sasl_passwd; mailctl queue delete ALL")


def test_the_files_of_the_security_model_are_as_it_says(host: DocumentMachine) -> None:
    host.submit("bob", "alice")
    host.wait_for_mail("alice", "hello")
    host.script(f"{BEFORE['docs/smarthost.md']}; echo pw | mailctl passwd add alice; test -e /run/sendmail-py/control")
    text = (ROOT / "docs/security.md").read_text().partition("## Files")[2].partition("\n## ")[0]
    places = {"maildrop/": "/var/spool/sendmail-py/maildrop", "trigger": "/var/spool/sendmail-py/trigger"}
    places |= {"password files": "/etc/sendmail-py/sasl_passwd", "mailboxes": "/var/mail/alice"}
    seen = 0
    for first, second in re.findall(r"^\| (.*?) \| (.*?) \|", text, re.MULTILINE):
        mode = re.search(r"\b(\d{4})\b", second)
        if not mode:
            continue
        named = re.search(r"root|sendmail-py-net|the user", second)
        owner = named[0].replace("the user", "alice") if named else "sendmail-py"
        name = first.split("`")[1] if first.startswith("`") else first.partition(" (")[0]
        path = places.get(name, name)
        shown = host.script(f"stat -c '%04a %U' {path}").strip()
        assert shown == f"{mode[1]} {owner}", path
        seen += 1
    assert seen == 9
    assert host.script("cd /run/sendmail-py; stat -c %a control public submit").split() == ["666"] * 3


# --- manual pages --------------------------------------------------------------------------------


def examples(page: str) -> list[str]:
    """Return the examples of a manual page."""
    text = (ROOT / "docs/man" / page).read_text().partition(".Sh EXAMPLES\n")[2].partition("\n.Sh ")[0]
    displayed = re.findall(r"^\.Bd -literal[^\n]*\n(.*?)^\.Ed$", text, re.MULTILINE | re.DOTALL)
    return [*displayed, *re.findall(r"^\.Dl (.*)$", text, re.MULTILINE)]


@pytest.mark.parametrize("page", ["mailctl.8", "sendmail.8"])
def test_the_examples_of_a_manual_page_work(host: DocumentMachine, page: str) -> None:
    host.path(MAIN_CF).write_text(BASE)
    host.script("printf 'To: alice\\nSubject: an example\\n\\nhello\\n' > /root/message")
    assert examples(page)
    for example in examples(page):
        as_root = "~/" not in example
        for command in example.splitlines():
            setting = "cd; " if as_root else "export USER=alice; "
            status, output = host.typed(Step(page, 0, as_root, setting + command))
            assert status == 0, f"{command}\n{output}"
    host.script("mailctl -c /home/alice/try stop 2>/dev/null || true")


def test_the_example_of_aliases_5_is_an_alias_file(host: DocumentMachine) -> None:
    (example,) = examples("aliases.5")
    host.path("/etc/aliases").write_text(example)
    said = host.run("newaliases").stdout.decode()
    assert said.startswith("/etc/aliases: 6 aliases")
    host.path("/etc/aliases").write_text("root: alice\n")
