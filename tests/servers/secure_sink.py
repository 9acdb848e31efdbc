"""The little SMTP server with TLS and AUTH, in the hands of whoever wants to see a client fail.

    with SecureSink(certificate, logins={"user": "secret"}) as sink: ...

tokens(token) says for whom an access token is good.
implicit=True: TLS begins with the first octet. mechanisms: what AUTH offers, in clear too when
clear_auth is set. More keys of `replies`: STARTTLS and AUTH; a text that ends with " PLUS <octets>" is sent
together with these octets, before TLS begins. "MUTE" as the reply to STARTTLS says 220 and then nothing more.
`tls` is the list of versions that were agreed on; `ciphers`, `resumed` and `shown` (clients' certificates) go with it.
`names` is what clients asked for by SNI, `logged_in` the users.
"""

import base64
import hmac
import ssl

from tests.servers.smtp_sink import EHLO, Session, SmtpSink


def server_context(certificate):
    """Return a context for a file that holds a certificate and its key."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


class SecureSession(Session):
    """One connection, in clear or not."""

    secure = False
    user = ""

    def run(self):
        try:
            if self.sink.implicit:
                self.start_tls()
            super().run()
        finally:
            self.end.close()  # the one that TLS has put into the place of the first

    def start_tls(self):
        self.flush()
        self.end.settimeout(60)
        self.sink.ends.discard(self.end)
        self.end = self.sink.context.wrap_socket(self.end, server_side=True)
        self.end.settimeout(None)
        self.sink.ends.add(self.end)
        self.secure = True
        self.sink.tls.append(self.end.version())
        self.sink.ciphers.append(self.end.cipher()[0])
        self.sink.resumed.append(self.end.session_reused)
        self.sink.shown.append(self.end.getpeercert())

    def command(self, verb, argument):
        line = self.sink.commands[-1]
        if verb == "EHLO":
            words = [*self.sink.ehlo]
            if not self.secure and self.sink.starttls:
                words.append("STARTTLS")
            if self.sink.mechanisms and (self.secure or self.sink.clear_auth):
                words.append(f"AUTH {self.sink.mechanisms}")
            said = "\n".join(f"250{' ' if n == len(words) - 1 else '-'}{word}" for n, word in enumerate(words))
            self.say(self.sink.replies.get("EHLO", said))
        elif verb == "STAR":
            self.answer_starttls()
        elif verb == "AUTH":
            self.log_in(line.split())
        elif verb == "MAIL" and self.sink.mechanisms and not self.user:
            self.say("530 5.7.0 Authentication required")
        else:
            self.sink.seen_as.append((verb, self.secure, self.user))
            super().command(verb, argument)

    def answer_starttls(self):
        said = self.sink.reply("STARTTLS")
        said = "220 2.0.0 go ahead" if said.startswith("502") else said
        said, _, more = said.partition(" PLUS ")
        if said == "MUTE":
            self.say("220 2.0.0 go ahead")
            self.flush()
            while True:
                self.fill()
        self.say(said)
        self.out += more.encode().decode("unicode_escape").encode()
        if said.startswith("220"):
            self.start_tls()

    def log_in(self, words):
        said = self.sink.reply("AUTH")
        if not said.startswith("502"):
            self.say(said.replace("%s", words[-1]))
            return
        if words[1] == "PLAIN":
            initial = decoded(words[2]) if len(words) > 2 else self.question("")
            _, user, password = initial.split("\0")
        elif words[1] in ("XOAUTH2", "OAUTHBEARER"):
            self.take_token(words)
            return
        elif words[1] == "CRAM-MD5":
            user, password = self.cram_md5()
        else:
            user, password = self.question("VXNlcm5hbWU6"), self.question("UGFzc3dvcmQ6")
        self.sink.attempts.append((words[1], user, password))
        if self.sink.logins.get(user) == password:
            self.user = user
            self.say("235 2.7.0 welcome")
        else:
            self.say("535 5.7.8 Error: authentication failed")

    def take_token(self, words):
        """Answer a token; one that is not good is answered by a question, and only then by 535 (RFC 7628 3.2.3)."""
        said = decoded(words[2]) if len(words) > 2 else self.question("")
        token = said.partition("auth=Bearer ")[2].partition("\1")[0]
        user = said.partition("user=")[2].partition("\1")[0] or said.partition("a=")[2].partition(",")[0]
        self.sink.attempts.append((words[1], user, token))
        if self.sink.tokens(token) == user:
            self.user = user
            self.say("235 2.7.0 welcome")
            return
        challenge = base64.b64encode(b'{"status":"invalid_token"}').decode()
        right = {"XOAUTH2": "", "OAUTHBEARER": "\1"}[words[1]]
        fits = self.question(challenge) == right
        self.say("535 5.7.8 Error: the token is not good" if fits else "501 5.5.2 that is no answer")

    def cram_md5(self):
        challenge = b"<1.2@sink.test>"
        user, digest = self.question(base64.b64encode(challenge).decode()).rsplit(" ", 1)
        password = self.sink.logins.get(user, "")
        right = hmac.digest(password.encode(), challenge, "md5").hex() == digest
        return user, password if right else "another"

    def question(self, text):
        self.say(f"334 {text}")
        return decoded(self.line().decode())


def decoded(text):
    return base64.b64decode(text).decode()


class SecureSink(SmtpSink):
    """The server; attempts are the logins that were tried, seen_as says of each other command how it came."""

    session = SecureSession

    def __init__(
        self,
        certificate,
        logins=None,
        implicit=False,
        starttls=True,
        mechanisms="PLAIN LOGIN",
        clear_auth=False,
        tokens=None,
        **more,
    ):
        super().__init__(**{"ehlo": list(EHLO), **more})
        self.context = server_context(certificate)
        self.context.sni_callback = lambda end, name, context: self.names.append(name)
        self.logins = logins or {}
        self.implicit = implicit
        self.starttls = starttls and not implicit
        self.tokens = tokens or (lambda token: "")
        self.mechanisms = mechanisms if logins or tokens else ""
        self.clear_auth = clear_auth
        self.tls, self.names, self.attempts, self.seen_as = [], [], [], []
        self.ciphers, self.resumed, self.shown = [], [], []
