"""Every word of smtpd_*_restrictions, and a real Postfix beside us on the same configuration: the same replies.

Both servers see the same clients (addresses of the machine's own), the same DNS, and take no content. Where the replies
are not meant to be the same, DIFFERENCES says which and why; docs/compat.md tells it to people.
"""

import json
import re
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from machine import HERE, Machine, wait_until
from smarthosts import prepare_postfix

from tests.conftest import needs
from tests.servers.postfix import LOCAL, MASTER, SENDING, SERVICES

SERVER, OUR_PORT, THEIR_PORT = "192.0.2.100", 2500, 2600  # Postfix has a port for each configuration
FRIEND, NAMED, UNVERIFIED, NAMELESS, UNKNOWN = (f"192.0.2.{number}" for number in (5, 1, 2, 3, 4))
CLIENTS = [FRIEND, NAMED, UNVERIFIED, NAMELESS, UNKNOWN]
HELOS = [
    "mail.good.test",
    "[192.0.2.1]",
    "192.0.2.1",
    "bare",
    "-bad-.test",
    "nx.test",
    "slow.test",
    "a_b.good.test",
    "[x]",
]
SENDERS = [
    "a@good.test",
    "",
    "a@nx.test",
    "a@null.test",
    "a@slow.test",
    "bare",
    "a@bare",
    "nobody@here.test",
    "alice@here.test",
    "a@sub.good.test",
    "A@GOOD.TEST",
    "a+b@good.test",
]
RECIPIENTS = [
    "alice@here.test",
    "nobody@here.test",
    "x@relay.test",
    "x@sub.relay.test",
    "x@good.test",
    "x@nx.test",
    "x@null.test",
    "x@slow.test",
    "x%good.test@here.test",
    "alice",
    "nobody",
    "x@bare",
    "good.test!x@here.test",
    '"x@good.test"@here.test',
    "@here.test,@relay.test:x@good.test",
    "@good.test:alice@here.test",
    "postmaster",
    "Postmaster@here.test",
    "alice+ext@here.test",
    "ALICE@HERE.TEST",
    "alice@[192.0.2.100]",
    "alice@here.test.",
]
ZONE: dict[str, dict[str, Any]] = {
    "good.test": {"MX": ["10 mail.good.test."]},
    "mail.good.test": {"A": [NAMED]},
    "a_b.good.test": {"A": ["192.0.2.9"]},
    "sub.good.test": {"A": ["192.0.2.9"]},
    "friend.good.test": {"A": [FRIEND]},
    "other.good.test": {"A": ["192.0.2.99"]},
    "relay.test": {"MX": ["10 mail.good.test."]},
    "null.test": {"MX": ["0 ."]},
    "slow.test": {"rcode": "SERVFAIL"},
    "1.2.0.192.in-addr.arpa": {"PTR": ["mail.good.test."]},
    "2.2.0.192.in-addr.arpa": {"PTR": ["other.good.test."]},
    "4.2.0.192.in-addr.arpa": {"rcode": "SERVFAIL"},
    "5.2.0.192.in-addr.arpa": {"PTR": ["friend.good.test."]},
    "1.2.0.192.list.test": {"A": ["127.0.0.2"], "TXT": ["listed"]},
    "5.2.0.192.white.test": {"A": ["127.0.0.2"]},
    "good.test.domains.test": {"A": ["127.0.0.2"]},
    "mail.good.test.domains.test": {"A": ["127.0.0.2"]},
}
_BOTH = {
    "myhostname": "here.test",
    "mydestination": "here.test",
    "myorigin": "here.test",
    "mynetworks": FRIEND,
    "relay_domains": "relay.test",
    "recipient_delimiter": "+",
    "local_recipient_maps": "inline:{ {alice=x} {postmaster=x} }",
    "smtpd_error_sleep_time": "0",
    "smtpd_hard_error_limit": "1000",
    "smtpd_client_restrictions": "",
    "smtpd_helo_restrictions": "",
    "smtpd_sender_restrictions": "",
    "smtpd_relay_restrictions": "permit_mynetworks, reject_unauth_destination",
    "smtpd_recipient_restrictions": "",
    "smtpd_sender_login_maps": "",
    "smtpd_delay_reject": "yes",
    "smtpd_reject_unlisted_recipient": "yes",
    "smtpd_reject_unlisted_sender": "no",
    "smtpd_relay_before_recipient_restrictions": "yes",
    "smtpd_helo_required": "no",
}
# What is configured beside that, and which of client, HELO, sender and recipient is tried in all its forms.
CONFIGURATIONS: list[tuple[str, dict[str, str], str]] = [
    ("relaying", {}, "c r"),
    ("relaying deferred", {"relay": "permit_mynetworks, defer_unauth_destination"}, "r"),
    ("relaying after the recipient's", {"recipient": "reject_non_fqdn_recipient", "before": "no"}, "r"),
    ("unlisted recipients taken", {"smtpd_reject_unlisted_recipient": "no"}, "r"),
    ("reject", {"client": "permit_mynetworks, reject"}, "c"),
    ("reject by recipient", {"recipient": "permit_mynetworks, reject"}, "r"),
    ("defer", {"sender": "permit_mynetworks, defer"}, "c"),
    ("defer if permit", {"client": "defer_if_permit"}, "c r"),
    ("defer if permit, then reject", {"client": "defer_if_permit", "sender": "reject"}, "c"),
    ("defer if reject", {"client": "defer_if_reject", "recipient": "reject"}, "c"),
    ("defer if reject, in one list", {"recipient": "defer_if_reject, reject"}, "r"),
    ("warn", {"recipient": "warn_if_reject reject_non_fqdn_recipient, warn_if_reject reject"}, "r"),
    (
        "the form of what is said",
        {
            "client": "reject_unknown_client_hostname",
            "helo": "reject_invalid_helo_hostname",
            "sender": "reject_non_fqdn_sender",
            "recipient": "reject_non_fqdn_recipient",
        },
        "c h s r",
    ),
    (
        "what there is",
        {
            "client": "reject_unknown_reverse_client_hostname",
            "helo": "reject_non_fqdn_helo_hostname",
            "sender": "reject_unknown_sender_domain",
            "relay": "reject_unknown_recipient_domain, reject_unauth_destination",
        },
        "c h s r",
    ),
    (
        "who there is",
        {
            "helo": "reject_unknown_helo_hostname",
            "sender": "reject_unlisted_sender",
            "recipient": "reject_unlisted_recipient, reject",
        },
        "h s r",
    ),
    ("destination", {"relay": "permit_auth_destination, reject"}, "r"),
    (
        "old names",
        {"helo": "reject_invalid_hostname, reject_non_fqdn_hostname", "client": "reject_unknown_client"},
        "c h",
    ),
    (
        "client table",
        {"client": f"check_client_access inline:{{ {{{NAMED}=REJECT not you}} {{192.0.2=OK}} }}, reject"},
        "c",
    ),
    (
        "HELO table",
        {"helo": "check_helo_access inline:{ {good.test=REJECT} {bare=550 5.7.1 no} {nx.test=DUNNO} }"},
        "h",
    ),
    ("sender table", {"sender": "check_sender_access inline:{ {good.test=REJECT} {a@=554 no} {<>=450 4.1.7 x} }"}, "s"),
    (
        "recipient table",
        {"recipient": "check_recipient_access inline:{ {alice@=REJECT} {relay.test=421 4.3.2 x} }"},
        "r",
    ),
    (
        "table of restrictions",
        {"sender": "check_sender_access inline:{ {good.test=reject_non_fqdn_sender, reject} }"},
        "s",
    ),
    ("table with conditions", {"sender": "check_sender_access inline:{ {good.test=DEFER_IF_PERMIT wait} }"}, "s"),
    ("list of addresses", {"client": "reject_rbl_client list.test"}, "c"),
    ("white list", {"client": "permit_dnswl_client white.test, reject"}, "c"),
    ("list of client's domains", {"client": "reject_rhsbl_client domains.test"}, "c"),
    ("list of HELO's domains", {"helo": "reject_rhsbl_helo domains.test"}, "h"),
    ("list of senders' domains", {"sender": "reject_rhsbl_sender domains.test"}, "s"),
    ("list of recipients' domains", {"recipient": "reject_rhsbl_recipient domains.test"}, "r"),
    (
        "at once",
        {"client": "reject_unknown_client_hostname", "helo": "reject_non_fqdn_helo_hostname", "delay": "no"},
        "c h",
    ),
    (
        "owned addresses",
        {"sender": "reject_unauthenticated_sender_login_mismatch", "owners": "inline:{{a@good.test=a}}"},
        "s",
    ),
]
_SHORT = {
    "delay": "smtpd_delay_reject",
    "before": "smtpd_relay_before_recipient_restrictions",
    "owners": "smtpd_sender_login_maps",
}
# Where the replies differ, as a pattern of the case, and why; docs/compat.md says so to people.
DIFFERENCES = {
    r"RCPT TO:<alice@\[192.0.2.100\]>": "an address in brackets is a domain of ours only if mydestination says so",
    r' 192.0.2.5 .*RCPT TO:<(x%good.test|good.test!x|"x@good.test")@': "% and ! in a local part mean no other host",
    r"^at once: 192.0.2.[234] ": "who is refused at once is let go; Postfix answers each command till QUIT",
    r"^owned addresses: ": "addresses are guarded where nobody can log in, too",
}

