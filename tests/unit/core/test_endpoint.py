"""Where a service listens, and settings of its own."""

import pytest

from sendmail_py.core.config import Config, Setting
from sendmail_py.core.endpoint import Endpoint, parse_endpoint, parse_service
from sendmail_py.core.errors import ConfigError

NAMES = {n: f"smtpd_policy_service_{n}" for n in ("timeout", "default_action", "try_limit")}
CONFIG = Config({"smtpd_policy_service_try_limit": Setting("5", "main.cf:1")})


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("inet:127.0.0.1:10023", Endpoint("127.0.0.1", 10023)),
        ("inet:[::1]:25", Endpoint("::1", 25)),
        ("inet:localhost:1", Endpoint("localhost", 1)),
        ("unix:/run/x", Endpoint("/run/x", 0)),
        ("local:/run/x", Endpoint("/run/x", 0)),
    ],
)
def test_an_endpoint_is_a_host_and_port_or_a_path(text: str, endpoint: Endpoint) -> None:
    assert parse_endpoint(text) == endpoint


@pytest.mark.parametrize(
    "text",
    ["", "inet:25", "inet::25", "inet:h:0", "inet:h:65536", "inet:h:x", "unix:", "unix:private/x", "tcp:h:1", "h:1"],
)
def test_anything_else_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="inet:host:port or unix:/path"):
        parse_endpoint(text)


def test_a_service_has_the_values_of_the_parameters() -> None:
    service = parse_service("inet:h:1", CONFIG, NAMES)
    assert service.settings == {
        "timeout": 100,
        "default_action": "451 4.3.5 Server configuration problem",
        "try_limit": 5,
    }


def test_settings_in_braces_count_for_one_service() -> None:
    text = "{ unix:/run/x, timeout=2m { default_action = DEFER_IF_PERMIT later, please } try_limit=1}"
    service = parse_service(text, CONFIG, NAMES)
    assert service.endpoint == Endpoint("/run/x", 0)
    assert service.settings == {"timeout": 120, "default_action": "DEFER_IF_PERMIT later, please", "try_limit": 1}


@pytest.mark.parametrize(
    "text", ["{}", "{ }", "{inet:h:1 timeout}", "{inet:h:1 timeout=soon}", "{inet:h:1 colour=red}", "{inet:h:1"]
)
def test_a_setting_that_is_none_is_an_error(text: str) -> None:
    with pytest.raises((ValueError, ConfigError)):
        parse_service(text, CONFIG, NAMES)
