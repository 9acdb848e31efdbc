"""What main.cf may say of local delivery: the rest is refused by the parameter's name."""

import pytest

from sendmail_py.core.config import Config, Setting
from sendmail_py.core.errors import ConfigError
from sendmail_py.services.local_checks import check_local


def check(**settings: str) -> None:
    values = {"myhostname": "here", "mail_owner": "daemon", "default_privs": "nobody", **settings}
    check_local(Config({name: Setting(text, f"main.cf: {name}") for name, text in values.items()}))


GOOD = {
    "alias_maps": "hash:/etc/aliases, /a, proxy:regexp:/b, pcre:/c sqlite:/d",
    "alias_database": "lmdb:/etc/aliases",
    "allow_mail_to_commands": "alias forward include",
    "allow_mail_to_files": "",
    "mailbox_transport": "smtp:[127.0.0.1]:24",
    "fallback_transport": "lmtp:unix:/run/dovecot/lmtp",
    "forward_path": "/var/forward/${user}${recipient_delimiter}${extension} $home/.forward",
    "mailbox_command_maps": "hash:/etc/commands, inline:{bob=procmail}",
    "command_execution_directory": "$home/programs",
    "local_command_shell": "/usr/lib/smrsh -c",
    "luser_relay": "$user+$local@other.example, postmaster",
}


@pytest.mark.parametrize("name", GOOD)
def test_what_can_be_used_is_taken(name: str) -> None:
    check(**{name: GOOD[name]})


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("alias_maps", "hash:/a, ldap:/b", "table type ldap"),
        ("alias_maps", "aliases", "absolute path"),
        ("alias_database", "nis:mail.aliases", "table type nis"),
        ("allow_mail_to_commands", "alias everywhere", "everywhere"),
        ("allow_mail_to_files", "yes", "yes"),
        ("mailbox_transport", "lmtp:unix:private/lmtp", "unix:/path is wanted"),
        ("mailbox_transport", f"lmtp:unix:/{'x' * 107}", "107 octets"),
        ("mailbox_transport", "lmtp:", "bad nexthop"),
        ("mailbox_transport", "pipe:x", "no transport pipe"),
        ("mailbox_transport", "smtp", "smtp:nexthop and lmtp:nexthop"),
        ("fallback_transport", "local", "smtp:nexthop"),
        ("luser_relay", "|program", "addresses alone"),
        ("luser_relay", '"unclosed', "not closed"),
        ("mailbox_command_maps", "pcre:/etc/commands", "may stand here"),
        ("command_execution_directory", "programs", "absolute path"),
        ("command_execution_directory", "/x/$extension", "no macro extension"),
        ("local_command_shell", "sh -c", "absolute path"),
        ("forward_path", "$home/.forward, ${home", "not closed"),
        ("forward_path", "$hom/.forward", "no macro hom"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(name: str, value: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=f"main.cf: {name}: {name}: .*{reason}"):
        check(**{name: value})


@pytest.mark.real(root=True)
@pytest.mark.parametrize(
    ("user", "reason"), [("root", "ordinary user"), ("daemon", "ordinary user"), ("nosuch", "no such")]
)
def test_programs_of_aliases_are_not_given_rights_over_the_system_or_the_queue(user: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=f"default_privs: {user}: .*{reason}"):
        check(default_privs=user)
