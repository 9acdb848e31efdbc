"""The filters of mail from sendmail(1) (non_smtpd_milters): asked as if a client of this host had sent it by SMTP.

In a thread: whoever calls waits as long as the filters take. What they refuse for good bounces, for
its sender has gone; where they say "later", or fail, the message waits and is shown to them again.
"""

import contextlib
from collections.abc import Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any

from ..core.config import Config
from ..host.syslog import Log
from ..protocol.reply import Reply
from .service_settings import NO_MILTERS, milter_services

if TYPE_CHECKING:
    from .intake import Intake, Ready
    from .milter_message import FilteredMessage
    from .milter_session import Verdict
    from .milters import Milters

_NAME, _ADDRESS = "localhost", "127.0.0.1"


class Waits(OSError):
    """A filter wants the message to come again."""


def local_filters(config: Config, log: Log) -> "LocalFilters | None":
    """Return the filters of a configuration, None for none."""
    is_off = NO_MILTERS in config.receive_override_options
    return LocalFilters(config, log) if config.non_smtpd_milters and not is_off else None


class LocalFilters:
    """The filters of one configuration."""

    def __init__(self, config: Config, log: Log) -> None:
        self._services = milter_services(config.non_smtpd_milters, config)
        self._config = config
        self._log = log

    @contextlib.contextmanager
    def looked_at(self, ready: "Ready", intake: "Intake") -> Iterator[None]:
        """Show a message to the filters; within, it is as they want it. Raises OSError."""
        import asyncio  # for those who have filters

        from .milter_message import ContentError, FilteredMessage

        message = FilteredMessage(ready, intake.store.nameless, self._config.message_size_limit)
        try:
            asyncio.run(self._show(message))
            message.finish(intake)
            yield
        except ContentError as error:
            raise error.error from error
        finally:
            message.close()

    async def _show(self, message: "FilteredMessage") -> None:
        from .milters import Milters

        milters = Milters(self._services, self._config, self._log)
        try:
            verdict = await self._verdict_on(milters, message)
        finally:
            milters.abort()
            milters.close()
        self._settle(verdict, milters.held, message.ready)

    async def _verdict_on(self, milters: "Milters", message: "FilteredMessage") -> "Verdict":
        envelope = message.ready.envelope
        milters.values |= {
            "_": f"{_NAME} [{_ADDRESS}]",
            "client_addr": _ADDRESS,
            "client_name": _NAME,
            "client_ptr": _NAME,
            "client_port": "0",
            "i": envelope.queue_id,
            "mail_addr": str(envelope.sender),
        }
        steps: list[Callable[[], Coroutine[Any, Any, Verdict]]] = [
            lambda: milters.connect(_NAME, _ADDRESS, 0),
            lambda: milters.helo(_NAME),
            lambda: milters.mail(f"<{envelope.sender}>"),
        ]
        for step in steps:
            if (verdict := await step()) is not None:
                return verdict
        for recipient in envelope.recipients:
            milters.values["rcpt_addr"] = str(recipient.forward_path)
            if (verdict := await milters.rcpt(f"<{recipient.forward_path}>")) is not None:
                return verdict
        if (verdict := await milters.data()) is not None:
            return verdict
        return await milters.message(message)

    def _settle(self, verdict: "Verdict", held: str, ready: "Ready") -> None:
        envelope = ready.envelope

        def note(word: str, text: str) -> None:
            to = f" to=<{envelope.recipients[0].forward_path}>" if envelope.recipients else ""
            line = f"{envelope.queue_id}: {word}: END-OF-MESSAGE from {_NAME}[{_ADDRESS}]: {text};"
            self._log.info(f"{line} from=<{envelope.sender}>{to}")

        if isinstance(verdict, Reply):
            note("milter-reject", verdict.text)
            if verdict.code < 500 or self._config.soft_bounce:
                raise Waits(f"a filter says: {verdict.text}")
            status, _, text = " ".join(verdict.lines).partition(" ")
            envelope.refused = f"{status} {text}"
        elif verdict is not None:
            note("milter-discard", "milter triggers DISCARD action")
            envelope.refused = "2.0.0 discarded by a filter"
        if held and not ready.checked.held:
            note("milter-hold", held)
            ready.checked.held = True
