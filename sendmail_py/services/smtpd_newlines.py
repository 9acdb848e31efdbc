"""smtpd_forbid_bare_newline: what is said of lines that end in LF alone, to one client."""

from ..protocol import server_replies as replies
from ..protocol.reply import Reply
from .smtpd_log import Tally

_NOTE = "bare_lf"


class BareNewlines:
    """The policy for a client: "no" where it is none of our business."""

    def __init__(self, policy: str, tally: Tally, code: int) -> None:
        self._policy = policy
        self._tally = tally
        self._code = code

    def seen(self) -> Reply | None:
        """Deal with a bare newline in a command or in content; returns the answer where that is refused."""
        if self._policy == "reject":
            return replies.reply(self._code, "5.5.2", "Error: bare <LF> received")
        if self._policy == "note" and _NOTE not in self._tally.notes:
            self._tally.notes.append(_NOTE)
        return None
