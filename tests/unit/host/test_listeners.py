"""Where main.cf says to listen, and binding there."""

import socket

import pytest

from sendmail_py.host.listeners import Place, families_of, listen_at, places, port_number
from tests.servers.ports import free_port


def names(interfaces: list[str], protocols: str = "all", ports: tuple[str, ...] = ("2525",)) -> list[str]:
    return [str(place) for place in places(interfaces, protocols, ports)[0]]


def test_loopback_alone_is_listened_at_unless_more_is_said() -> None:
    assert names(["loopback-only"]) == ["127.0.0.1:2525", "[::1]:2525"]
    assert names(["all"]) == ["0.0.0.0:2525", "[::]:2525"]


def test_inet_protocols_leaves_a_family_out() -> None:
    assert names(["loopback-only"], "ipv4") == ["127.0.0.1:2525"]
    assert names(["loopback-only"], "ipv6") == ["[::1]:2525"]
    assert len(families_of("ipv4, ipv6")) == 2


def test_each_place_stands_once_and_ports_may_be_several() -> None:
    assert names(["127.0.0.1", "127.0.0.1"], ports=("25", "smtp", "2525")) == ["127.0.0.1:25", "127.0.0.1:2525"]
    assert names(["[::1]"]) == ["[::1]:2525"]


def test_no_port_is_no_place() -> None:
    assert names(["all"], ports=()) == []


def test_a_name_that_nobody_knows_is_a_complaint() -> None:
    found, complaints = places(["nobody.invalid"], "all", ["25"])
    assert found == []
    assert complaints[0].startswith("inet_interfaces: nobody.invalid: ")


@pytest.mark.parametrize(
    "word", ["mail..example.org", "a" * 64 + ".test", "192.0.2.300", "mail example", "[", "eth0/24"]
)
def test_what_can_be_no_host_is_a_complaint_too(word: str) -> None:
    found, complaints = places([word], "all", ["25"])
    assert found == []
    assert complaints == [f"inet_interfaces: {word}: an address or the name of a host expected"]


@pytest.mark.parametrize("text", ["0", "65536", "x25", "-1", "\u0662\u0665", "25 "])
def test_what_is_no_port_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="a port between 1 and 65535 expected"):
        port_number(text)


def test_a_taken_port_is_an_error_and_a_free_one_is_bound() -> None:
    with socket.socket() as other:
        taken = free_port()
        other.bind(("127.0.0.1", taken))
        other.listen()
        with pytest.raises(OSError, match="in use"):
            listen_at(Place("127.0.0.1", taken))
    end = listen_at(Place("127.0.0.1", taken))
    assert end is not None
    with end, socket.create_connection(("127.0.0.1", taken), timeout=60):
        assert end.getsockname() == ("127.0.0.1", taken)


def test_an_address_of_another_host_is_left_out_only_by_default() -> None:
    assert listen_at(Place("192.0.2.1", 2525, by_default=True)) is None
    with pytest.raises(OSError, match="assign"):
        listen_at(Place("192.0.2.1", 2525))


def test_an_ipv6_socket_takes_no_ipv4_client() -> None:
    end = listen_at(Place("::", 0, by_default=True))
    if end is None:
        pytest.skip("no IPv6 here")
    with end, socket.socket() as client:
        assert client.connect_ex(("127.0.0.1", end.getsockname()[1])) != 0


def test_a_port_may_name_its_own_interface() -> None:
    assert names(["loopback-only"], "ipv4", ("25", "all:587", "[::1]:465", "192.0.2.1:submissions")) == [
        "127.0.0.1:25",
        "0.0.0.0:587",
        "192.0.2.1:465",
    ]
    with pytest.raises(ValueError, match="host:port expected"):
        names(["all"], ports=(":587",))
