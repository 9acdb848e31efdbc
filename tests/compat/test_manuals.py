"""The manual pages: well formed, and true of the tables that the programs themselves go by."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from sendmail_py.commands.mailctl.main import VERBS
from sendmail_py.commands.sendmail_options import MODES, MORE, OPTIONS, PROGRAM_MODES, REFUSED
from sendmail_py.core import errors
from sendmail_py.core.exitcodes import EX_OK
from sendmail_py.core.params import PARAMS
from tests.integration.instance import ROOT

DIRECTORY = ROOT / "docs" / "man"
VERBS_OF_POSTFIX = re.search(r"^VERBS = (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1].split()
WRITTEN = sorted(path.name for path in DIRECTORY.glob("*.[158]"))


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, Path]:
    """Return all pages by name, also the one that is made from the table of parameters."""
    made = tmp_path_factory.mktemp("man") / "main.cf.5"
    command = [sys.executable, "-B", str(DIRECTORY / "main_cf.py")]
    made.write_bytes(subprocess.run(command, check=True, capture_output=True, timeout=60).stdout)
    return {name: DIRECTORY / name for name in WRITTEN} | {made.name: made}


def items(text: str) -> list[str]:
    """Return what the list items of a page say, without the words of the format."""
    words = r"\b(Fl|Cm|Ar|Op|Ns|Oo|Oc|Li|Pa|Pq)\b|\\&"
    return [" ".join(re.sub(words, "", line).split()) for line in re.findall(r"^\.It (.*)$", text, re.MULTILINE)]


def letters(text: str) -> set[str]:
    return set(re.findall(r"^\.It Fl (\w)\b(?! Ns Cm)", text, re.MULTILINE))


@pytest.mark.real("mandoc")
@pytest.mark.parametrize("name", [*WRITTEN, "main.cf.5"])
def test_a_page_is_well_formed(pages, name):
    done = subprocess.run(["mandoc", "-Tlint", "-Wwarning", pages[name]], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.real("mandoc")
@pytest.mark.parametrize("name", [*WRITTEN, "main.cf.5"])
def test_a_page_refers_to_pages_that_are_there(pages, name):
    ours = {page.removesuffix(page[-2:]): page[-1] for page in pages}
    for other, section in re.findall(r"^\.Xr (\S+) (\d)", pages[name].read_text(), re.MULTILINE):
        assert ours.get(other, section) == section
        assert other in ours or other in {"df", "fsync", "getopt"}


def test_every_program_and_every_file_that_is_edited_has_its_page(pages):
    programs = {path.name for path in (ROOT / "bin").iterdir()}
    assert {"sendmail", "mailctl", "mailq", "newaliases", "rmail"} <= programs | set(PROGRAM_MODES)
    names = {page.rpartition(".")[0] for page in pages}
    assert names >= programs | {"main.cf", "aliases", "rmail"}
    verbs = (DIRECTORY / "postfix-verbs.8").read_text()
    assert all(f".Nm {verb}" in verbs for verb in VERBS_OF_POSTFIX)


def test_sendmail_8_names_every_option_and_no_other(pages):
    assert letters(pages["sendmail.8"].read_text()) == set(OPTIONS)


def test_sendmail_8_says_of_the_right_options_that_they_have_no_effect(pages):
    text = pages["sendmail.8"].read_text()
    without = text.partition("have no\neffect:")[2].partition(".Pp\nEvery other letter")[0]
    assert letters(without) == {letter for letter, (_, meaning) in OPTIONS.items() if meaning.startswith("ignored")}


def test_sendmail_8_shows_which_options_take_a_value(pages):
    for line in re.findall(r"^\.It (Fl \w.*)$", pages["sendmail.8"].read_text(), re.MULTILINE):
        letter = line[3]
        if not line[4:].startswith(" Ns Cm"):
            rule = {"": "flag", "Ar": "value", "Ns": "attached"}[line[5:7]]
            assert (letter, rule) == (letter, OPTIONS[letter][0])


def test_sendmail_8_names_every_mode_and_every_name_of_the_program(pages):
    text = pages["sendmail.8"].read_text()
    assert set(re.findall(r"^\.It Fl b Ns Cm (\w)$", text, re.MULTILINE)) == set(MODES) | set(REFUSED)
    assert all(f" {name} " in f" {' '.join(text.split())} " for name in PROGRAM_MODES)


def test_sendmail_8_names_every_exit_status_of_an_error(pages):
    classes = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.MailError)]
    named = {int(item) for item in items(pages["sendmail.8"].read_text()) if item.isdigit()}
    assert {EX_OK, *(kind.exit_code for kind in classes)} <= named


def test_mailq_1_names_its_own_options(pages):
    assert set(MORE["mailq"]) <= letters(pages["mailq.1"].read_text())


def test_mailctl_8_names_every_verb_and_no_other(pages):
    verbs = {item.split()[0] for item in items(pages["mailctl.8"].read_text()) if item.split()[0] in VERBS}
    shown = re.findall(r"^\.It Cm ([\w-]+)", pages["mailctl.8"].read_text(), re.MULTILINE)
    assert verbs == set(VERBS) == set(shown)


def test_main_cf_5_names_every_parameter_with_its_default(pages):
    text = pages["main.cf.5"].read_text()
    for param in PARAMS:
        (item,) = re.findall(rf"^\.It Cm {param.name}( .*)?$", text, re.MULTILINE)
        assert param.default.replace("\\", "\\e") in item
