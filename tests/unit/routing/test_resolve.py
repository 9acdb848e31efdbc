"""Where an address goes."""

import pytest

from sendmail_py.core.address import Address
from sendmail_py.core.config import Config, Setting
from sendmail_py.core.route import ERROR, LOCAL, SMTP, Route
from sendmail_py.routing.resolve import Routing


def routing(**values: str) -> Routing:
    values = {"myhostname": "mx.example.org", "mydomain": "example.org", **values}
    return Routing(Config({name: Setting(text, "test") for name, text in values.items()}))


def routed(text: str, **values: str) -> tuple[str, str]:
    return routing(**values).route(Address.parse(text)).destination()[:2]


@pytest.mark.parametrize(
    "text",
    ["bob", "bob@mx.example.org", "bob@MX.Example.ORG", "bob@localhost", "bob@localhost.", "bob@[127.0.0.1]",
     "bob@[IPv6:::1]"],
)  # fmt: skip
def test_mail_for_a_domain_of_ours_is_local(text: str) -> None:
    assert routed(text) == (LOCAL, "bob")


def test_a_local_name_ignores_case_and_the_address_keeps_it() -> None:
    assert routing().route(Address("Bob", "localhost")) == Route(LOCAL, "bob", Address("Bob", "localhost"))


@pytest.mark.parametrize("text", ["bob@example.org", "bob@sub.mx.example.org", "bob@localhost.example.net"])
def test_mail_for_any_other_domain_goes_out_by_smtp_to_it(text: str) -> None:
    assert routed(text) == (SMTP, text.partition("@")[2])


def test_one_domain_in_any_spelling_is_one_destination() -> None:
    assert routed("a@Example.NET.") == routed("b@example.net") == (SMTP, "example.net")


def test_another_host_by_its_address_is_another_host() -> None:
    assert routed("bob@[192.0.2.1]") == (SMTP, "[192.0.2.1]")


def test_with_a_relayhost_all_mail_that_is_not_local_goes_there() -> None:
    assert routed("bob@example.net", relayhost="[gate]:587") == (SMTP, "[gate]:587")
    assert routed("bob@localhost", relayhost="[gate]:587") == (LOCAL, "bob")


def test_mydestination_decides_and_may_be_empty() -> None:
    assert routed("bob@example.net", mydestination="Example.NET") == (LOCAL, "bob")
    assert routed("bob@localhost", mydestination="") == (SMTP, "localhost")
    assert routed("bob", mydestination="") == (LOCAL, "bob")


def test_the_dot_of_an_absolute_name_makes_no_other_host() -> None:
    dotted = {"myhostname": "mx.example.org.", "myorigin": "$myhostname", "mydestination": "$myhostname, example.com."}
    assert routed("bob", **dotted) == routed("bob@mx.example.org", **dotted) == (LOCAL, "bob")
    assert routed("bob@example.com", **dotted) == (LOCAL, "bob")
    assert str(routing(**dotted).qualified(Address("bob"))) == "bob@mx.example.org"


@pytest.mark.parametrize("text", ['""@example.net', '""@localhost', ""])
def test_an_empty_local_part_is_an_error(text: str) -> None:
    transport, nexthop = routed(text)
    assert transport == ERROR and nexthop.startswith("5.1.3 ")


def test_a_domain_that_is_only_a_dot_is_an_error_and_no_destination_without_a_name() -> None:
    transport, nexthop = routed("bob@.")
    assert transport == ERROR and nexthop.startswith("5.1.2 ")
