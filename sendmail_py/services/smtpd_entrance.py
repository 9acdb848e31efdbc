"""An entrance of the SMTP server: what the sessions that come through one kind of listener share.

Each has its own configuration (smtpd_kinds), and so its own rules, TLS and name in the log. Tables, the
queue and the counts are the server's, for all entrances together.
"""

import os
from typing import TYPE_CHECKING

from ..core.config import Config, Setting
from ..protocol.reply import Reply
from ..protocol.smtp_server import extensions
from ..routing.report_rate import ReportRate
from ..routing.resolve import Routing
from ..routing.restriction_scene import Client
from .sasl_settings import wanted
from .smtpd_keywords import Keywords
from .smtpd_kinds import SMTP, SUBMISSIONS, config_of
from .smtpd_milters import Filters
from .smtpd_rules import smtpd_rules
from .smtpd_tls import context_of
from .smtpd_transcript import SessionTranscript, wanted_classes

if TYPE_CHECKING:
    from .smtpd import Server
    from .smtpd_session import Session


class Entrance:
    """One kind of listener. context is None where there is no TLS; starts_with_tls where there is nothing else."""

    def __init__(self, kind: str, server: "Server", config: Config, routing: Routing, chains: list[bytes]) -> None:
        self.kind = kind
        self.config = config = config_of(kind, config)
        self._stressed = Config({**config.settings, "stress": Setting("yes", "overload")}, config.facts)
        self.log = server.log if kind == SMTP else server.log.renamed(config.syslog_name, "smtpd")
        self.rules = smtpd_rules(config, routing)
        self.keywords = Keywords(config, self.log)
        self.filters = Filters(config, self.log)
        self.world = server.world
        self.taker = server.taker
        self.rates = server.rates
        self.context = context_of(config, self.log, chains)
        self.starts_with_tls = kind == SUBMISSIONS
        self.logins = server.backend(config) if config.smtpd_sasl_auth_enable else None
        self.delays = server.delays
        self._told_of = wanted_classes(config)
        self._notices = ReportRate(config.session_notice_rate_limit)
        self.uid = os.getuid()
        self._server = server
        self._timeouts = float(config.smtpd_timeout), float(self._stressed.smtpd_timeout)

    def extensions(self, is_secure: bool) -> dict[str, str]:
        """Return what is offered in answer to EHLO."""
        offered = extensions(self.config.message_size_limit)
        if not is_secure and (self.context or self.config.smtpd_tls_security_level == "encrypt"):
            offered["STARTTLS"] = ""
        if self.logins:
            offered["AUTH"] = " ".join(self.mechanisms(is_secure))
        return offered

    def mechanisms(self, is_secure: bool) -> list[str]:
        """Return how clients may log in now."""
        config = self.config
        if not self.logins or not (is_secure or not config.smtpd_tls_auth_only):
            return []
        options = config.smtpd_sasl_tls_security_options if is_secure else config.smtpd_sasl_security_options
        return wanted(self.logins.mechanisms(options), config.smtpd_sasl_mechanism_filter)

    async def refresh_logins(self) -> None:
        """Find out what logins there are."""
        try:
            if self.logins:
                await self.logins.refresh()
        except OSError as error:
            self.log.warning(f"nobody can log in: {error}")

    def enter(self, session: "Session", client: Client) -> Reply | None:
        """Take note of a connection; returns the answer where it is one too many."""
        return self._server.enter(session, client)

    def left(self, session: "Session", client: Client) -> None:
        """Take note of its end."""
        self._server.left(session, client)

    def transcript(self) -> SessionTranscript | None:
        """Return what keeps the words of a session that begins; None where the postmaster wants to hear of none."""
        return SessionTranscript(self.config, self._told_of, self._notices) if self._told_of else None

    def now(self) -> Config:
        """Return the settings of a session that begins now: under stress $stress has a value."""
        return self._stressed if self.rates.is_stressed() else self.config

    def timeout(self) -> float:
        """Return how long a client may take now."""
        return self._timeouts[self.rates.is_stressed()]
