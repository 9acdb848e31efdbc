"""Which answers count as errors of a client, beside those whose code says so."""

from typing import Final

from ..core.config import Config
from ..protocol.commands import Verb
from ..protocol.reply import Reply
from ..protocol.server_commands import Command, Refused
from .smtpd_limits import TOO_MANY_RECIPIENTS

_ENDS: Final = frozenset((Verb.DOT, Verb.LAST))
_JUNK: Final = frozenset((Verb.NOOP, Verb.VRFY, Verb.RSET, Verb.HELO, Verb.EHLO, Verb.HELP))


class Errors:
    """The errors of one client."""

    def __init__(self, config: Config) -> None:
        self._junk_limit: int = config.smtpd_junk_command_limit
        self._junk = 0

    def is_error(self, event: Command, answer: Reply, is_within_overshoot: bool) -> bool | None:
        """Say whether an answer counts as an error; None: its code says so.

        is_within_overshoot: recipients beyond the limit are no errors yet.
        """
        if answer is TOO_MANY_RECIPIENTS and is_within_overshoot:
            return False
        verb = None if isinstance(event, Refused) else event.verb
        if verb in _JUNK:
            self._junk += 1
            return True if self._junk > self._junk_limit else None
        if verb in _ENDS and answer.code < 400:
            self._junk = 0
        return None
