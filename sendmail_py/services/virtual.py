"""virtual: the agent that delivers to the mailboxes of virtual domains.

The same as local, in a process of its own: a slow disk under the one holds up no mail of the other.
"""

from .local import run as run_agent
from .service import Service


def run(service: Service) -> None:
    """Serve until there is no more reason to."""
    run_agent(service)
