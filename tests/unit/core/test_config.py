"""Config: macros, types, origins, and errors that name file and line."""

import pytest

from sendmail_py.core.complaints import complaints, unknown
from sendmail_py.core.config import Config, Setting
from sendmail_py.core.errors import ConfigError


def config(**values: str) -> Config:
    return Config({name: Setting(text, f"main.cf:{i}") for i, (name, text) in enumerate(values.items(), 1)})


@pytest.mark.parametrize("macro", ["$mydomain", "${mydomain}", "$(mydomain)"])
def test_a_macro_is_replaced_in_each_of_its_spellings(macro: str) -> None:
    assert config(mydomain="example.org", myorigin=f"a.{macro}.b").myorigin == "a.example.org.b"


def test_macros_are_replaced_within_macros() -> None:
    assert config(myhostname="mx.$mydomain", mydomain="example.org").smtp_helo_name == "mx.example.org"


def test_a_name_of_the_administrators_own_can_be_a_macro() -> None:
    assert config(site="example.org", myorigin="$site").myorigin == "example.org"


def test_two_dollar_signs_stand_for_one() -> None:
    assert config(relayhost="a$$b").relayhost == "a$b"


def test_a_conditional_gives_its_text_when_the_name_is_set() -> None:
    assert config(mydomain="x", relayhost="${mydomain?[gate.$mydomain]}").relayhost == "[gate.x]"
    assert config(mydomain="", relayhost="${mydomain?[gate]}").relayhost == ""


def test_a_conditional_gives_its_text_when_the_name_is_not_set() -> None:
    assert config(mydomain="", relayhost="${mydomain:{none}}").relayhost == "none"
    assert config(mydomain="x", relayhost="${mydomain:{none}}").relayhost == ""


@pytest.mark.parametrize(
    "text", ["${stress?{10}:{300}}s", "${stress ? {10} : {300}}s", "${stress:{300}}${stress?{10}}s"]
)
def test_a_condition_may_have_two_branches(text: str) -> None:
    assert config(stress="", smtpd_timeout=text).smtpd_timeout == 300
    assert config(stress="yes", smtpd_timeout=text).smtpd_timeout == 10


@pytest.mark.parametrize(
    ("name", "text", "seconds"),
    [
        ("maximal_queue_lifetime", "5", 5 * 86400),
        ("bounce_queue_lifetime", "2", 2 * 86400),
        ("delay_warning_time", "4", 4 * 3600),
        ("minimal_backoff_time", "300", 300),
        ("smtpd_timeout", "10", 10),
        ("smtp_destination_rate_delay", "2", 2),
        ("maximal_queue_lifetime", "90m", 5400),
    ],
)
def test_a_time_without_a_unit_has_that_of_the_default_as_in_postfix(name: str, text: str, seconds: int) -> None:
    assert getattr(config(**{name: text}), name) == seconds


def test_under_stress_the_defaults_are_those_of_postfix() -> None:
    calm, stressed = config(), config(stress="yes")
    names = ("smtpd_timeout", "smtpd_hard_error_limit", "smtpd_junk_command_limit", "smtpd_starttls_timeout")
    assert [getattr(calm, name) for name in names] == [300, 20, 100, 300]
    assert [getattr(stressed, name) for name in names] == [10, 1, 1, 10]


def test_macros_in_a_circle_are_an_error_and_not_an_endless_loop() -> None:
    with pytest.raises(ConfigError, match="circle"):
        _ = config(mydomain="$myorigin", myorigin="$mydomain").mydomain


@pytest.mark.parametrize("text", ["${mydomain", "$", "a$ b"])
def test_a_malformed_macro_is_an_error_that_names_the_line(text: str) -> None:
    with pytest.raises(ConfigError, match=r"main\.cf:1: relayhost"):
        _ = config(relayhost=text).relayhost


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("message_size_limit", "-1"),
        ("message_size_limit", "10k"),
        ("message_size_limit", ""),
        ("message_size_limit", "\u0661"),
        ("queue_run_delay", "5 m"),
        ("queue_run_delay", "m"),
        ("smtp_permit_loopback_mx", "maybe"),
        ("smtp_address_preference", "ipv5"),
    ],
)
def test_a_value_of_the_wrong_type_is_an_error_that_names_the_line(name: str, text: str) -> None:
    with pytest.raises(ConfigError, match=rf"main\.cf:1: {name}"):
        getattr(config(**{name: text}), name)


def test_a_bad_value_stops_only_who_asks_for_it() -> None:
    broken = config(message_size_limit="many", relayhost="mx")
    assert broken.relayhost == "mx"
    with pytest.raises(ConfigError):
        broken.validate()


def test_the_configuration_cannot_be_changed() -> None:
    with pytest.raises(AttributeError, match="frozen"):
        config().relayhost = "mx"


def test_a_name_that_is_no_parameter_is_no_attribute() -> None:
    with pytest.raises(AttributeError):
        _ = config().relay_host


def test_facts_of_the_machine_are_defaults_that_main_cf_overrides() -> None:
    facts = {"myhostname": lambda: "node"}
    assert Config({}, facts).myhostname == "node"
    assert Config({"myhostname": Setting("mx", "main.cf:1")}, facts).myhostname == "mx"
    assert Config({"myhostname": Setting("mx", "main.cf:1")}, facts).default("myhostname") == "node"


def test_a_postfix_parameter_that_has_no_effect_is_named() -> None:
    assert complaints({"smtpd_proxy_filter": Setting("x", "main.cf:12")}) == [
        "main.cf:12: warning: smtpd_proxy_filter is a Postfix parameter that sendmail-py does not have; it is ignored"
    ]


def test_a_slip_of_the_pen_is_answered_with_the_nearest_name() -> None:
    assert complaints({"relay_host": Setting("x", "main.cf:1")}) == [
        "main.cf:1: warning: unknown parameter relay_host (did you mean relayhost?)"
    ]


@pytest.mark.parametrize("use", ["$site", "${site}", "$(site)", "${site?{x}}", "a.$site"])
def test_a_name_that_another_value_uses_is_no_reason_to_complain(use: str) -> None:
    assert complaints({"site": Setting("x", "main.cf:1"), "myorigin": Setting(use, "main.cf:2")}) == []


def test_a_name_that_only_itself_uses_is_complained_of() -> None:
    assert len(complaints({"site": Setting("$site", "main.cf:1")})) == 1


def test_per_transport_parameters_of_postfix_are_known_for_any_transport() -> None:
    assert "is a Postfix parameter" in unknown("mytransport_destination_rate_delay")
    assert unknown("zzzz") == "unknown parameter zzzz"


def test_a_raw_value_keeps_its_macros_for_whoever_uses_it() -> None:
    settings = {"mailbox_command": Setting('/bin/x -a "$EXTENSION" "$@"', "main.cf:1")}
    assert Config(settings).mailbox_command == '/bin/x -a "$EXTENSION" "$@"'


def test_blanks_in_the_configuration_directory_part_no_list() -> None:
    text = {"config_directory": "/tmp/a b,c", "alias_maps": "hash:$config_directory/x, hash:${config_directory}/y"}
    config = Config({name: Setting(value, "test") for name, value in text.items()})
    assert config.alias_maps == ["hash:/tmp/a b,c/x", "hash:/tmp/a b,c/y"] == config.alias_database
