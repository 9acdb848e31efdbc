"""lmtp: the agent that hands mail to a mail store (Dovecot, Cyrus) over LMTP (RFC 2033).

The same as smtp, in a process of its own: batches say which of the two protocols they want.
"""

from .service import Service
from .smtp import run as run_agent


def run(service: Service) -> None:
    """Serve until there is no more reason to."""
    run_agent(service)
