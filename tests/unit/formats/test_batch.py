"""What qmgr and its agents say: a batch and its reports mean the same on the other side."""

import pytest

from sendmail_py.core.address import Address
from sendmail_py.core.delivery import Delivery
from sendmail_py.core.envelope import Recipient
from sendmail_py.core.result import Scope, delivered, failed
from sendmail_py.core.route import LOCAL
from sendmail_py.formats.batch import (
    Batch,
    HandBack,
    Report,
    decode_batch,
    decode_reports,
    encode_batch,
    encode_reports,
)


def test_a_batch_carries_target_uid_and_extension_to_the_agent() -> None:
    recipient = Recipient(Address("bob+x", "here"), "rfc822;list@here", ("FAILURE",), extension="x")
    d = Delivery("Q1", 7, 100, 5, Address("alice", "far"), [recipient])
    batch = decode_batch(*encode_batch(Batch(3, LOCAL, "|prog", [d], uid=1000, target="|prog a b")))
    assert (batch.number, batch.transport, batch.nexthop, batch.uid, batch.target) == (
        3,
        LOCAL,
        "|prog",
        1000,
        "|prog a b",
    )
    (got,) = batch.deliveries[0].recipients
    assert (str(got.forward_path), got.original, got.notify, got.extension) == (
        "bob+x@here",
        "rfc822;list@here",
        ("FAILURE",),
        "x",
    )


def test_results_and_what_is_handed_back_travel_in_one_record_with_the_descriptors_of_expansions() -> None:
    reports = [
        Report(0, 0, delivered("ok", relay="local")),
        Report(1, 0, None, HandBack.FORWARD, 1000, 17),
        Report(2, 0, failed("5.1.1", "no", Scope.HOST)),
        Report(3, 0, None, HandBack.UNKNOWN),
        Report(4, 0, None, HandBack.FORWARD, 1001, 18),
    ]
    record, descriptors = encode_reports(9, reports, True)
    assert descriptors == [17, 18]
    number, got, done = decode_reports(record, [50, 51])
    assert (number, done) == (9, True)
    by_delivery = {report.delivery: report for report in got}
    assert by_delivery[0].result == reports[0].result and by_delivery[2].result == reports[2].result
    assert [(r.back, r.uid, r.descriptor) for r in (by_delivery[1], by_delivery[3], by_delivery[4])] == [
        (HandBack.FORWARD, 1000, 50),
        (HandBack.UNKNOWN, -1, -1),
        (HandBack.FORWARD, 1001, 51),
    ]


@pytest.mark.parametrize("descriptors", [[], [50, 51]])
def test_reports_without_their_descriptor_or_with_one_too_many_are_refused(descriptors: list[int]) -> None:
    record, _ = encode_reports(1, [Report(0, 0, None, HandBack.FORWARD, 1000, 3)], False)
    with pytest.raises(ValueError, match="descriptors"):
        decode_reports(record, descriptors)
