"""What the answer to a command can be: a reply, a coroutine that finds it, or one that somebody will give.

A Pending answer needs neither a task nor a future: who finds it calls give(), in the loop's thread.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from ..protocol.reply import Reply


class Pending:
    """An answer that is given later, once; or that has been given already."""

    __slots__ = ("_say", "answer")

    def __init__(self) -> None:
        self.answer: Reply | None = None
        self._say: Callable[[Reply], None] | None = None

    def give(self, answer: Reply) -> None:
        """Take the answer."""
        self.answer = answer
        if self._say:
            self._say(answer)

    def then(self, say: Callable[[Reply], None]) -> None:
        """Have say() called with an answer that has not been given yet."""
        self._say = say


Answer = Reply | Coroutine[Any, Any, Reply] | Pending


async def found(answer: Answer) -> Reply:
    """Return the answer when it is there."""
    if isinstance(answer, Pending):
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        answer.then(lambda reply: None if future.done() else future.set_result(reply))
        return await future
    return answer if isinstance(answer, Reply) else await answer
