"""Lists of networks: what is in them, and that nothing else is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sendmail_py.routing.networks import Networks

LIST = ["!192.0.2.66", "192.0.2.0/24", "10.1.2.3", "[2001:db8::]/32", "::1"]


@pytest.mark.parametrize(
    ("address", "is_in"),
    [
        ("192.0.2.1", True),
        ("192.0.2.66", False),
        ("192.0.3.1", False),
        ("10.1.2.3", True),
        ("10.1.2.4", False),
        ("2001:db8::7", True),
        ("2001:db9::7", False),
        ("::1", True),
        ("::ffff:192.0.2.1", True),
        ("::ffff:192.0.2.66", False),
        ("", False),
        ("unknown", False),
        ("192.0.2.1.evil.test", False),
    ],
)
def test_the_first_pattern_that_matches_decides(address: str, is_in: bool) -> None:
    assert (address in Networks(LIST)) is is_in


@pytest.mark.parametrize("text", ["10.0.0.1/8", "10.0.0.0/33", "localhost", "10.0.0", "[::1", "10.0.0.0-10.0.0.9", "!"])
def test_what_is_no_network_is_an_error_and_not_another_network(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected|bits|permitted|valid|does not appear"):
        Networks([text])


@given(st.ip_addresses(v=4))
def test_loopback_is_loopback_and_nothing_more(address: object) -> None:
    assert (str(address) in Networks(["127.0.0.0/8", "[::1]/128"])) is str(address).startswith("127.")
