"""The filters of one client of the SMTP server: told what it says, and their verdicts as replies and log lines."""

from collections.abc import Callable

from ..core.config import Config, split_in_braces
from ..host.syslog import Log
from ..host.tables import Tables
from ..protocol.reply import Reply, softened
from ..protocol.server_commands import Mail, Rcpt
from ..routing.restriction_scene import Subject
from .milter_message import FilteredMessage
from .milter_session import Discard, Verdict
from .milters import Milters
from .service_settings import NO_MILTERS, milter_services
from .smtpd_log import event_line

NONE = "DISABLE"


class Filters:
    """Which filters there are, for everybody or by the client's address."""

    def __init__(self, config: Config, log: Log) -> None:
        self._config = config
        is_off = NO_MILTERS in config.receive_override_options
        self._always = [] if is_off else milter_services(config.smtpd_milters, config)
        self.maps = Tables([] if is_off else config.smtpd_milter_maps, log.warning)

    def __bool__(self) -> bool:
        return bool(self._always or self.maps)

    def session(self, found: str | None, subject: Subject, log: Log) -> "SessionFilters | None":
        """Return the filters of a client, None for none; found is what the maps say of it. Raises ValueError."""
        services = self._always
        if found is not None:
            texts = split_in_braces(found)
            services = [] if texts == [NONE] else milter_services(texts, self._config)
        return SessionFilters(Milters(services, self._config, log), subject, self._config, log) if services else None


class SessionFilters:
    """The filters of one client; what they want of the message goes into the subject's wishes."""

    def __init__(self, milters: Milters, subject: Subject, config: Config, log: Log) -> None:
        self._milters = milters
        self._subject = subject
        self._config = config
        self._log = log
        self.abort, self.close = milters.abort, milters.close
        self.reserve, self.release = milters.reserve, milters.release
        self.refusal: Reply | None = None  # of the last message

    # --- what happens -------------------------------------------------------------------------

    async def connect(self) -> Reply | None:
        """Say who is there."""
        client, facts = self._subject.client, self._subject.facts
        forged = "" if client.name == facts.reverse_name else " (may be forged)"
        self._milters.values |= {
            "_": f"{facts.reverse_name} [{client.address}]{forged}",
            "client_addr": f"IPv6:{client.address}" if ":" in client.address else client.address,
            "client_name": client.name,
            "client_port": facts.client_port or "0",
            "client_ptr": facts.reverse_name,
            "client_resolve": "OK" if client.name != "unknown" else "FAIL",
            "daemon_addr": facts.server_address,
            "daemon_port": facts.server_port,
        }
        port = int(facts.client_port or "0")
        return self._reply(await self._milters.connect(client.name, client.address, port), "CONNECT")

    async def helo(self) -> Reply | None:
        """Say HELO."""
        version, cipher, bits = self._subject.facts.tls
        if version:
            self._milters.values |= {"tls_version": version, "cipher": cipher, "cipher_bits": str(bits)}
        return self._reply(await self._milters.helo(self._subject.helo), "HELO")

    async def mail(self, event: Mail) -> Reply | None:
        """Say MAIL."""
        facts = self._subject.facts
        self._milters.values |= {"mail_addr": str(event.sender), "i": "", "rcpt_addr": ""}
        self._milters.values |= {"auth_type": facts.sasl_method, "auth_authen": facts.sasl_username}
        parameters = {"SIZE": event.size, "BODY": event.body, "RET": event.ret, "ENVID": event.envid}
        words = [f"{name}={value}" for name, value in parameters.items() if value]
        words += ["SMTPUTF8"] if event.smtputf8 else []
        return self._reply(await self._milters.mail(f"<{event.sender}>", *words), "MAIL")

    async def rcpt(self, event: Rcpt) -> Reply | None:
        """Say RCPT."""
        self._milters.values["rcpt_addr"] = str(event.address)
        parameters = {"NOTIFY": ",".join(event.notify), "ORCPT": event.original}
        words = [f"{name}={value}" for name, value in parameters.items() if value]
        return self._reply(await self._milters.rcpt(f"<{event.address}>", *words), "RCPT")

    async def data(self) -> Reply | None:
        """Say that the content comes."""
        return self._reply(await self._milters.data(), "DATA")

    async def message(self, message: FilteredMessage) -> Reply | None:
        """Show the message."""
        envelope, checked = message.ready.envelope, message.ready.checked
        self._milters.values["i"] = envelope.queue_id
        note = self._noter("END-OF-MESSAGE", envelope.queue_id)
        verdict = await self._milters.message(message)
        if isinstance(verdict, Reply):
            self.refusal = softened(verdict) if self._config.soft_bounce else verdict
            note("milter-reject", verdict.text)
            return self.refusal
        if isinstance(verdict, Discard):
            note("milter-discard", "milter triggers DISCARD action")
            envelope.refused = "2.0.0 discarded by a filter"
        if self._milters.held and not checked.held:
            note("milter-hold", self._milters.held)
            checked.held = True
        return None

    # --- what comes of it ---------------------------------------------------------------------

    def _reply(self, verdict: Verdict, verb: str) -> Reply | None:
        note = self._noter(verb, "NOQUEUE")
        if isinstance(verdict, Discard) and not self._subject.wishes.discarded:
            self._subject.wishes.discarded = "discarded by a filter"
            note("milter-discard", "milter triggers DISCARD action")
        if not isinstance(verdict, Reply):
            return None
        verdict = softened(verdict) if self._config.soft_bounce else verdict
        note("milter-reject", verdict.text)
        return verdict

    def _noter(self, verb: str, queue_id: str) -> Callable[[str, str], None]:
        def note(word: str, text: str) -> None:
            line = event_line(word, verb, self._subject, self._subject.facts.protocol, text)
            self._log.info(line.replace("NOQUEUE", queue_id, 1))

        return note
