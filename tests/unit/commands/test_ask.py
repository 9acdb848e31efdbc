"""Who cannot ask the services is not told that they do not run."""

from pathlib import Path
from typing import NoReturn

import pytest

from sendmail_py.commands import ask
from sendmail_py.commands.mailctl import control, init, send_test, status
from sendmail_py.core.exitcodes import EX_UNAVAILABLE
from sendmail_py.host.configuration import load


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return an instance whose sockets are out of this user's reach."""

    def connect(path: str, timeout: float) -> NoReturn:
        raise PermissionError(13, "Permission denied")

    init.create(str(tmp_path / "i"))
    monkeypatch.setattr(ask, "connect", connect)
    return str(tmp_path / "i")


def test_sockets_out_of_reach_say_nothing_of_the_services(directory: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ask.Unlisted, match=r"this user cannot ask the services .*control: Permission denied") as said:
        status.main([], directory)
    assert said.value.exit_code == EX_UNAVAILABLE and "not running" not in capsys.readouterr().out
    with pytest.raises(ask.Unlisted):
        control.main(["reload"], directory)
    assert send_test._is_running(load(directory)[0])


def test_no_socket_says_that_they_do_not_run(tmp_path: Path) -> None:
    init.create(str(tmp_path / "i"))
    with pytest.raises(ask.NotRunning, match="the services are not running"):
        status.main([], str(tmp_path / "i"))
