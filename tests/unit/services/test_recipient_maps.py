"""local_recipient_maps: who is known on this host, and when that cannot be told."""

import os
import pwd
from collections.abc import Callable
from pathlib import Path

import pytest

from sendmail_py.core.address import Address
from sendmail_py.core.config import Config, Setting
from sendmail_py.routing.local_recipients import UNKNOWN, LocalRecipients
from sendmail_py.routing.resolve import Routing
from sendmail_py.services.recipient_maps import local_recipients

ME = pwd.getpwuid(os.getuid()).pw_name
Make = Callable[..., LocalRecipients]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Return a function that gives the answers of a configuration with an alias file."""
    (tmp_path / "aliases").write_text('list: x@far.example\nbob+news: x@far.example\nbad: "unclosed\n')
    (tmp_path / "patterns").write_text("/^team-[0-9]+$/ x@far.example\n")

    def recipients(**settings: str) -> LocalRecipients:
        values = {
            "myhostname": "here",
            "mydestination": "here, localhost",
            "recipient_delimiter": "+",
            "alias_maps": f"hash:{tmp_path}/aliases, regexp:{tmp_path}/patterns",
            **settings,
        }
        config = Config({name: Setting(text, "test") for name, text in values.items()})
        return local_recipients(config, Routing(config))

    return recipients


def is_known(recipients: LocalRecipients, address: str) -> bool:
    why = recipients.why_unknown(Address.parse(address))
    assert why in ("", UNKNOWN)
    return not why


@pytest.mark.parametrize(
    ("address", "known"),
    [
        (f"{ME}@here", True),
        (f"{ME.upper()}@LOCALHOST.", True),
        (f"{ME}+any@here", True),
        ("list@here", True),
        ("LIST+x@here", True),
        ("team-12@here", True),
        ("bob+news@here", True),
        ("bob@here", False),
        ("nobody-at-all@here", False),
        ("bad@here", True),
        ("postmaster@here", True),
        ("Mailer-Daemon+x@here", True),
        ("../etc@here", False),
        ("nobody-at-all@far.example", True),
        ("nobody-at-all", False),
    ],
)
def test_users_and_aliases_are_known_with_and_without_an_extension(make: Make, address: str, known: bool) -> None:
    assert is_known(make(), address) == known


def test_without_a_map_or_with_a_place_for_unknown_users_everybody_is_known(make: Make) -> None:
    for settings in ({"local_recipient_maps": ""}, {"luser_relay": "x@y.example"}, {"fallback_transport": "smtp:[x]"}):
        assert is_known(make(**settings), "nobody-at-all@here")


def test_a_list_holds_names_addresses_or_whole_domains_and_is_read_again(make: Make, tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_text("# people\nAlice OK\ncarol@here\n@localhost  whatever\n")
    recipients = make(local_recipient_maps=f"hash:{path}")
    found = [
        is_known(recipients, a) for a in ("alice+x@here", "carol@here", "carol+y@here", "dan@here", "dan@localhost")
    ]
    assert found == [True, True, True, False, True]
    path.write_text("dan\n")
    assert is_known(recipients, "dan@here") and not is_known(recipients, "alice@here")


def test_a_map_that_cannot_be_read_is_no_answer(make: Make, tmp_path: Path) -> None:
    with pytest.raises(OSError):
        is_known(make(local_recipient_maps=f"hash:{tmp_path}/missing"), "alice@here")
    os.rename(tmp_path / "aliases", tmp_path / "gone")
    os.mkdir(tmp_path / "aliases")
    with pytest.raises(OSError):
        is_known(make(), "nobody-at-all@here")
    assert is_known(make(), "postmaster@here")


@pytest.mark.parametrize("source", ["ldap:/x", "hash:relative", "unix:group.byname", "/etc/aliases"])
def test_a_map_that_is_not_known_here_is_refused(make: Make, source: str) -> None:
    with pytest.raises(ValueError, match=source):
        make(local_recipient_maps=source)
