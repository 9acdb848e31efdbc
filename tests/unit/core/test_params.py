"""The table of parameters, and what is made from it."""

import re

import pytest

from sendmail_py.core.config import Config, Setting, convert
from sendmail_py.core.params import BY_NAME, PARAMS, Param
from sendmail_py.formats import main_cf
from sendmail_py.formats.sample import sample_main_cf


def name_of(param: Param) -> str:
    return param.name


@pytest.mark.parametrize("param", PARAMS, ids=name_of)
def test_every_default_parses_shows_and_parses_back(param: Param) -> None:
    value = getattr(Config({}), param.name)
    again = Config(main_cf.parse(f"{param.name} = {Config({}).text(param.name)}\n", "main.cf")[0])
    assert getattr(again, param.name) == value
    assert again.origin(param.name) == "main.cf:1"


@pytest.mark.parametrize("param", PARAMS, ids=name_of)
def test_every_parameter_has_a_sentence_of_documentation_and_a_known_type(param: Param) -> None:
    assert param.doc.endswith(".")
    assert param.type in ("str", "raw", "int", "bool", "time", "list") or "|" in param.type


def test_no_name_stands_twice_in_the_table() -> None:
    assert len(BY_NAME) == len(PARAMS)


def test_parameters_of_a_section_stand_together() -> None:
    sections = [param.section for param in PARAMS]
    changes = [name for i, name in enumerate(sections) if not i or sections[i - 1] != name]
    assert len(changes) == len(set(sections))


def test_every_macro_in_a_default_names_a_parameter() -> None:
    for param in PARAMS:
        for word in param.default.replace(",", " ").replace(".", " ").split():
            name = re.match(r"\$\{?(\w+)", word)
            assert param.type == "raw" or not name or name[1] in BY_NAME


def test_the_sample_sets_nothing_as_it_stands() -> None:
    assert main_cf.parse(sample_main_cf(), "main.cf") == ({}, [])


def test_the_sample_without_its_comment_signs_sets_every_default() -> None:
    text = "\n".join(line[1:] for line in sample_main_cf().split("\n") if line.startswith("#") and line[1:2] != " ")
    settings, complaints = main_cf.parse(text.replace("\n#", "\n"), "main.cf")
    assert complaints == []
    assert {name: setting.text for name, setting in settings.items()} == {
        param.name: param.default for param in PARAMS if param.name != "config_directory"
    }


def test_the_sample_has_no_line_that_a_terminal_would_break_but_long_values() -> None:
    assert [line for line in sample_main_cf().split("\n") if len(line) > 79 and line.startswith("# ")] == []


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("int", "0", 0),
        ("bool", "Yes", True),
        ("bool", "no", False),
        ("time", "90", 90),
        ("time", "5m", 300),
        ("time", "1h", 3600),
        ("time", "5d", 432000),
        ("time", "2w", 1209600),
        ("list", "a, b  c,d", ["a", "b", "c", "d"]),
        ("list", "", []),
        ("any|ipv4", "ipv4", "ipv4"),
    ],
)
def test_a_text_becomes_a_value_of_its_type(kind: str, text: str, value: object) -> None:
    assert convert(Param("x", kind, "", "", ""), text, "default") == value


def test_setting_keeps_text_and_origin() -> None:
    assert Config({"relayhost": Setting("[mx]:26", "main.cf:3")}).origin("relayhost") == "main.cf:3"
