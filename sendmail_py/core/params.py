"""THE table of parameters: each name once, with type, default and documentation.

From it come Config, `mailctl config`, validation and main.cf(5). Names are Postfix's where the
meaning is the same. The files of parameters/ hold them by what they are for.
"""

from .parameters import filters, instance, local, log, queue, relay, smtp_server, submission
from .parameters.param import Param

__all__ = ["BY_NAME", "PARAMS", "Param"]

PARAMS = (
    *instance.PARAMS,
    *submission.PARAMS,
    *queue.PARAMS,
    *local.PARAMS,
    *relay.PARAMS,
    *smtp_server.PARAMS,
    *filters.PARAMS,
    *log.PARAMS,
)

BY_NAME = {param.name: param for param in PARAMS}
