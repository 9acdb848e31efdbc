"""Restrictions and filters applied to what one client says, and the log lines of what they refuse.

Guarantees: each refusal that is a decision has its line in the log, in the words of Postfix.
"""

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from ..protocol.reply import Reply, softened
from ..routing.restriction_scene import Subject
from ..routing.restrictions import Check, Checks
from .smtpd_answers import Answer
from .smtpd_keywords import LOCAL_ERROR
from .smtpd_log import event_line, reject_line
from .smtpd_milters import SessionFilters

if TYPE_CHECKING:
    from .smtpd_entrance import Entrance

Outcome = Reply | None
Tell = Callable[[SessionFilters], Coroutine[Any, Any, Outcome]]


class Judge:
    """What is against one client and its transactions. checks are its restrictions, filters None where it has none."""

    def __init__(self, server: "Entrance", subject: Subject) -> None:
        self._server = server
        self._softens = server.config.soft_bounce
        self._subject = subject
        self.checks = Checks(server.rules.restrictions)
        self.filters: SessionFilters | None = None

    def connect(self) -> Outcome | Coroutine[Any, Any, Outcome]:
        """Judge the client itself, whose name is known now; a coroutine where that takes time."""
        outcome = self.run(self.checks.connect(self._subject), "CONNECT")
        if self._server.filters or isinstance(outcome, Coroutine):
            return self._connect_later(outcome)
        return self.verdict(outcome, "CONNECT")

    async def _connect_later(self, outcome: Outcome | Coroutine[Any, Any, Outcome]) -> Outcome:
        refusal = self.verdict(await outcome if isinstance(outcome, Coroutine) else outcome, "CONNECT")
        return refusal or (await self._meet_filters() if self._server.filters else None)

    async def _meet_filters(self) -> Outcome:
        filters, address = self._server.filters, self._subject.client.address
        try:
            found = await self._server.world.table_value(filters.maps, address) if filters.maps else None
            self.filters = filters.session(found, self._subject, self._server.log)
        except (OSError, ValueError) as error:
            self._server.log.warning(f"the filters of {self._subject.client} cannot be told: {error}")
            return LOCAL_ERROR
        refusal = await self.filters.connect() if self.filters else None
        return Reply(421, refusal.lines) if refusal and refusal.code < 500 else refusal

    def judged(self, check: Check | None, verb: str, then: Callable[[], Reply], tell: Tell, is_begun: bool) -> Answer:
        """Apply restrictions, and tell filters; then() is the answer where they have nothing against it."""
        outcome = self.run(check, verb)
        if outcome is not None and not isinstance(outcome, Reply):
            return self._after(outcome, verb, then, tell, is_begun)
        refusal = self.verdict(outcome, verb) if outcome else None
        if self.filters and not refusal:
            return self._told(self.filters, then, tell, is_begun)
        return refusal or then()

    async def _after(
        self, outcome: Coroutine[Any, Any, Outcome], verb: str, then: Callable[[], Reply], tell: Tell, is_begun: bool
    ) -> Reply:
        refusal = self.verdict(await outcome, verb)
        if self.filters and not refusal:
            return await self._told(self.filters, then, tell, is_begun)
        return refusal or then()

    async def _told(self, filters: SessionFilters, then: Callable[[], Reply], tell: Tell, is_begun: bool) -> Reply:
        refusal = await tell(filters)
        if refusal and not is_begun:
            filters.abort()  # MAIL was refused: there is no message
        return refusal or then()

    def run(self, check: Check | None, verb: str) -> Outcome | Coroutine[Any, Any, Outcome]:
        """Apply restrictions: returns what they come to, or a coroutine where that takes time."""
        self._subject.facts.state = verb
        return None if check is None else self._server.world.run(check, self._warn, self._note)

    async def outcome(self, check: Check | None, verb: str) -> Outcome:
        """Apply restrictions, however long it takes."""
        outcome = self.run(check, verb)
        return self.verdict(await outcome if isinstance(outcome, Coroutine) else outcome, verb)

    def verdict(self, refusal: Outcome, verb: str) -> Outcome:
        """Return a refusal as the client is to see it, with its line in the log."""
        if refusal:
            refusal = softened(refusal) if self._softens else refusal
            self._log_refusal("reject", verb, refusal)
        return refusal

    def _log_refusal(self, what: str, verb: str, refusal: Reply) -> None:
        self._server.log.info(reject_line(what, verb, self._subject, self._subject.facts.protocol, refusal))

    def _warn(self, refusal: Reply) -> None:
        self._log_refusal("reject_warning", self._subject.facts.state, refusal)

    def _note(self, word: str, text: str) -> None:
        facts = self._subject.facts
        self._server.log.info(event_line(word, facts.state, self._subject, facts.protocol, text))
