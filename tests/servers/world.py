"""The hosts that the documents speak of, in little: a name server, a smarthost with TLS and login, a mail exchanger.

    python tests/servers/world.py DIRECTORY

On the addresses below, which whoever starts it has given to this network. The authority of the certificates is
DIRECTORY/authority.pem; what the hosts take is in DIRECTORY/smarthost and the like, a file for each message. Two stand
in the place of Microsoft's: where one logs in, with everybody's consent at once, and a smarthost that takes the tokens.
TXT records that are to be published are put into DIRECTORY/published, as JSON.
"""

import contextlib
import json
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.servers.certificates import Authority
from tests.servers.name_server import NameServer
from tests.servers.oauth_server import CLIENT, OAuthServer
from tests.servers.secure_sink import SecureSink
from tests.servers.smtp_sink import SmtpSink

THIS_HOST, NAMES, SMARTHOST, EXCHANGER = "192.0.2.10", "192.0.2.1", "192.0.2.2", "192.0.2.3"
LOGINS, OFFICE = "192.0.2.4", "192.0.2.5"
ADDRESSES = (NAMES, SMARTHOST, EXCHANGER, LOGINS, OFFICE)
USER = "you@example.org"
PASSWORDS = {USER: "the password"}
ZONE = {
    "example.org": {"MX": ["10 host.example.org."], "TXT": ['"v=spf1 mx ~all"']},
    "host.example.org": {"A": [THIS_HOST], "TXT": ['"v=spf1 a ~all"'], "MX": ["10 host.example.org."]},
    "_dmarc.example.org": {"TXT": ['"v=DMARC1; p=none"']},
    "_dmarc.host.example.org": {"TXT": ['"v=DMARC1; p=none"']},
    "10.2.0.192.in-addr.arpa": {"PTR": ["host.example.org."]},
    "smtp.example.net": {"A": [SMARTHOST]},
    "smtp.example.org": {"A": [SMARTHOST]},
    "example.com": {"MX": ["10 mx.example.com."]},
    "mx.example.com": {"A": [EXCHANGER]},
    "login.microsoftonline.com": {"A": [LOGINS]},
    "login.example.org": {"A": [LOGINS]},
    "smtp.office365.com": {"A": [OFFICE]},
}


class Logins(OAuthServer):
    """Takes every application and every tenant, and whoever logs in has consented before he is asked."""

    def answer(self, path, form):
        page = {"token": "/token", "devicecode": "/device", "device": "/device"}.get(path.rpartition("/")[2], path)
        self.approve()
        return super().answer(page, form | {"client_id": CLIENT})

    def _tokens(self, user, refresh):
        return super()._tokens(USER, refresh)


class Names(NameServer):
    """Knows what has been published since."""

    published = Path()

    def _answer(self, wire, how):
        with contextlib.suppress(FileNotFoundError):
            self.zone |= json.loads(self.published.read_text())
        return super()._answer(wire, how)


def keeper(directory):
    """Return what writes each message of a server into a directory."""
    directory.mkdir(mode=0o755, exist_ok=True)

    def keep(number, message):
        (directory / f"{number}.eml").write_bytes(message.content.replace(b"\r\n", b"\n"))

    return keep


def main():
    top = Path(sys.argv[1])
    top.mkdir(mode=0o755, exist_ok=True)
    authority = Authority(top)
    Names.published = top / "published"
    smarthost = authority.certificate("smtp.example.net", "smtp.example.org")
    login = authority.certificate("login.microsoftonline.com", "login.example.org")
    office = authority.certificate("smtp.office365.com")
    for name, expired in (("host", False), ("expired", True)):
        pem = Path(authority.certificate("host.example.org", expired=expired, days=90)).read_bytes()
        (top / f"{name}.pem").write_bytes(pem)
    (top / "authority.pem").write_bytes(Path(authority.file).read_bytes())
    with contextlib.ExitStack() as running:
        logins = running.enter_context(Logins(login, 443, host=LOGINS))
        tokens = {"tokens": lambda token: logins.access.get(token, ("",))[0], "mechanisms": "XOAUTH2"}
        for server in (
            Names(ZONE, 53, NAMES),
            SecureSink(smarthost, PASSWORDS, host=SMARTHOST, port=587, message=keeper(top / "smarthost")),
            SecureSink(office, host=OFFICE, port=587, message=keeper(top / "office"), **tokens),
            SmtpSink(host=EXCHANGER, port=25, message=keeper(top / "exchanger")),
        ):
            running.enter_context(server)
        print("ready", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
