"""The lock of a service of which a queue has one: waited for while another holds it, and with an ear for master.

The other may be one that is ending, or another instance's on the same queue; either may take its time.
"""

import os
import select
from itertools import count

from ..spool.lock import take_role
from .service import Service

_PAUSE = 0.5
_WARNED_EVERY = 120  # pauses


def wait_for_role(service: Service, warning: str = "", is_reloaded: bool = False) -> bool:
    """Wait until the role is this service's; False when it is to leave before.

    is_reloaded: it takes a new configuration itself; for others master starts another one then.
    """
    waits = count()
    while not take_role(service.config.queue_directory, service.name):
        if warning and next(waits) % _WARNED_EVERY == 0:
            service.log.warning(warning)
        if not select.select([service.lifeline], [], [], _PAUSE)[0]:
            continue
        record, descriptors = service.told()
        if record["do"] == "reload" and is_reloaded:
            service.reconfigure(record, descriptors)
            continue
        for descriptor in descriptors:
            os.close(descriptor)
        if record["do"] in ("reload", "stop"):
            return False
    return True
