"""What qmgr and its agents say to each other: a batch of deliveries out, results back.

A batch is one record with one descriptor a delivery. Results come back in any order and in
several records; a recipient without one when the batch ends counts as deferred, so silence
never means success. Strings are JSON, so neither side can be made to run anything.

The local agent may hand a recipient back instead, for qmgr to expand or to route; a FORWARD
travels with a descriptor: a file with one target a line as in aliases(5), nothing left to include.

A batch without deliveries asks for the mail hosts of its nexthop, and is answered with their names alone.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from ..core.address import Address
from ..core.delivery import Delivery
from ..core.envelope import Recipient
from ..core.result import DeliveryResult, Handover, Outcome, Scope


@dataclass(slots=True)
class Batch:
    """Deliveries to one destination; number names the batch in the results.

    uid and target are those of the Route. A delivery of the transport `local` has one recipient.
    """

    number: int
    transport: str
    nexthop: str
    deliveries: list[Delivery]
    uid: int = -1
    target: str = ""


def encode_batch(batch: Batch) -> tuple[dict[str, Any], list[int]]:
    """Return the record and the descriptors of a batch."""
    jobs = [
        [
            d.queue_id,
            d.content_offset,
            d.size,
            str(d.sender),
            d.body,
            d.smtputf8,
            d.envid,
            d.ret,
            d.arrived_at,
            d.active_at,
            d.verify,
            [[str(r.forward_path), r.original, r.notify, r.extension] for r in d.recipients],
        ]
        for d in batch.deliveries
    ]
    record = {"batch": batch.number, "transport": batch.transport, "nexthop": batch.nexthop, "jobs": jobs}
    record |= {"uid": batch.uid, "target": batch.target}
    return record, [d.fd for d in batch.deliveries]


def decode_batch(record: dict[str, Any], descriptors: list[int]) -> Batch:
    """Read a batch; raises ValueError when jobs and descriptors do not fit together."""
    if len(record["jobs"]) != len(descriptors):
        raise ValueError("a batch whose descriptors do not match its deliveries")
    deliveries = []
    for job, fd in zip(record["jobs"], descriptors, strict=True):
        queue_id, offset, size, sender, body, smtputf8, envid, ret, arrived_at, active_at, verify, recipients = job
        deliveries.append(
            Delivery(
                queue_id,
                fd,
                offset,
                size,
                Address.parse(sender),
                [
                    Recipient(Address.parse(path), original, tuple(notify), extension=extension)
                    for path, original, notify, extension in recipients
                ],
                body,
                smtputf8,
                envid,
                ret,
                arrived_at,
                active_at,
                verify,
            )
        )
    return Batch(record["batch"], record["transport"], record["nexthop"], deliveries, record["uid"], record["target"])


class HandBack(Enum):
    """Why an agent hands a recipient back to qmgr."""

    FORWARD = "forward"  # the user's .forward says where the mail goes; uid is the user's
    MAILBOX = "mailbox"  # it is for the mailbox, and mailbox_transport names who has that
    UNKNOWN = "unknown"  # there is no such user; luser_relay or fallback_transport may know more


@dataclass(slots=True)
class Report:
    """One result, or what is handed back: which recipient of which delivery of which batch.

    descriptor is the expansion of a FORWARD; whoever holds the report closes it.
    """

    delivery: int
    recipient: int
    result: DeliveryResult | None
    back: HandBack | None = None
    uid: int = -1
    descriptor: int = -1


def encode_aside(number: int) -> dict[str, Any]:
    """Return the record that says: this batch takes its time, others could be handed out."""
    return {"batch": number, "aside": True}


def encode_hosts(number: int, hosts: Iterable[str]) -> dict[str, Any]:
    """Return the answer to a batch without deliveries: the mail hosts of its nexthop."""
    return {"batch": number, "hosts": list(hosts)}


def decode_hosts(record: dict[str, Any]) -> tuple[int, list[str]]:
    """Read such an answer; raises ValueError."""
    number, hosts = record["batch"], record["hosts"]
    if not isinstance(number, int) or not isinstance(hosts, list) or not all(isinstance(h, str) for h in hosts):
        raise ValueError("mail hosts that are none")
    return number, hosts


def encode_reports(number: int, reports: Iterable[Report], done: bool) -> tuple[dict[str, Any], list[int]]:
    """Return the record of some reports and their descriptors; done: no more follow for this batch."""
    rows: list[list[Any]] = []
    back: list[list[Any]] = []
    descriptors = []
    for report in reports:
        if report.result is not None:
            rows.append([report.delivery, report.recipient, *_result_row(report.result)])
        elif report.back is not None:
            back.append([report.delivery, report.recipient, report.back.value, report.uid])
            if report.descriptor >= 0:
                descriptors.append(report.descriptor)
    return {"batch": number, "done": done, "results": rows, "back": back}, descriptors


def _result_row(r: DeliveryResult) -> list[str]:
    return [r.outcome.value, r.status, r.reason, r.remote_mta, r.diagnostic, r.scope.value, r.relay, r.handover.value]


_OUTCOMES = {it.value: it for it in Outcome}  # Outcome(value) takes ten times as long
_SCOPES = {it.value: it for it in Scope}
_HANDOVERS = {it.value: it for it in Handover}


def _result(row: list[str]) -> DeliveryResult:
    outcome, status, reason, remote_mta, diagnostic, scope, relay, handover = row
    how = _HANDOVERS[handover]
    return DeliveryResult(_OUTCOMES[outcome], status, reason, remote_mta, diagnostic, _SCOPES[scope], relay, how)


def decode_reports(record: dict[str, Any], descriptors: list[int]) -> tuple[int, list[Report], bool]:
    """Read a record of reports; raises ValueError or KeyError for what is none: the caller closes the descriptors."""
    reports = []
    for delivery, recipient, *row in record["results"]:
        reports.append(Report(delivery, recipient, _result(row)))
    left = iter(descriptors)
    for delivery, recipient, what, uid in record["back"]:
        back = HandBack(what)
        descriptor = next(left, -1) if back is HandBack.FORWARD else -1
        reports.append(Report(delivery, recipient, None, back, uid, descriptor))
    if len(descriptors) != sum(report.back is HandBack.FORWARD for report in reports):
        raise ValueError("results whose descriptors do not match them")
    return record["batch"], reports, record["done"]
