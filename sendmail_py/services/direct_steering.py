"""The verbs of steering.py while no qmgr runs, for who has its role lock: nothing is under delivery then."""

import contextlib
import os
import time

from ..core.config import Config
from ..core.envelope import Mark
from ..core.errors import QueueFileError
from ..core.result import Outcome
from ..routing.schedule import Schedule
from ..spool import wishes
from ..spool.layout import ACTIVE, DEFERRED, HOLD, INCOMING, MAILDROP
from ..spool.message_file import read_head
from ..spool.recovery import recover_children
from ..spool.store import Store
from .finishing import Finisher
from .messages import Message
from .requeuing import Requeuer
from .steering import DELETE, HOLD_VERB, MAILDROP_VERBS, RELEASE, REQUEUE, Steering, is_held, together


class DirectSteering:
    """The verbs, done at once."""

    def __init__(self, config: Config, store: Store) -> None:
        self._config = config
        self._store = store
        self._steering = Steering(store)
        self._requeuer: Requeuer | None = None

    def recover(self) -> None:
        """Settle what a queue manager that was killed has left, so that every message is in a state of rest."""
        for _ in recover_children(self._store):
            pass
        for queue_id, _ in list(self._store.entries(ACTIVE)):
            self._store.moved(queue_id, ACTIVE, INCOMING)

    def steer(self, verb: str, ids: list[str]) -> dict[str, list[str]]:
        """Do what a verb says to some messages; the answer is that of qmgr."""
        done: list[str] = []
        others: list[str] = []
        errors: list[str] = []
        for queue_id in ids:
            try:
                found = self._requeue(queue_id) if verb == REQUEUE else bool(self._steering.apply(verb, queue_id))
                (done if found else others).append(queue_id)
            except OSError as error:
                errors.append(f"{queue_id}: {error}")
        if verb == HOLD_VERB and done and (fault := self._steering.keep_held(self._steering.fresh())):
            errors.append(f"{HOLD}/: {fault}")
        if others:
            self._steer_originals(verb, others, done, errors)
        return {"ids": done, "errors": errors}

    def _steer_originals(self, verb: str, ids: list[str], done: list[str], errors: list[str]) -> None:
        """Remove what is still in maildrop/; all else is done when a queue manager runs and pickup brings it."""
        paths = dict(self._store.originals.paths())
        found = [queue_id for queue_id in ids if queue_id in paths] if verb in MAILDROP_VERBS else []
        try:
            if verb == RELEASE:
                found = [queue_id for queue_id in found if self._is_to_be_held(queue_id)]
            for queue_id in found if verb == DELETE else ():
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(paths[queue_id])
                    self._steering.delete(queue_id)  # pickup may have taken it just now, or have it open yet
            if found:
                wishes.add(self._store.top, dict.fromkeys(found, verb))
            done += found
        except OSError as error:
            errors.append(f"{MAILDROP}/: {error}")

    def _is_to_be_held(self, queue_id: str) -> bool:
        wish = ""
        for name, verb in wishes.read(self._store.top):
            wish = together(wish, verb) if name == queue_id else wish
        return is_held(wish)

    def _requeue(self, queue_id: str) -> bool:
        state = self._steering.bring_in(queue_id)
        if not state:
            return False
        self._store.move(queue_id, DEFERRED if state == DEFERRED else INCOMING, ACTIVE)
        try:
            message = self._message(queue_id)
            if self._requeuer is None:
                self._requeuer = Requeuer(self._config, self._store)
            result = self._requeuer.requeue(message)
            if result.outcome is not Outcome.DELIVERED:
                raise OSError(result.reason)
            message.results = {i: result for i, r in enumerate(message.envelope.recipients) if r.mark == Mark.PENDING}
            (ended,) = Finisher(self._config, self._store, Schedule.of(self._config)).end_passes([message])
            if ended.error is not None:
                raise ended.error
        except (OSError, QueueFileError) as error:
            self._store.moved(queue_id, ACTIVE, INCOMING)
            raise OSError(str(error)) from error
        return True

    def _message(self, queue_id: str) -> Message:
        descriptor = self._store.open(ACTIVE, queue_id)
        try:
            envelope = read_head(descriptor)
        finally:
            os.close(descriptor)
        return Message(queue_id, envelope, -1, time.time_ns() // 1000)
