"""What mailctl says to who mistypes a verb."""

import re
from pathlib import Path

import pytest

from sendmail_py.commands.mailctl import init
from sendmail_py.commands.mailctl.main import run
from sendmail_py.core.errors import UsageError


def test_a_slip_of_the_keys_names_the_verb_that_is_near() -> None:
    with pytest.raises(UsageError, match=r"unknown verb chek \(did you mean check\?\); `mailctl help` lists them"):
        run(["chek"], "/")
    with pytest.raises(UsageError, match=r"unknown verb zzz; `mailctl help`"):
        run(["zzz"], "/")


def test_the_help_of_config_names_explain(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run(["help", "config"], "/")
    assert "mailctl config explain NAME" in capsys.readouterr().out


@pytest.mark.parametrize("words", ["queue show", "passwd add", "import", "trace", "dkim keygen", "oauth login google"])
def test_a_word_that_is_missing_names_the_verb_that_explains_itself(words: str, tmp_path: Path) -> None:
    init.create(str(tmp_path / "i"))
    with pytest.raises(UsageError) as said:
        run(["-c", str(tmp_path / "i"), *words.split()], "/")
    (named,) = re.findall("`mailctl (.*) --help` explains it$", str(said.value))
    assert words.startswith(named)
