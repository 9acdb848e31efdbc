"""mailctl map: what is found is printed, and the exit status says whether."""

import io
from pathlib import Path

import pytest

from sendmail_py.commands.mailctl import map as verb
from sendmail_py.core.errors import MailError


def run(*arguments: object) -> int:
    return verb.main([str(a) for a in arguments], "/nowhere")


def test_a_key_is_looked_up_and_the_status_says_whether_it_is_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "t").write_text("a.test smtp:[x]\n")
    assert run(f"hash:{tmp_path}/t", "a.test") == 0
    assert run(f"hash:{tmp_path}/t", "b.test") == 1
    assert capsys.readouterr().out == "smtp:[x]\n"


def test_keys_may_come_from_standard_input(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("a\nb\nc\n"))
    assert run("inline:{a=1, c=2}", "-") == 0
    assert capsys.readouterr().out == "a\t1\nc\t2\n"


@pytest.mark.parametrize(("table", "status"), [("ldap:/x", 64), ("hash:/nowhere/x", 75)])
def test_a_table_that_cannot_be_asked_has_its_own_exit_status(table: str, status: int) -> None:
    with pytest.raises(MailError) as caught:
        run(table, "a")
    assert caught.value.exit_code == status
