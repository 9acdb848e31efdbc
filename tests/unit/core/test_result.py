"""The tables that turn replies, errnos and exit statuses into outcomes."""

import errno

import pytest

from sendmail_py.core.result import Outcome, Scope, after_time_limit, from_errno, from_exit_status, from_reply

KNOWN = {
    errno.EFBIG: (Outcome.FAILED, "5.2.2"),
    errno.EDQUOT: (Outcome.DEFERRED, "4.2.2"),
    errno.ENOSPC: (Outcome.DEFERRED, "4.3.1"),
    errno.EAGAIN: (Outcome.DEFERRED, "4.2.0"),
    errno.EACCES: (Outcome.DEFERRED, "4.2.0"),
    errno.ESTALE: (Outcome.DEFERRED, "4.2.0"),
}


def test_every_errno_defers_save_those_of_the_table() -> None:
    for number in [*errno.errorcode, 0, 99999]:
        result = from_errno(OSError(number, "x"), "cannot write")
        assert (result.outcome, result.status) == KNOWN.get(number, (Outcome.DEFERRED, "4.3.0")), number
        assert result.reason.startswith("cannot write: ")


def test_an_error_without_a_number_defers() -> None:
    assert from_errno(OSError("odd"), "cannot").outcome is Outcome.DEFERRED


def test_exit_0_is_a_delivery_and_names_the_command() -> None:
    result = from_exit_status(0, "noise", "/bin/x -a")
    assert (result.outcome, result.reason) == (Outcome.DELIVERED, "delivered to command: /bin/x -a")


@pytest.mark.parametrize(("code", "text"), [(75, "temporary failure"), (71, "system resource problem")])
def test_exit_75_and_71_defer(code: int, text: str) -> None:
    result = from_exit_status(code, "try later", "x")
    assert (result.outcome, result.status) == (Outcome.DEFERRED, "4.3.0")
    assert result.reason == f"{text}. Command output: try later"
    assert result.diagnostic == "x-unix; try later"


def test_a_death_by_any_signal_defers() -> None:
    for number in range(1, 65):
        result = from_exit_status(-number, "", "x")
        assert (result.outcome, result.reason) == (Outcome.DEFERRED, f'Command died with signal {number}: "x"')


@pytest.mark.parametrize(
    ("code", "status"), [(67, "5.1.1"), (68, "5.1.2"), (65, "5.6.0"), (73, "5.2.0"), (77, "5.7.0")]
)
def test_a_sysexits_code_gives_its_own_status(code: int, status: str) -> None:
    assert (from_exit_status(code, "", "").outcome, from_exit_status(code, "", "").status) == (Outcome.FAILED, status)


@pytest.mark.parametrize("code", [1, 2, 63, 79, 126, 127, 255])
def test_an_exit_status_outside_sysexits_fails_as_with_postfix(code: int) -> None:
    result = from_exit_status(code, "no", "x y")
    assert (result.outcome, result.status) == (Outcome.FAILED, "5.3.0")
    assert result.reason == f'Command died with status {code}: "x y". Command output: no'


@pytest.mark.parametrize("code", [1, 67, 75])
def test_a_program_that_prints_an_enhanced_status_is_believed(code: int) -> None:
    waits, fails = (from_exit_status(code, text, "x") for text in ("4.2.2 over quota", "5.7.1 not for you"))
    assert (waits.outcome, waits.status, waits.reason) == (Outcome.DEFERRED, "4.2.2", "over quota")
    assert (fails.outcome, fails.status, fails.reason) == (Outcome.FAILED, "5.7.1", "not for you")


@pytest.mark.parametrize("text", ["2.0.0 fine", "5.7 no", "5.1.1.1 no", "4.x.1 no", "5.12345.1 no", ""])
def test_output_that_only_looks_like_a_status_changes_nothing(text: str) -> None:
    assert from_exit_status(1, text, "x").status == "5.3.0"


def test_a_program_that_took_too_long_fails() -> None:
    result = after_time_limit("", "x")
    assert (result.outcome, result.status, result.reason) == (
        Outcome.FAILED,
        "5.3.0",
        'Command time limit exceeded: "x"',
    )


def test_a_reply_delivers_at_2xx_and_fails_at_5xx_and_waits_else() -> None:
    wanted = {"2": (Outcome.DELIVERED, "2.0.0"), "5": (Outcome.FAILED, "5.0.0")}
    for code in range(100, 1000):
        result = from_reply(code, "", "text", "mx[192.0.2.1]:25", Scope.RECIPIENT)
        assert (result.outcome, result.status) == wanted.get(str(code)[0], (Outcome.DEFERRED, "4.0.0")), code


@pytest.mark.parametrize(
    ("code", "said", "status"), [(550, "5.1.1", "5.1.1"), (550, "4.1.1", "5.0.0"), (450, "5.1.1", "4.0.0")]
)
def test_an_enhanced_status_is_believed_only_when_it_agrees_with_the_reply(code: int, said: str, status: str) -> None:
    assert from_reply(code, said, "no", "mx[192.0.2.1]:25", Scope.HOST).status == status


def test_a_refusal_names_the_host_and_keeps_its_reply_for_the_report() -> None:
    result = from_reply(550, "5.1.1", "550 5.1.1 unknown", "mx.x[192.0.2.1]:25", Scope.RECIPIENT)
    assert result.reason == "host mx.x[192.0.2.1] said: 550 5.1.1 unknown"
    assert (result.remote_mta, result.diagnostic) == ("mx.x", "smtp; 550 5.1.1 unknown")