_POSTFIX = {
    "compatibility_level": "3.6",
    "maillog_file": "/var/log/postfix.log",
    "inet_protocols": "ipv4",
    "alias_maps": "",
    "alias_database": "",
    "relay_recipient_maps": "",
    "unknown_local_recipient_reject_code": "550",
    "smtpd_sasl_auth_enable": "no",
    "notify_classes": "",
    "smtpd_peername_lookup": "yes",
}
_DIALOGS = """
import json, os, signal, socket, sys, time
from concurrent.futures import ThreadPoolExecutor
def reply(file):
    lines = []
    while line := file.readline().decode("utf-8", "replace"):
        lines.append(line.rstrip("\\r\\n"))
        if line[3:4] != "-":
            break
    return lines[-1] if lines else ""
def play(dialog):
    port, client, helo, sender, recipients = dialog
    end = socket.create_connection(("192.0.2.100", port), 60, (client, 0))
    file = end.makefile("rb")
    answers = [reply(file)]
    for line in (f"EHLO {helo}", f"MAIL FROM:<{sender}>", *(f"RCPT TO:<{to}>" for to in recipients), "QUIT"):
        try:
            end.sendall(line.encode() + b"\\r\\n")
            answers.append(reply(file))
        except ConnectionError:  # the server has closed after 421
            answers.append("")
    return answers
def greeting():
    with socket.create_connection(("192.0.2.100", 2500), 60, ("192.0.2.5", 0)) as end:
        return end.makefile().readline()
def reload(text):
    with open("/etc/sendmail-py/main.cf", "w") as file:
        file.write(text)
    before = open("/var/log/mail.log").read().count(": reload -- ")
    os.kill(int(open("/run/sendmail-py/master.pid").read()), signal.SIGHUP)
    while open("/var/log/mail.log").read().count(": reload -- ") == before:
        time.sleep(0.01)
    while text.rpartition("smtpd_banner = ")[2].strip() not in greeting():  # the smtpd of before leaves soon
        time.sleep(0.01)
answers = []
for text, dialogs in json.load(sys.stdin):
    if text:
        reload(text)
    answers.append(list(ThreadPoolExecutor(8).map(play, dialogs)))
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    """A machine with our SMTP server, Postfix's, and a name server for both."""
    needs(MASTER)
    with Machine() as machine:
        machine.install()
        machine.script("useradd --create-home --user-group alice")
        prepare_postfix(machine)
        machine.script(
            "for n in 1 2 3 4 5 100; do ip address add 192.0.2.$n/32 dev lo; done\n"
            "umount /etc/resolv.conf 2>/dev/null || true\n"
            "rm -f /etc/resolv.conf; echo nameserver 127.0.0.1 > /etc/resolv.conf\n"
            "sed -i 's/^hosts:.*/hosts: files dns/' /etc/nsswitch.conf"
        )
        machine.path("/var/lib/zone").write_text(json.dumps(ZONE))
        write_postfix(machine)
        machine.set_up(
            smtpd_port=f"{SERVER}:{OUR_PORT}",
            resolver_nameservers="127.0.0.1",
            smtpd_tls_security_level="none",
            defer_transports="local, smtp",
        )
        words = [machine.venv_python(), f"{HERE}/tests/servers/name_server.py", "--zone", "/var/lib/zone", "--port", 53]
        running = [
            subprocess.Popen(machine.command(command), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
            for command in (words, ["/usr/lib/postfix/sbin/master", "-c", "/etc/postfix", "-d"])
        ]
        machine.start()
        try:
            for port in (OUR_PORT, THEIR_PORT):
                wait_until(
                    lambda port=port: played(machine, [("", [(port, FRIEND, "x.test", "", [])])], check=False),
                    f"{port} answers",
                )
            yield machine
        finally:
            machine.stop()
            for process in running:
                process.terminate()
                process.wait(60)


def write_postfix(machine: Machine) -> None:
    lines = (f"{name} = {value}\n" for name, value in (_POSTFIX | _BOTH).items())
    machine.path("/etc/postfix/main.cf").write_text("".join(lines))
    services = ""
    for number, (_, short, _) in enumerate(CONFIGURATIONS):
        services += f"{SERVER}:{THEIR_PORT + number} inet n - n - - smtpd\n"
        services += "".join(f"  -o {{ {name} = {value} }}\n" for name, value in settings_of(short).items())
    machine.path("/etc/postfix/master.cf").write_text(SERVICES + LOCAL + SENDING + services)


def settings_of(short: dict[str, str]) -> dict[str, str]:
    """Return parameters by their whole names."""
    return {
        _SHORT.get(name, name if name.startswith("smtpd_") else f"smtpd_{name}_restrictions"): value
        for name, value in short.items()
    }


def our_main_cf(machine: Machine, settings: dict[str, str]) -> str:
    kept = machine.path("/etc/sendmail-py/main.cf").read_text()
    return kept + "".join(f"{name} = {value}\n" for name, value in (_BOTH | settings).items())


def played(machine: Machine, batches: list[tuple[str, list[Any]]], check: bool = True) -> list[list[list[str]]]:
    """Play dialogs, each batch with a main.cf of ours; returns the last line of each reply, or nothing."""
    done = machine.run("python3", "-I", "-c", _DIALOGS, input=json.dumps(batches).encode(), check=check)
    return list(json.loads(done.stdout)) if done.returncode == 0 else []


def dialogs(what: str) -> list[tuple[str, str, str, list[str]]]:
    """Return the dialogs that try something in all its forms: c(lients), h(elos), s(enders), r(ecipients)."""
    normal = [RECIPIENTS[0], "x@good.test"]
    found: list[tuple[str, str, str, list[str]]] = []
    found += [(client, HELOS[0], SENDERS[0], normal) for client in CLIENTS if "c" in what]
    found += [(NAMED, helo, SENDERS[0], normal) for helo in HELOS if "h" in what]
    found += [(NAMED, HELOS[0], sender, normal) for sender in SENDERS if "s" in what]
    found += [(client, HELOS[0], SENDERS[0], RECIPIENTS) for client in (NAMED, FRIEND) if "r" in what]
    return found


def test_each_word_comes_to_the_verdict_of_a_real_postfix(machine: Machine) -> None:
    ours: list[tuple[str, list[Any]]] = []
    theirs: list[tuple[str, list[Any]]] = []
    for number, (_, short, what) in enumerate(CONFIGURATIONS):
        settings = settings_of(short) | {"smtpd_banner": f"here.test {number} ESMTP"}
        ours.append((our_main_cf(machine, settings), [(OUR_PORT, *case) for case in dialogs(what)]))
        theirs.append(("", [(THEIR_PORT + number, *case) for case in dialogs(what)]))
    differing: list[str] = []
    answers = zip(CONFIGURATIONS, played(machine, ours), played(machine, theirs), strict=True)
    for (name, _, what), we, it in answers:
        for case, one, other in zip(dialogs(what), we, it, strict=True):
            differing += compared(name, case, one, other)
    unexplained = [case for case in differing if not any(re.search(pattern, case) for pattern in DIFFERENCES)]
    assert not unexplained, "\n".join(unexplained)
    for pattern in DIFFERENCES:
        assert any(re.search(pattern, case) for case in differing), f"{pattern}: there is no difference any more"


def compared(name: str, case: tuple[str, str, str, list[str]], ours: list[str], theirs: list[str]) -> list[str]:
    """Return what differs in the code, or the enhanced code, of any reply."""
    client, helo, sender, recipients = case
    said = [f"MAIL FROM:<{sender}>", *(f"RCPT TO:<{to}>" for to in recipients)]
    return [
        f"{name}: {client} {helo} {sender or '<>'}, {line}\n    we: {one}\n    it: {other}"
        for line, one, other in zip(["connect", f"EHLO {helo}", *said, "QUIT"], ours, theirs, strict=True)
        if verdict(one) != verdict(other)
    ]


def verdict(reply: str) -> str:
    """Return the codes of a reply; the greeting and EHLO have none of the second kind."""
    code, status = [*reply.split(" ", 2), ""][:2]
    return f"{code} {status}" if status[1:2] == "." else code
