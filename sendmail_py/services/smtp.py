"""smtp: the agent that relays mail to other hosts.

Batches come from qmgr as descriptors of queue files; results go back within milliseconds.
Leaves when idle, when master or qmgr is gone, and when told to. Nothing is lost by leaving:
results are flushed first, the channel is closed for new batches before it is emptied, and a
recipient that was not attempted is simply tried again by qmgr.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from ..core.result import DeliveryResult
from ..formats.batch import Batch, encode_hosts
from ..host.loop import loop_factory
from ..host.sockets import send_record
from ..host.syslog import Log
from ..protocol.transcript import Notice
from .agent import FLUSH_SECONDS, AgentChannel
from .service import Service
from .smtp_batch import BatchRun
from .smtp_connector import Connector
from .smtp_hosts import HostFinder
from .smtp_pool import SessionPool
from .smtp_security import ClientSecurity
from .tls_files import client_chains

if TYPE_CHECKING:
    from .smtp_dkim import DkimSigner
    from .smtp_generic import GenericMaps


def run(service: Service) -> None:
    """Serve until there is no more reason to."""
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(Agent(service).serve())


def _generic_maps(service: Service) -> "GenericMaps | None":
    """Return the rewriting for other hosts, None without any: tables and intake cost memory in each agent."""
    if not service.config.smtp_generic_maps:
        return None
    from .smtp_generic import GenericMaps

    return GenericMaps(service.config, service.log)


def _signer(service: Service) -> "DkimSigner | None":
    """Return what signs, None where nothing is to be signed."""
    if not service.config.dkim_domains:
        return None
    from .smtp_dkim import DkimSigner

    return DkimSigner(service.config, service.log)


class PromptChannel(AgentChannel):
    """The channel to qmgr, flushed at latest FLUSH_SECONDS after the first unflushed result.

    A send that cannot be made within the socket's time-out, or to a qmgr that is gone, calls
    broken() once; results after that are only logged.
    """

    def __init__(self, end: socket.socket, log: Log, broken: Callable[[], None], soft_bounce: bool = False) -> None:
        super().__init__(end, log, soft_bounce)
        self._broken = broken
        self._timer: asyncio.TimerHandle | None = None

    def report(
        self, batch: Batch, delivery: int, recipient: int, times: tuple[float, float] = (0.0, 0.0), tls: str = ""
    ) -> None:
        """Queue a result and see to its flush."""
        super().report(batch, delivery, recipient, times, tls)
        self._flush_soon()

    def end_batch(self, batch: Batch) -> None:
        """Queue the end of a batch and see to its flush."""
        super().end_batch(batch)
        self._flush_soon()

    def answer_hosts(self, batch: Batch, names: Iterable[str]) -> None:
        """Answer a batch that asks for mail hosts."""
        try:
            send_record(self.end, encode_hosts(batch.number, names))
        except OSError as error:
            self.log.warning(f"mail hosts could not be told to qmgr: {error}")
            self._broken()

    def tell_postmaster(self, notice: Notice) -> None:
        """Have qmgr tell the postmaster of a session, as far as it can still be asked."""
        try:
            send_record(self.end, {"notice": notice.record()})
        except OSError as error:
            self.log.warning(f"the postmaster is not told: {notice.subject}: {error}")

    def flush(self) -> None:
        """Send what is queued."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        try:
            super().flush()
        except OSError as error:
            self.log.warning(f"results could not be sent to qmgr: {error}")
            self._broken()

    def _flush_soon(self) -> None:
        if self._timer is None and self.waiting:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self.flush)


