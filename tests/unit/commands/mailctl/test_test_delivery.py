"""mailctl test-delivery: the ways of a recipient, said in order, with nothing delivered."""

import os
import pwd
from pathlib import Path

import pytest

from sendmail_py.commands.mailctl.test_delivery import Explainer
from sendmail_py.core.address import Address
from sendmail_py.core.config import Config, Setting
from sendmail_py.core.exitcodes import EX_OK, EX_TEMPFAIL, EX_UNAVAILABLE
from sendmail_py.host import privileges

ME = pwd.getpwuid(os.getuid())
HERE = "host.example.org"


@pytest.fixture(autouse=True)
def of_one_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """The instance of whoever runs the tests."""
    monkeypatch.setattr(privileges, "_one_user", True)


def explain(
    tmp_path: Path, recipient: str, header: bytes = b"", aliases: str = "", **more: str
) -> tuple[list[str], int]:
    (tmp_path / "aliases").write_text(aliases)
    values = {
        "myhostname": HERE,
        "myorigin": HERE,
        "mydestination": HERE,
        "mail_owner": ME.pw_name,
        "mail_spool_directory": "/mail",
        "alias_maps": f"hash:{tmp_path}/aliases",
        "forward_path": f"{tmp_path}/.forward",
    } | more
    lines: list[str] = []
    explainer = Explainer(Config({name: Setting(text, "test") for name, text in values.items()}), header, lines.append)
    explainer.address(Address.parse(recipient))
    return lines, explainer.exit_code()


def me() -> str:
    return f"{ME.pw_name} (uid {ME.pw_uid})"


def test_a_user_has_a_mailbox(tmp_path: Path) -> None:
    lines, code = explain(tmp_path, ME.pw_name)
    assert lines == [f"<{ME.pw_name}@{HERE}>: local", f"  mailbox /mail/{ME.pw_name} as {me()}"]
    assert code == EX_OK


def test_an_unknown_user_fails(tmp_path: Path) -> None:
    lines, code = explain(tmp_path, "no-such-user-xyzzy")
    assert lines[-1] == '  bounced: 5.1.1 unknown user: "no-such-user-xyzzy"'
    assert code == EX_UNAVAILABLE


def test_the_path_through_aliases_is_shown(tmp_path: Path) -> None:
    aliases = f"friends: {ME.pw_name}, list\nlist: carol@far.example\nowner-list: {ME.pw_name}\n"
    lines, code = explain(tmp_path, "friends", aliases=aliases)
    assert lines == [
        f"<friends@{HERE}>: local",
        f'  alias "friends": {ME.pw_name}, list',
        '  alias "list": carol@far.example',
        f"  mailbox /mail/{ME.pw_name} as {me()}",
        f"  bounces go to <owner-list@{HERE}>",
        "  <carol@far.example>: smtp to far.example",
    ]
    assert code == EX_OK


def test_a_faulty_alias_waits(tmp_path: Path) -> None:
    lines, code = explain(tmp_path, "list", aliases="list: :include:/no/such/file\n")
    assert lines[-1].startswith("  deferred: 4.3.0 cannot read include file /no/such/file")
    assert code == EX_TEMPFAIL


def test_a_forward_is_followed(tmp_path: Path) -> None:
    (tmp_path / ".forward").write_text(f"\\{ME.pw_name}, carol@far.example\n")
    (tmp_path / ".forward").chmod(0o600)
    lines, _ = explain(tmp_path, ME.pw_name)
    assert lines[1:] == [
        f"  {tmp_path}/.forward as {me()}: \\{ME.pw_name}, carol@far.example",
        f"    mailbox /mail/{ME.pw_name} as {me()}",
        "    <carol@far.example>: smtp to far.example",
    ]


def test_an_unsafe_forward_is_named_and_the_mailbox_has_the_mail(tmp_path: Path) -> None:
    (tmp_path / ".forward").write_text("carol@far.example\n")
    (tmp_path / ".forward").chmod(0o666)
    lines, _ = explain(tmp_path, ME.pw_name)
    assert lines[1].startswith(f"  {tmp_path}/.forward of user {ME.pw_name} is ignored: ")
    assert lines[2] == f"  mailbox /mail/{ME.pw_name} as {me()}"


def test_a_message_that_went_round_already_is_a_loop(tmp_path: Path) -> None:
    lines, code = explain(tmp_path, ME.pw_name, header=f"Delivered-To: {ME.pw_name}@{HERE}".encode())
    assert lines[-1] == f"  bounced: 5.4.6 mail forwarding loop for {ME.pw_name}@{HERE}"
    assert code == EX_UNAVAILABLE


def test_who_takes_the_place_of_the_mailbox_is_named(tmp_path: Path) -> None:
    lines, _ = explain(tmp_path, ME.pw_name, mailbox_transport="smtp:[192.0.2.1]")
    assert lines[-1] == "  smtp to [192.0.2.1] (mailbox_transport)"
    lines, _ = explain(tmp_path, "no-such-user-xyzzy", luser_relay="carol@far.example")
    assert lines[-1] == "  no user no-such-user-xyzzy: carol@far.example (luser_relay)"


def test_an_address_elsewhere_is_not_local(tmp_path: Path) -> None:
    assert explain(tmp_path, "x@far.example")[0] == ["<x@far.example>: smtp to far.example"]
    assert explain(tmp_path, "x@far.example", relayhost="[mx.example]")[0] == ["<x@far.example>: smtp to [mx.example]"]


def test_virtual_aliases_and_mailboxes_are_named(tmp_path: Path) -> None:
    lines, code = explain(
        tmp_path,
        "info@boxes.example",
        virtual_alias_maps=f"inline:{{{{info@boxes.example = sales@boxes.example, {ME.pw_name}}}}}",
        virtual_mailbox_domains="boxes.example",
        virtual_mailbox_maps="inline:{sales@boxes.example=sales/}",
        virtual_mailbox_base="/var/vmail",
        virtual_uid_maps="static:5000",
        virtual_gid_maps="static:5001",
    )
    assert lines == [
        f"virtual alias <info@boxes.example>: sales@boxes.example, {ME.pw_name}",
        "  <sales@boxes.example>: mailbox /var/vmail/sales/ as uid 5000, gid 5001",
        f"  mailbox /mail/{ME.pw_name} as {me()}",
    ]
    assert code == EX_OK
    lines, code = explain(tmp_path, "no@boxes.example", virtual_alias_domains="boxes.example")
    assert lines == ["bounced: 5.1.1 User unknown in virtual alias table"] and code == EX_UNAVAILABLE
