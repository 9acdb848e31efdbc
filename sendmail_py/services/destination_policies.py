"""The limits of destinations, as main.cf says them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..core.config import Config
from ..core.errors import ConfigError
from ..core.route import LMTP, SMTP
from ..routing.concurrency import Feedback, Policy
from ..routing.destination_limits import Limit, parse

_DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Policies:
    """The limits of all destinations; pause_of_dead is how long one that is dead is left alone."""

    default: Policy = field(default_factory=Policy)
    of: Mapping[str, Policy] = field(default_factory=dict)
    limits: Sequence[Limit] = ()
    pause_of_dead: float = 300.0

    def of_transport(self, transport: str) -> Policy:
        """Return the limits of one transport."""
        return self.of.get(transport, self.default)


def policies_of(config: Config) -> Policies:
    """Return the limits of a configuration; raises ConfigError."""
    return Policies(
        _policy(config, _DEFAULT),
        {transport: _policy(config, transport) for transport in (SMTP, LMTP)},
        _checked(config, "destination_limits", parse),
        config.minimal_backoff_time,
    )


def _policy(config: Config, transport: str) -> Policy:
    def value(name: str) -> Any:
        return getattr(config, f"{transport}_{name}")

    initial = "initial_destination_concurrency"
    return Policy(
        value("destination_concurrency_limit"),
        value("destination_recipient_limit"),
        getattr(config, initial) if transport == _DEFAULT else value(initial),
        value("destination_rate_delay"),
        _checked(config, f"{transport}_destination_concurrency_positive_feedback", Feedback.parse),
        _checked(config, f"{transport}_destination_concurrency_negative_feedback", Feedback.parse),
        value("destination_concurrency_failed_cohort_limit"),
    )


def _checked(config: Config, name: str, read: Any) -> Any:
    try:
        return read(getattr(config, name))
    except ValueError as error:
        raise ConfigError(f"{config.origin(name)}: {name}: {error}") from error
