"""Where a service listens that main.cf names, and settings of its own: inet:host:port, unix:/path, { ... }.

Policy services and milters are named in this form, which is Postfix's. A setting within the braces
has the type of the parameter that it stands for.
"""

from typing import Any, NamedTuple

from .config import Config, convert, split_in_braces
from .params import BY_NAME


class Endpoint(NamedTuple):
    """A place to connect to: host and port, or a path (then the port is 0)."""

    host: str
    port: int

    @property
    def is_unix(self) -> bool:
        """True for a path."""
        return not self.port

    def __str__(self) -> str:
        return f"unix:{self.host}" if self.is_unix else f"inet:{self.host}:{self.port}"


class Service(NamedTuple):
    """A service: where it listens, and a value for each of its settings."""

    endpoint: Endpoint
    settings: dict[str, Any]


def parse_endpoint(text: str) -> Endpoint:
    """Read inet:host:port or unix:/path (local: is the same); raises ValueError."""
    kind, _, place = text.partition(":")
    if kind in ("unix", "local") and place.startswith("/"):
        return Endpoint(place, 0)
    host, _, port = place.rpartition(":")
    if kind == "inet" and host and port.isascii() and port.isdigit() and 0 < int(port) < 65536:
        return Endpoint(host.strip("[]"), int(port))
    raise ValueError(f"{text}: inet:host:port or unix:/path is expected")


def parse_service(text: str, config: Config, parameters: dict[str, str]) -> Service:
    """Read an endpoint, or { endpoint, name=value, { name = value } ... }.

    parameters gives the parameter that each setting stands for, which is also its default. Raises ValueError.
    """
    words = split_in_braces(text[1:-1]) if text[:1] == "{" and text[-1:] == "}" else [text]
    if not words:
        raise ValueError("an empty pair of braces")
    settings = {name: getattr(config, parameter) for name, parameter in parameters.items()}
    for word in words[1:]:
        inner = word[1:-1] if word[:1] == "{" and word[-1:] == "}" else word
        name, equals, value = (part.strip() for part in inner.partition("="))
        if not equals or name not in parameters:
            raise ValueError(f"{word}: one of {', '.join(f'{known}=' for known in parameters)} is expected")
        settings[name] = convert(BY_NAME[parameters[name]], value, text)
    return Service(parse_endpoint(words[0]), settings)
