"""Where main.cf is read from, and what stands where it says nothing."""

import os
import posix
from collections.abc import Callable
from pathlib import Path

import pytest

from sendmail_py.core.errors import ConfigError
from sendmail_py.core.essentials import CONFIG_DIRECTORY, DEFAULTS
from sendmail_py.host import configuration, configuration_file
from sendmail_py.host.configuration import load
from sendmail_py.host.configuration_file import choose_directory, essentials, read_text


@pytest.fixture(autouse=True)
def no_mail_config(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(posix.environ, b"MAIL_CONFIG", raising=False)


def write(directory: Path, text: str) -> str:
    (directory / "main.cf").write_text(text)
    return str(directory)


def test_the_option_goes_before_mail_config_and_that_before_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert choose_directory() == CONFIG_DIRECTORY
    monkeypatch.setitem(posix.environ, b"MAIL_CONFIG", b"/some/wh\xffere")
    assert choose_directory() == "/some/wh\udcffere"
    assert choose_directory(str(tmp_path)) == str(tmp_path)
    assert choose_directory(f"{tmp_path}/main.cf") == str(tmp_path)


@pytest.mark.parametrize("option", ["/etc/passwd", "/does/not/exist", "a\0b"])
def test_an_option_that_is_no_directory_is_ignored(option: str) -> None:
    assert choose_directory(option) == CONFIG_DIRECTORY


def test_values_know_the_line_they_come_from_and_o_goes_before_them(tmp_path: Path) -> None:
    directory = write(tmp_path, "# comment\nmyorigin = example.org\nrelayhost = [a]\n")
    config, complaints = load(directory, {"relayhost": "[b]"})
    assert complaints == []
    assert (config.myorigin, config.origin("myorigin")) == ("example.org", f"{directory}/main.cf:2")
    assert (config.relayhost, config.origin("relayhost")) == ("[b]", "-o")
    assert config.origin("queue_directory") == "default"


def test_config_directory_is_where_it_was_read_and_cannot_be_set_there(tmp_path: Path) -> None:
    config, complaints = load(write(tmp_path, "config_directory = /etc\nqueue_directory = $config_directory/queue\n"))
    assert config.queue_directory == f"{tmp_path}/queue"
    assert complaints == [f"{tmp_path}/main.cf:1: config_directory cannot be set in main.cf"]


def test_a_relative_directory_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "")
    monkeypatch.chdir(tmp_path.parent)
    assert load(tmp_path.name)[0].config_directory == str(tmp_path)


def test_a_directory_without_main_cf_is_an_error_with_exit_code_78(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"main\.cf: No such file") as caught:
        load(str(tmp_path))
    assert caught.value.exit_code == 78


def test_only_the_default_directory_may_lack_main_cf_and_even_there_it_must_be_readable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(configuration_file, "CONFIG_DIRECTORY", str(tmp_path))
    assert load(str(tmp_path))[0].queue_directory == "/var/spool/sendmail-py"
    (tmp_path / "main.cf").mkdir()
    with pytest.raises(ConfigError):
        load(str(tmp_path))


def test_the_host_name_is_unames_and_the_domain_what_follows_its_first_label(tmp_path: Path) -> None:
    config, _ = load(write(tmp_path, ""))
    assert config.myhostname == os.uname().nodename
    assert config.mydomain == (os.uname().nodename.partition(".")[2] or "localdomain")
    config, _ = load(write(tmp_path, "myhostname = mx.sub.example.org\n"))
    assert config.mydomain == "sub.example.org"
    assert config.mydestination == ["mx.sub.example.org", "localhost.sub.example.org", "localhost"]


@pytest.mark.parametrize(("mailname", "origin"), [("example.org\n", "example.org"), ("", "mx.x"), (None, "mx.x")])
def test_the_origin_is_the_first_line_of_mailname_else_the_host_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mailname: str | None, origin: str
) -> None:
    def read(path: str) -> str:
        if path != "/etc/mailname":
            return read_text(path)
        if mailname is None:
            raise FileNotFoundError(2, "No such file or directory")
        return mailname

    monkeypatch.setattr(configuration, "read_text", read)
    assert load(write(tmp_path, "myhostname = mx.x\n"))[0].myorigin == origin


def test_octets_that_are_no_utf_8_survive(tmp_path: Path) -> None:
    (tmp_path / "main.cf").write_bytes(b"syslog_name = caf\xe9\n")
    assert load(str(tmp_path))[0].syslog_name == "caf\udce9"


def test_a_submission_takes_three_settings_from_main_cf_and_the_rest_from_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "main.cf").write_text("queue_directory = /some\n  where\nnone = 1\nqueue_minfree=5\nno equals\n")
    assert essentials(str(tmp_path)) == {**DEFAULTS, "queue_directory": "/some where", "queue_minfree": "5"}


