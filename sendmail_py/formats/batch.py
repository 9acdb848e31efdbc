"""What qmgr and its agents say to each other: a batch of deliveries out, results back.

A batch is one record with one descriptor a delivery. Results come back in any order and in
several records; a recipient without one when the batch ends counts as deferred, so silence
never means success. Strings are JSON, so neither side can be made to run anything.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..core.address import Address
from ..core.delivery import Delivery
from ..core.envelope import Recipient
from ..core.result import DeliveryResult, Outcome, Scope


@dataclass(slots=True)
class Batch:
    """Deliveries to one destination; number names the batch in the results."""

    number: int
    transport: str
    nexthop: str
    deliveries: list[Delivery]


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
            [[str(r.forward_path), r.original, r.notify] for r in d.recipients],
        ]
        for d in batch.deliveries
    ]
    record = {"batch": batch.number, "transport": batch.transport, "nexthop": batch.nexthop, "jobs": jobs}
    return record, [d.fd for d in batch.deliveries]


def decode_batch(record: dict[str, Any], descriptors: list[int]) -> Batch:
    """Read a batch; raises ValueError when jobs and descriptors do not fit together."""
    if len(record["jobs"]) != len(descriptors):
        raise ValueError("a batch whose descriptors do not match its deliveries")
    deliveries = []
    for job, fd in zip(record["jobs"], descriptors, strict=True):
        queue_id, offset, size, sender, body, smtputf8, envid, ret, arrived_at, active_at, recipients = job
        deliveries.append(
            Delivery(
                queue_id,
                fd,
                offset,
                size,
                Address.parse(sender),
                [Recipient(Address.parse(path), original, tuple(notify)) for path, original, notify in recipients],
                body,
                smtputf8,
                envid,
                ret,
                arrived_at,
                active_at,
            )
        )
    return Batch(record["batch"], record["transport"], record["nexthop"], deliveries)


@dataclass(slots=True)
class Report:
    """One result: which recipient of which delivery of which batch."""

    delivery: int
    recipient: int
    result: DeliveryResult


def encode_reports(number: int, reports: Iterable[Report], done: bool) -> dict[str, Any]:
    """Return the record of some results; done says that no more follow for this batch."""
    rows = [
        [
            p.delivery,
            p.recipient,
            r.outcome.value,
            r.status,
            r.reason,
            r.remote_mta,
            r.diagnostic,
            r.scope.value,
            r.relay,
        ]
        for p in reports
        for r in (p.result,)
    ]
    return {"batch": number, "done": done, "results": rows}


def decode_reports(record: dict[str, Any]) -> tuple[int, list[Report], bool]:
    """Read a record of results; raises ValueError or KeyError for what is none."""
    reports = []
    for delivery, recipient, outcome, status, reason, remote_mta, diagnostic, scope, relay in record["results"]:
        result = DeliveryResult(Outcome(outcome), status, reason, remote_mta, diagnostic, Scope(scope), relay)
        reports.append(Report(delivery, recipient, result))
    return record["batch"], reports, record["done"]