class Agent:
    """The life of the process: batches as tasks, and the reasons to end."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._config = service.config
        self._log = service.log
        end = service.socket("agent")
        end.settimeout(service.config.stop_timeout)  # it is read only when readable; this bounds a send
        self._channel = PromptChannel(end, service.log, self._qmgr_is_gone, service.config.soft_bounce)
        self._finder = HostFinder(service.config, service.log)
        self._connector = Connector(service.config, service.log, self._channel.tell_postmaster)
        self._pool = SessionPool(service.config, service.log)
        chains = client_chains(service.config, service.log, service.descriptors)
        self._security = ClientSecurity(service.config, service.log, chains, self._finder.resolver)
        self._generic = _generic_maps(service)
        self._signer = _signer(service)
        self._runs: set[asyncio.Task[None]] = set()
        self._leave = asyncio.Event()
        self._stopping = False
        self._idle_since = 0.0

    async def serve(self) -> None:
        """Work until told to leave; then finish what is begun."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._log_unexpected)
        loop.add_reader(self._channel.end, self._batch_comes)
        loop.add_reader(self._service.lifeline, self._master_speaks)
        self._idle_since = loop.time()
        self._watch_idleness()
        self._service.ready()
        await self._leave.wait()
        loop.remove_reader(self._channel.end)
        self._empty_channel()
        await self._finish_runs()
        self._channel.flush()
        await self._pool.close()

    def _log_unexpected(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self._log.error(f"{context.get('message')}: {context.get('exception')!r}")

    def _begin(self, batch: Batch) -> None:
        task = asyncio.get_running_loop().create_task(self._run(batch) if batch.deliveries else self._hosts(batch))
        self._runs.add(task)
        task.add_done_callback(self._ended)

    async def _run(self, batch: Batch) -> None:
        run = BatchRun(
            batch,
            self._config,
            self._finder,
            self._connector,
            self._pool,
            self._security,
            self._generic,
            self._signer,
            self._channel,
            lambda: self._stopping,
        )
        await run.run()

    async def _hosts(self, batch: Batch) -> None:
        """Say which mail hosts a destination has; none where it cannot be told, which a delivery will find too."""
        found = await self._finder.find(batch.nexthop)
        names = [] if isinstance(found, DeliveryResult) else [target.host for target in found]
        self._channel.answer_hosts(batch, dict.fromkeys(names))

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._runs.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self._log.error(f"a batch ended by {type(error).__name__}: {error}")
        if not self._runs:
            self._idle_since = asyncio.get_running_loop().time()
            self._channel.flush()

    def _batch_comes(self) -> None:
        try:
            batch = self._channel.receive()
        except ValueError as error:
            self._log.error(f"a batch that cannot be read: {error}")
            self._qmgr_is_gone()
        except OSError:
            self._qmgr_is_gone()
        else:
            if batch is None:
                self._qmgr_is_gone()
            else:
                self._begin(batch)

    def _master_speaks(self) -> None:
        what = self._service.order()
        if what == "stop":
            self._stopping = True
            asyncio.get_running_loop().remove_reader(self._service.lifeline)
        if what in ("stop", "reload"):
            self._leave.set()

    def _qmgr_is_gone(self) -> None:
        """No result can be told any more: make an end of what is on its way, begin nothing."""
        asyncio.get_running_loop().remove_reader(self._channel.end)
        self._stopping = True
        self._leave.set()

    def _watch_idleness(self) -> None:
        loop = asyncio.get_running_loop()
        due = self._idle_since + self._config.max_idle
        if not self._runs and loop.time() >= due:
            self._leave.set()
        else:
            pause = self._config.max_idle if self._runs else due - loop.time()
            loop.call_later(max(pause, 0.1), self._watch_idleness)

    def _empty_channel(self) -> None:
        """Refuse further batches, and begin (or, when stopping, drop) those that had come already."""
        with contextlib.suppress(OSError, ValueError):
            self._channel.end.shutdown(socket.SHUT_RD)
            while batch := self._channel.receive():
                if not self._stopping:
                    self._begin(batch)

    async def _finish_runs(self) -> None:
        """Wait for the batches in progress; a stop has its time-out, also when it comes meanwhile."""
        loop = asyncio.get_running_loop()
        deadline = None
        while self._runs:
            if self._stopping and deadline is None:
                deadline = loop.time() + self._config.stop_timeout
            if deadline is not None and loop.time() >= deadline:
                for task in self._runs:
                    task.cancel()
            await asyncio.wait(self._runs, timeout=0.5, return_when=asyncio.FIRST_COMPLETED)
