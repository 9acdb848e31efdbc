"""Whose address is it."""

import pytest

from sendmail_py.host.network import is_own_address


def test_the_loopback_address_is_ours():
    assert is_own_address("127.0.0.1")


@pytest.mark.parametrize("address", ["192.0.2.77", "198.51.100.1", "2001:db8::77", "255.255.255.255.1"])
def test_an_address_of_others_is_not(address):
    assert not is_own_address(address)
