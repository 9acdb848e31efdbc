"""How many descriptors a process may have open."""

import resource

_MOST = 16384


def allow_descriptors(wanted: int = _MOST) -> int:
    """Raise the soft limit of descriptors to what is wanted, as far as the hard one allows; returns what there is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return most
