"""mailctl config: what it shows, and that a change is whole, checked and kind to the file."""

import json
import os
from pathlib import Path

import pytest

from sendmail_py.commands.mailctl.config import main, replace_text
from sendmail_py.core.exitcodes import EX_CONFIG, EX_USAGE
from sendmail_py.core.params import PARAMS

MAIN_CF = "# mine\nmydomain = example.org\nmyorigin = $mydomain\n# last\n"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "main.cf").write_text(MAIN_CF)
    return tmp_path


def text_of(directory: Path) -> str:
    return (directory / "main.cf").read_text()


def test_without_names_every_parameter_is_shown(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([], str(directory)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(" =")[0] for line in lines] == sorted(param.name for param in PARAMS)
    assert "myorigin = $mydomain" in lines


def test_n_shows_what_main_cf_sets(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-n"], str(directory)) == 0
    assert capsys.readouterr().out == "mydomain = example.org\nmyorigin = $mydomain\n"


def test_n_with_a_name_that_is_not_set_shows_nothing(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-n", "relayhost"], str(directory)) == 0
    assert capsys.readouterr().out == ""


def test_d_shows_the_default_although_main_cf_says_otherwise(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (directory / "main.cf").write_text("queue_run_delay = 1s\n")
    assert main(["-d", "queue_run_delay"], str(directory)) == 0
    assert capsys.readouterr().out == "queue_run_delay = 300s\n"


def test_d_needs_no_main_cf(tmp_path: Path) -> None:
    assert main(["-d"], str(tmp_path)) == 0


def test_x_shows_values_with_macros_replaced_and_h_without_names(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["-x", "-h", "myorigin"], str(directory)) == 0
    assert capsys.readouterr().out == "example.org\n"


def test_j_tells_value_origin_and_documentation(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-j", "mydomain"], str(directory)) == 0
    [row] = json.loads(capsys.readouterr().out)
    assert (row["value"], row["origin"], row["type"]) == ("example.org", f"{directory}/main.cf:2", "str")


def test_an_unknown_name_is_answered_with_the_nearest_one_and_status_1(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["relay_host", "mydomain"], str(directory)) == 1
    shown = capsys.readouterr()
    assert shown.out == "mydomain = example.org\n"
    assert shown.err == "mailctl config: warning: unknown parameter relay_host (did you mean relayhost?)\n"


def test_warnings_about_main_cf_go_to_standard_error(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (directory / "main.cf").write_text("junk\nsmtpd_proxy_filter = hello\n")
    assert main(["queue_run_delay"], str(directory)) == 0
    shown = capsys.readouterr()
    assert shown.out == "queue_run_delay = 300s\n"
    assert "main.cf:1: `name = value` expected: junk" in shown.err
    assert "main.cf:2: warning: smtpd_proxy_filter is a Postfix parameter" in shown.err


def test_a_directory_without_main_cf_is_an_error_of_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([], str(tmp_path)) == EX_CONFIG
    assert capsys.readouterr().err.count("\n") == 1


def test_e_changes_and_adds_and_keeps_the_rest(directory: Path) -> None:
    assert main(["-e", "mydomain = example.net", "relayhost=[mx]:587"], str(directory)) == 0
    assert text_of(directory) == (
        "# mine\nmydomain = example.net\nmyorigin = $mydomain\n# last\nrelayhost = [mx]:587\n"
    )


def test_upper_case_x_removes_a_setting(directory: Path) -> None:
    assert main(["-X", "mydomain"], str(directory)) == 0
    assert text_of(directory) == "# mine\nmyorigin = $mydomain\n# last\n"


@pytest.mark.parametrize(
    "change",
    [
        "message_size_limit=many",
        "relayhost=$nothing_is_closed${",
        "relayhost=a\nb = c",
        "relay_host=x",
        "smtpd_proxy_filter=x",
        "config_directory=/tmp",
        "not a name=x",
        "#mydomain=x",
    ],
)
def test_a_bad_change_is_one_line_and_changes_nothing(
    change: str, directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["-e", "mydomain=other", change], str(directory)) == EX_CONFIG
    assert capsys.readouterr().err.count("\n") == 1
    assert text_of(directory) == MAIN_CF


def test_a_change_that_breaks_another_parameter_is_refused(directory: Path) -> None:
    (directory / "main.cf").write_text("mydomain = 5\nsmtp_tcp_port = $mydomain\n")
    assert main(["-e", "mydomain=example.org"], str(directory)) == EX_CONFIG


def test_a_bad_value_elsewhere_does_not_stop_a_good_change(directory: Path) -> None:
    (directory / "main.cf").write_text("smtp_tcp_port = x\n")
    assert main(["-e", "mydomain=example.org"], str(directory)) == 0


def test_a_name_of_the_administrators_own_can_be_set_where_a_value_uses_it(directory: Path) -> None:
    assert main(["-e", "site=x", "relayhost=gate.$site"], str(directory)) == 0


@pytest.mark.parametrize("arguments", [["-e"], ["-e", "relayhost"], ["-X"], ["-d", "-n"], ["-q"]])
def test_a_wrong_command_line_is_a_usage_error(arguments: list[str], directory: Path) -> None:
    assert main(arguments, str(directory)) == EX_USAGE


def test_a_change_keeps_the_mode_and_leaves_no_other_file(directory: Path) -> None:
    (directory / "main.cf").chmod(0o640)
    assert main(["-e", "relayhost=mx"], str(directory)) == 0
    assert (directory / "main.cf").stat().st_mode & 0o7777 == 0o640
    assert os.listdir(directory) == ["main.cf"]


def test_a_change_goes_through_a_link_to_the_file_itself(directory: Path, tmp_path: Path) -> None:
    real = tmp_path / "elsewhere" / "main.cf"
    real.parent.mkdir()
    (directory / "main.cf").rename(real)
    (directory / "main.cf").symlink_to(real)
    assert main(["-e", "relayhost=mx"], str(directory)) == 0
    assert (directory / "main.cf").is_symlink()
    assert "relayhost = mx" in real.read_text()


def test_octets_that_are_not_utf_8_survive_a_change(directory: Path) -> None:
    (directory / "main.cf").write_bytes(b"# caf\xe9\nmydomain = x\n")
    assert main(["-e", "mydomain=y"], str(directory)) == 0
    assert (directory / "main.cf").read_bytes() == b"# caf\xe9\nmydomain = y\n"


def test_a_new_file_gets_the_mode_asked_for_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        replace_text(str(tmp_path / "new"), "x\n")
    finally:
        os.umask(before)
    assert (tmp_path / "new").stat().st_mode & 0o7777 == 0o644


def test_a_value_given_to_x_or_to_nothing_is_no_silent_success(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["-X", "mydomain=example.org"], str(directory)) == EX_USAGE
    assert main(["relayhost=[192.0.2.7]"], str(directory)) == EX_USAGE
    assert text_of(directory) == MAIN_CF
    said = capsys.readouterr().err
    assert "-X takes names alone" in said and "relayhost=[192.0.2.7]: -e changes main.cf" in said


def test_what_is_removed_in_vain_is_said(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-X", "mydomian", "relayhost"], str(directory)) == 0
    assert text_of(directory) == MAIN_CF
    said = "unknown parameter mydomian (did you mean mydomain?); main.cf does not have it"
    assert capsys.readouterr().err == f"mailctl config: warning: {said}\n"
