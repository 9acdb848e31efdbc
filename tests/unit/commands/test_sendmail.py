"""How much of a message sendmail(1) reads before it writes, where -t wants the whole header."""

from collections.abc import Iterator

import pytest

from sendmail_py.commands import addresses, sendmail
from sendmail_py.core.errors import MessageError

BLOCK = 65536


def in_blocks(data: bytes) -> Iterator[bytes]:
    return (data[start : start + BLOCK] for start in range(0, len(data), BLOCK))


def test_a_long_header_is_searched_for_its_end_a_few_times_only(monkeypatch: pytest.MonkeyPatch) -> None:
    message = b"To: a@example.org\n" + b"X: y %b\n" % (b"y" * 70) * 80_000 + b"\n" + b"body\n" * 500_000
    searched: list[int] = []
    goes_on = addresses.header_goes_on

    def counting(data: bytes) -> bool:
        searched.append(len(data))
        return goes_on(data)

    monkeypatch.setattr(addresses, "header_goes_on", counting)
    beginning, more = sendmail._beginning(in_blocks(message), True)
    assert more
    assert b"\n\nbody" in beginning
    assert message.startswith(beginning)
    assert sum(searched) <= 3 * len(message)


def test_a_header_counts_as_too_long_only_when_it_is() -> None:
    field = b"X: %b\n" % (b"y" * 996)
    header = field * 9000
    beginning, _ = sendmail._beginning(in_blocks(header + b"\n" + b"." * (20 << 20)), True)
    assert header + b"\n" == beginning[: len(header) + 1]
    with pytest.raises(MessageError, match="too long to find recipients in"):
        sendmail._beginning(in_blocks(header * 4), True)
