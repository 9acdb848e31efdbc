"""The programs of the local agent: some run, the others wait for their turn, none runs too long.

A result is known when the process that was started has ended. What it left behind and what still
holds its output open is watched until the time limit, and then killed with a line in the log; a
user who leaves ever more behind loses the oldest, so that descriptors are left for others.
"""

import selectors
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from ..core.delivery import Delivery
from ..core.result import Settled, deferred
from ..delivery.copy import copy_of
from ..delivery.pipe import Program
from ..host.programs import Command
from ..host.syslog import Log

AT_ONCE = 20
AT_ONCE_OF_A_USER = 2
LEFT_BEHIND = 200
LEFT_BEHIND_OF_A_USER = 10
_MEMORY = 64 << 20  # octets of messages that programs read now
_MOST_MEMORY = 256 << 20
_SMALL = 1 << 20
_STOPPING = deferred("4.3.2", "the delivery agent is stopping")


@dataclass(slots=True, eq=False)
class Job:
    """A message for a program; ended() is called when its recipients have a result."""

    delivery: Delivery
    command: Command
    ended: Callable[[], None]
    program: Program | None = field(default=None)

    def key(self) -> tuple[int, str]:
        """Return what has its share of the programs that run at once."""
        return (self.command.user.uid if self.command.user else -1), self.command.share


class Programs:
    """The jobs that run and those that wait."""

    def __init__(self, selector: selectors.BaseSelector, log: Log) -> None:
        self._selector = selector
        self._log = log
        self._waiting: deque[Job] = deque()
        self._running: list[Job] = []
        self._left_behind: dict[Program, tuple[int, str]] = {}  # the oldest first
        self._of: Counter[tuple[int, str]] = Counter()
        self._memory = 0
        self._is_news = False

    def add(self, job: Job) -> None:
        """Take a job; it begins at the next turn()."""
        self._waiting.append(job)
        self._is_news = True

    def is_busy(self) -> bool:
        """Say whether any job has no result yet."""
        return bool(self._running or self._waiting)

    def pause(self) -> float | None:
        """Return the seconds until something has to be ended; None when nothing runs."""
        programs = [*self._left_behind] + [job.program for job in self._running if job.program]
        if not programs:
            return None
        return max(0.0, min(program.deadline for program in programs) - time.monotonic())

    def turn(self, time_limit: float) -> None:
        """End what has taken too long, and start what may run."""
        self._end_overdue(time.monotonic())
        if not self._is_news:
            return
        self._is_news = False
        passed: list[Job] = []
        while self._waiting and len(self._running) < AT_ONCE:
            job = self._waiting.popleft()
            if self._of[job.key()] < AT_ONCE_OF_A_USER and self._has_memory(job):
                self._start(job, time_limit)
            else:
                passed.append(job)
        self._waiting.extendleft(reversed(passed))

    def _end_overdue(self, now: float) -> None:
        for job in self._running:
            if job.program and job.program.deadline <= now:
                job.program.kill()
                job.program.deadline = now + 1  # it has to die, but a process in a system call may take its time
        for program in [program for program in self._left_behind if program.deadline <= now]:
            self._end_left_behind(program, "still run after its time limit")

    def _has_memory(self, job: Job) -> bool:
        """Say whether its message may be held, too: a small one always, and more for a user who has none yet."""
        size = job.delivery.size
        room = _MEMORY if self._of[job.key()] else _MOST_MEMORY
        return size <= _SMALL or not self._running or self._memory + size <= room

    def _start(self, job: Job, time_limit: float) -> None:
        try:
            copy = copy_of(job.delivery)
            program = Program(copy, job.command, time_limit) if copy is not None else None
        except Settled as settled:
            program = None
            job.delivery.end_all(settled.result)
        job.program = program
        if program is None:
            job.ended()
        else:
            self._watch(job, program)

    def _watch(self, job: Job, program: Program) -> None:
        self._of[job.key()] += 1
        self._memory += job.delivery.size
        self._running.append(job)
        self._selector.register(program.pidfd, selectors.EVENT_READ, lambda: self._ended(job, program))
        self._selector.register(program.output, selectors.EVENT_READ, lambda: self._hear(program))

    def _hear(self, program: Program) -> None:
        output = program.output
        if output >= 0 and not program.hear():
            self._selector.unregister(output)
            if program in self._left_behind:
                self._let_go(program)

    def _ended(self, job: Job, program: Program) -> None:
        """Take the result of a process that has ended, and watch on what still holds its output."""
        self._is_news = True
        self._hear(program)
        self._selector.unregister(program.pidfd)
        job.delivery.end_all(program.result())
        self._running.remove(job)
        self._memory -= job.delivery.size
        self._of[job.key()] -= 1
        if not self._of[job.key()]:
            del self._of[job.key()]
        if program.output >= 0:
            self._leave_behind(program, job.key())
        else:
            program.end()
        job.ended()

    def _leave_behind(self, program: Program, key: tuple[int, str]) -> None:
        self._left_behind[program] = key
        of_user = [other for other, whose in self._left_behind.items() if whose == key]
        if len(of_user) > LEFT_BEHIND_OF_A_USER:
            self._end_left_behind(of_user[0], "are too many of one user")
        elif len(self._left_behind) > LEFT_BEHIND:
            self._end_left_behind(next(iter(self._left_behind)), "are too many")

    def _end_left_behind(self, program: Program, why: str) -> None:
        self._log.warning(f'"{program.line}" left processes behind that {why}')
        program.kill()
        self._let_go(program)

    def _let_go(self, program: Program) -> None:
        del self._left_behind[program]
        if program.output >= 0:
            self._selector.unregister(program.output)
        program.end()

    def drop_waiting(self) -> None:
        """For a stop: defer what has not begun."""
        waiting, self._waiting = self._waiting, deque()
        for job in waiting:
            job.delivery.end_all(_STOPPING)
            job.ended()

    def end_running(self) -> None:
        """For a stop that takes too long, or when qmgr is gone: ask what runs to end; nobody waits for it."""
        for job in self._running:
            if job.program:
                job.program.stop()
        for job in list(self._running):
            job.delivery.end_all(_STOPPING)
            job.ended()
        self._running = []