def test_a_setting_with_a_macro_is_worked_out_by_the_whole_configuration(tmp_path: Path) -> None:
    (tmp_path / "main.cf").write_text("queue_directory = $config_directory/queue\nmessage_size_limit = $nothing\n")
    settings = essentials(str(tmp_path))
    assert settings == {**DEFAULTS, "queue_directory": f"{tmp_path}/queue"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a = $b\n",
        "queue_directory = /q\n",
        "queue_minfree = $message_size_limit\n",
        "queue_directory = $config_directory/q\n",
        "authorized_submit_users = !www, static:all\n",
        "authorized_submit_users = !$mail_owner, static:all\nlocal_submission_rate_limit = 100/$mydomain\n",
    ],
)
def test_the_short_way_and_the_whole_configuration_agree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    (tmp_path / "main.cf").write_text(text)
    monkeypatch.chdir(tmp_path.parent)
    for directory in (str(tmp_path), tmp_path.name):
        config, _ = load(directory)
        assert essentials(directory) == {name: text_of(getattr(config, name)) for name in DEFAULTS}


def text_of(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(value) if isinstance(value, list) else str(value)


# --- the environment of a container -----------------------------------------------------------------


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Set variables of the environment, as sendmail(1) sees them too."""

    def set_all(**variables: str) -> None:
        for name, value in variables.items():
            monkeypatch.setitem(posix.environ, name.encode(), value.encode())

    return set_all


def test_settings_of_the_environment_go_before_main_cf_and_behind_o(
    tmp_path: Path, environment: Callable[..., None]
) -> None:
    environment(SENDMAILPY_relayhost="[mx]:587", SENDMAILPY_MYORIGIN="example.org", SENDMAILPY_myhostname="h.example")
    config, complaints = load(write(tmp_path, "relayhost = [a]\n"), {"myhostname": "o.example"})
    assert complaints == []
    assert (config.relayhost, config.origin("relayhost")) == ("[mx]:587", "environment SENDMAILPY_relayhost")
    assert (config.myorigin, config.myhostname) == ("example.org", "o.example")


def test_a_file_named_in_the_environment_holds_the_value(tmp_path: Path, environment: Callable[..., None]) -> None:
    (tmp_path / "secret").write_text("[mx.example.org]:587\n")
    environment(SENDMAILPY_relayhost_FILE=f"{tmp_path}/secret", SENDMAILPY_mydestination_FILE="/not/there")
    config, complaints = load(write(tmp_path, ""))
    assert config.relayhost == "[mx.example.org]:587"
    assert complaints == ["environment SENDMAILPY_mydestination_FILE: /not/there: No such file or directory"]


def test_a_submission_heeds_the_environment_too(tmp_path: Path, environment: Callable[..., None]) -> None:
    environment(SENDMAILPY_queue_directory="$config_directory/q", SENDMAILPY_message_size_limit="77")
    found = essentials(write(tmp_path, "message_size_limit = 5\n"))
    assert (found["queue_directory"], found["message_size_limit"]) == (f"{tmp_path}/q", "77")


def test_a_name_that_is_no_parameter_is_told_as_one_of_main_cf_would_be(
    tmp_path: Path, environment: Callable[..., None]
) -> None:
    environment(SENDMAILPY_relayhosts="[mx]")
    config, _ = load(write(tmp_path, ""))
    assert "relayhosts" in config.settings


def test_the_origin_may_be_a_file_whose_first_line_has_it(tmp_path: Path) -> None:
    (tmp_path / "mailname").write_text("example.net\nanother.example\n")
    (tmp_path / "main.cf").write_text(f"myorigin = {tmp_path}/mailname\nmydestination = $myorigin, localhost\n")
    config, complaints = configuration.load(str(tmp_path))
    assert (config.myorigin, config.mydestination, complaints) == ("example.net", ["example.net", "localhost"], [])
    assert config.text("myorigin") == f"{tmp_path}/mailname"


@pytest.mark.parametrize(("text", "why"), [(None, "No such file or directory"), ("", "its first line is empty")])
def test_an_origin_that_cannot_be_read_is_a_fault_of_its_line(tmp_path: Path, text: str | None, why: str) -> None:
    if text is not None:
        (tmp_path / "mailname").write_text(text)
    (tmp_path / "main.cf").write_text(f"myorigin = {tmp_path}/mailname\n")
    config, _ = configuration.load(str(tmp_path))
    with pytest.raises(ConfigError, match=f"main.cf:1: myorigin = .*/mailname: {why}"):
        config.validate()
