"""A few threads for what may wait for the disk, so that qmgr's loop never does.

A job runs in a thread; what it returns is handed to its `done` in the loop's own thread, by
collect(), when the descriptor `wake` is readable.
"""

import os
import queue
import threading
from collections.abc import Callable
from typing import Any

Job = Callable[[], Any]
Done = Callable[[Any], None]


class Pool:
    """Threads that run jobs; jobs handle their own errors. What one raises all the same, collect() raises."""

    def __init__(self, threads: int = 8) -> None:
        self.wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.running = 0
        self._is_woken = False  # the loop has yet to look at the results
        self._jobs: queue.SimpleQueue[tuple[Job, Done]] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[tuple[Done, Any]] = queue.SimpleQueue()
        for _ in range(threads):
            threading.Thread(target=self._work, daemon=True).start()

    def submit(self, job: Job, done: Done) -> None:
        """Run job in a thread, later done(its result) in the loop."""
        self.running += 1
        self._jobs.put((job, done))

    def collect(self) -> None:
        """Call `done` for every job that has ended."""
        try:
            os.eventfd_read(self.wake)
        except BlockingIOError:
            return
        self._is_woken = False  # before the results are looked at: who adds one from now on wakes the loop again
        while not self._results.empty():
            done, result = self._results.get()
            self.running -= 1
            if isinstance(result, Exception):
                raise result
            done(result)

    def _work(self) -> None:
        while True:
            job, done = self._jobs.get()
            try:
                result = job()
            except Exception as error:  # a defect: it ends the service, which starts afresh from the disk
                result = error
            self._results.put((done, result))
            if not self._is_woken:
                self._is_woken = True
                os.eventfd_write(self.wake, 1)
