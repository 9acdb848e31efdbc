"""What recipients come to without an agent, and when a pass is over; the log lines of both.

A message waits for its entries, for expansions, and for its routing; when there is nothing left to wait
for, every recipient has a result, and the pass ends.
"""

from collections.abc import Callable, Iterable

from ..core.result import DeliveryResult, softened
from .agent import result_line
from .child_messages import Expanded, Plan
from .decisions import Decisions
from .messages import Message
from .pool import Pool


class Outcomes:
    """Takes results that needed no agent; over() is told of each message that has nothing left to wait for."""

    decisions: Decisions  # of the configuration in force
    soft_bounce = False

    def __init__(self, pool: Pool, over: Callable[[Message], None]) -> None:
        self._pool = pool
        self._over = over
        self.lines: list[str] = []

    def note(self, line: str) -> None:
        """Take a line for the log."""
        self.lines.append(line)

    def decided(self, message: Message, index: int, result: DeliveryResult) -> None:
        """Take a result that needed no agent, and log it as an agent would."""
        if self.soft_bounce:
            result = softened(result)
        message.results[index] = result
        recipient, e = message.envelope.recipients[index], message.envelope
        since = (e.arrived_at, message.active_at)
        self.lines.append(
            result_line(
                message.queue_id, str(recipient.forward_path), recipient.original, result, since, (0.0, 0.0), e.verify
            )
        )

    def end_all(self, message: Message, indexes: Iterable[int], result: DeliveryResult) -> None:
        """Take one result for some recipients, with which an entry ends."""
        for index in indexes:
            self.decided(message, index, result)
        self.end_entry(message)

    def expand(self, message: Message, indexes: list[int], plan: Plan) -> None:
        """Have recipients expanded in a thread; the message waits for it."""
        message.waiting += 1

        def done(expanded: Expanded) -> None:
            self.lines += expanded.lines
            self.end_all(message, expanded.indexes, expanded.result)

        self._pool.submit(lambda: self.decisions.expander.expand(message, indexes, plan), done)

    def end_entry(self, message: Message) -> None:
        """Note that a message waits for one thing less."""
        message.waiting -= 1
        if not message.waiting:
            self._over(message)
