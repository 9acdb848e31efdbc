"""Something blocking, done in a thread beside an event loop that goes on."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

_Result = TypeVar("_Result")


def in_thread(work: Callable[[], _Result]) -> "asyncio.Future[_Result]":
    """Have something done beside the loop; the process may end without waiting for it."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[_Result] = loop.create_future()

    def settle(results: list[_Result], error: Exception | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(results[0])

    def run() -> None:
        results, error = [], None
        try:
            results.append(work())
        except Exception as caught:
            error = caught
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(settle, results, error)

    threading.Thread(target=run, daemon=True).start()
    return future
