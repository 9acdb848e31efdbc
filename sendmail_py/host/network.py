"""Which addresses are this host's own."""

import socket

_NOBODYS = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}  # for documentation, RFC 5737 and 3849


def is_own_address(address: str) -> bool:
    """Say whether an IP address belongs to this host: then, and only then, can a socket be bound to it.

    Where anything can be bound (net.ipv4.ip_nonlocal_bind) nothing counts as own: mail in a loop
    ends by hopcount_limit, but mail for others must not be taken for a loop.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return _can_bind(family, address) and not _can_bind(family, _NOBODYS[family])


def _can_bind(family: socket.AddressFamily, address: str) -> bool:
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True
