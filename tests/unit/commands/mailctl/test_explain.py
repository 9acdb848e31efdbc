"""mailctl config explain: what a parameter is for, what it is here, and who said so."""

import json
from pathlib import Path

import pytest

from sendmail_py.commands.mailctl.config import main
from sendmail_py.core.exitcodes import EX_USAGE
from sendmail_py.core.params import PARAMS

MAIN_CF = "mydomain = example.org\n\n# where it goes\nmyorigin = $mydomain\nqueue_run_delay = soon\n"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "main.cf").write_text(MAIN_CF)
    return tmp_path


Printed = pytest.CaptureFixture[str]


def test_a_value_of_main_cf_comes_with_its_file_and_line_and_its_manual_entry(directory: Path, capsys: Printed) -> None:
    assert main(["explain", "myorigin"], str(directory)) == 0
    first, *lines = capsys.readouterr().out.splitlines()
    assert first == "myorigin = $mydomain"
    assert lines[:4] == [
        "    which is now: example.org",
        f"    set in {directory}/main.cf, line 4",
        f"    default: {default('myorigin')}",
        "    a text; host; main.cf(5)",
    ]
    manual = next(param.doc for param in PARAMS if param.name == "myorigin")
    assert " ".join(" ".join(lines[4:]).split()) == manual


def default(name: str) -> str:
    mailname = Path("/etc/mailname")
    return mailname.read_text().strip() if name == "myorigin" and mailname.exists() else "$myhostname"


def test_a_value_that_is_not_set_is_the_default(directory: Path, capsys: Printed) -> None:
    assert main(["explain", "relayhost"], str(directory)) == 0
    assert capsys.readouterr().out.splitlines()[:2] == ["relayhost =", "    not set: this is the default"]


def test_a_value_that_cannot_be_used_says_so(directory: Path, capsys: Printed) -> None:
    assert main(["explain", "queue_run_delay"], str(directory)) == 0
    assert "FAULT: " in capsys.readouterr().out


def test_every_parameter_can_be_explained_also_as_json(directory: Path, capsys: Printed) -> None:
    names = [param.name for param in PARAMS]
    assert main(["explain", *names], str(directory)) == 0
    out = capsys.readouterr().out
    assert all(f"\n{name} =" in f"\n{out}" for name in names)
    assert main(["explain", "-j", *names], str(directory)) == 0
    assert [row["name"] for row in json.loads(capsys.readouterr().out)] == names


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("relayhots", "unknown parameter relayhots (did you mean relayhost?)"),
        ("cyrus_sasl_config_path", "cyrus_sasl_config_path is a Postfix parameter that sendmail-py does not have"),
    ],
)
def test_a_name_that_is_no_parameter_is_status_1(directory: Path, capsys: Printed, name: str, says: str) -> None:
    assert main(["explain", name, "relayhost"], str(directory)) == 1
    printed = capsys.readouterr()
    assert says in printed.err and "relayhost =" in printed.out


@pytest.mark.parametrize("words", [[], ["a=b"]])
def test_a_command_line_that_cannot_be_is_refused(directory: Path, words: list[str]) -> None:
    assert main(["explain", *words], str(directory)) == EX_USAGE
