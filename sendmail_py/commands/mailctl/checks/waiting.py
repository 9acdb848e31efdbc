"""Mail that waits for a reason of this host: a login that is refused, DNS, TLS, a smarthost that cannot be reached.

What waits for other people's servers is everyday life and no finding. Of a long queue the newest are looked at.
"""

import contextlib
import heapq
import os
from collections import Counter
from collections.abc import Iterator

from ....core.config import Config
from ....core.errors import QueueFileError
from ....formats.advice import OF_THIS_HOST, advice
from ....formats.queue_reader import read_history
from ....spool import message_file
from ....spool.layout import DEFERRED
from ....spool.store import Store
from .finding import Finding, warning

_LOOKED_AT = 100
_OF_A_RELAYHOST = ("4.4", "4.7", "5.7")


def check(config: Config) -> Iterator[Finding]:
    """Yield why mail waits, once for each thing that is to be done."""
    store = Store(config.queue_directory)
    newest = heapq.nlargest(_LOOKED_AT, (queue_id for queue_id, _ in store.entries(DEFERRED)))
    reasons: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for queue_id in newest:
        for text, reason in _causes(store, queue_id, config).items():
            counts[text] += 1
            reasons.setdefault(text, reason)
    for text, number in counts.most_common():
        many = (
            f"{'at least ' if len(newest) == _LOOKED_AT else ''}{number} message{'s wait' if number > 1 else ' waits'}"
        )
        yield warning(f"{many}: {reasons[text]}", text)


def _causes(store: Store, queue_id: str, config: Config) -> dict[str, str]:
    """Return what is to be done about a message, with the reason of its last attempt; it may be leaving just now."""
    with contextlib.suppress(OSError, QueueFileError):
        descriptor = store.open(DEFERRED, queue_id)
        try:
            envelope = message_file.read_head(descriptor)
            history = read_history(message_file.read_history(descriptor, envelope))
        finally:
            os.close(descriptor)
        pending = {recipient.forward_path for recipient in envelope.pending()}
        last = {row[1]: (row[3], row[5]) for row in history if row[1] in pending}
        told = ((advice(*pair), pair) for pair in last.values())
        return {text: pair[1] for text, pair in told if text and _is_ours(text, pair[0], config)}
    return {}


def _is_ours(text: str, status: str, config: Config) -> bool:
    return text in OF_THIS_HOST or (bool(config.relayhost) and status.startswith(_OF_A_RELAYHOST))
