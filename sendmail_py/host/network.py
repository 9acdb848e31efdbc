"""Which addresses are this host's own."""

import errno
import socket


def is_own_address(address: str) -> bool:
    """Say whether an IP address belongs to this host: only then can a socket be bound to it.

    Every answer but a clear "not available" counts as own: a loop is worse than a wait.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError as error:
        return error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EINVAL)
    return True
