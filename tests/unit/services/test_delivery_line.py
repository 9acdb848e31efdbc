"""The line of the log for one recipient: what orig_to= says."""

import pytest

from sendmail_py.core.result import DeliveryResult, Outcome
from sendmail_py.services.agent import result_line

SENT = DeliveryResult(Outcome.DELIVERED, "2.0.0", "delivered to mailbox")


@pytest.mark.parametrize(
    ("original", "shown"),
    [
        ("", " relay="),
        ("rfc822;bob@x", " relay="),
        ("rfc822;sales+2Bnews@x", " orig_to=<sales+news@x>, relay="),
        ("rfc822;b+6Fb@x", " relay="),
        ("rfc822;a@x>,+20status=sent+20(<no", " orig_to=<a@x?, status=sent (?no>, relay="),
    ],
)
def test_the_original_recipient_is_told_as_it_was_written_where_it_is_another(original: str, shown: str) -> None:
    assert result_line("Q", "bob@x", original, SENT, (0, 0), (0.0, 0.0)).partition("to=<bob@x>,")[2].startswith(shown)
