"""The environment of a program that gets mail, for addresses that a stranger chose."""

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sendmail_py.core.address import Address
from sendmail_py.core.config import Config
from sendmail_py.core.delivery import Delivery
from sendmail_py.core.envelope import Recipient
from sendmail_py.delivery.environment import environment
from sendmail_py.host.users import User

CONFIG = Config({})
BOB = User("bob", 1000, 1000, "/home/bob", "/bin/sh", "", (1000,))


def variables(sender: str, recipient: str, original: str = "", extension: str = "") -> dict[str, str]:
    recipients = [Recipient(Address.parse(recipient), original, extension=extension)]
    return environment(Delivery("Q1", -1, 0, 0, Address.parse(sender), recipients), BOB, "", CONFIG)


@pytest.mark.parametrize(
    "original", ["rfc822;a\rb@x", "rfc822;a\nb@x", "rfc822;a\0b", "rfc822;a+0Ab@x", "rfc822;", ";", "x"]
)
def test_an_orcpt_that_is_no_address_leaves_the_variable_out(original: str) -> None:
    found = variables("alice@example.org", "bob@here", original)
    assert found.get("ORIGINAL_RECIPIENT", "bob@here") == "bob@here"


def test_an_orcpt_is_told_as_it_was_written() -> None:
    assert variables("alice@example.org", "bob@here", "rfc822;sales+2Bnews@x")["ORIGINAL_RECIPIENT"] == "sales+news@x"


@settings(max_examples=200, deadline=None)
@given(*[st.text(max_size=20)] * 4)
def test_no_address_makes_a_value_that_a_shell_or_execve_minds(
    sender: str, recipient: str, original: str, extension: str
) -> None:
    try:
        Address.parse(sender), Address.parse(recipient)
    except ValueError:
        return  # such addresses are refused where mail comes in
    allowed = set(CONFIG.command_expansion_filter)
    for name, value in variables(sender, recipient, "rfc822;" + original, extension).items():
        os.fsencode(value)
        assert name in ("PATH", "TZ", "LANG", "MAIL_CONFIG") or set(value) <= allowed, (name, value)
