"""What is counted of the log's lines, and that Prometheus reads it."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from sendmail_py.formats.log_event import event
from sendmail_py.formats.metrics import METRICS, PREFIX, Counts, add, count_event, render

ID = "6615B08B52681211"


def counted(*lines: str, service: str = "smtp") -> Counts:
    counts: Counts = {}
    for line in lines:
        count_event(counts, service, event(line))
    return counts


def samples(counts: Counts) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Return what Prometheus' own parser reads."""
    return {
        (sample.name.removeprefix(PREFIX), frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(render(counts))
        for sample in family.samples
    }


def test_a_delivery_counts_by_agent_and_outcome_with_its_delays() -> None:
    line = f"{ID}: to=<b@x>, relay=m[192.0.2.7]:25, delay=12, delays=1/2/4/5, dsn=4.4.1, status=deferred (no)"
    found = samples(counted(line, line))
    assert found["deliveries_total", frozenset({("transport", "smtp"), ("outcome", "deferred")})] == 2
    bucket = {
        le: found["delivery_delay_seconds_bucket", frozenset({("outcome", "deferred"), ("le", le)})]
        for le in ("30", "+Inf")
    }
    assert bucket == {"30": 2, "+Inf": 2}
    assert ("delivery_delay_seconds_bucket", frozenset({("outcome", "deferred"), ("le", "5")})) not in found
    assert found["delivery_stage_seconds_total", frozenset({("stage", "connection")})] == 8


@pytest.mark.parametrize(
    ("line", "name", "labels"),
    [
        (f"{ID}: uid=0 from=<a@x> login=root pid=1", "messages_received_total", {"source": "local"}),
        (f"{ID}: client=h[192.0.2.1]", "messages_received_total", {"source": "smtp"}),
        (f"{ID}: removed", "messages_removed_total", {}),
        (
            "NOQUEUE: reject: RCPT from h[192.0.2.1]: 550 5.1.1 <x@y>: unknown; from=<a@b>",
            "smtpd_rejects_total",
            {"command": "RCPT", "code": "550", "status": "5.1.1"},
        ),
        (
            f"{ID}: reject: header Subject: a: 4.0.0 b from h[192.0.2.1]; from=<a@b> to=<c@d>: 5.7.1 advertisement",
            "smtpd_rejects_total",
            {"command": "header", "code": "", "status": "5.7.1"},
        ),
        ("connect from h[192.0.2.1]", "smtpd_connections_total", {}),
        ("warning: h[192.0.2.1]: SASL PLAIN authentication failed: no", "auth_failures_total", {"mechanism": "PLAIN"}),
        (
            "Anonymous TLS connection established from h[::1]: TLSv1.3 with cipher X",
            "tls_connections_total",
            {"direction": "in", "version": "TLSv1.3"},
        ),
        (
            "Trusted TLS connection established to m[192.0.2.7]:25: TLSv1.2 with cipher X",
            "tls_connections_total",
            {"direction": "out", "version": "TLSv1.2"},
        ),
        ("warning: service smtp (pid 7) was killed by signal 9", "service_restarts_total", {"service": "smtp"}),
        ("error: odd", "log_messages_total", {"level": "error", "service": "smtp"}),
    ],
)
def test_each_kind_of_line_is_counted_once(line: str, name: str, labels: dict[str, str]) -> None:
    assert samples(counted(line))[name, frozenset(labels.items())] == 1


def test_every_sample_has_the_labels_that_its_metric_declares_and_odd_values_are_escaped() -> None:
    counts: Counts = {}
    for name, metric in METRICS.items():
        if metric.kind != "histogram":
            add(counts, name, *('a"b\\c\nd' for _ in metric.labels))
    found = samples(counts)
    assert {name for name, _ in found} == {name for name, metric in METRICS.items() if metric.kind != "histogram"}
    assert {value for _, labels in found for _, value in labels} == {'a"b\\c\nd'}


def test_buckets_stand_in_the_order_of_their_limits() -> None:
    line = f"{ID}: to=<b@x>, relay=none, delay=0.2, delays=0/0/0/0, dsn=2.0.0, status=sent (ok)"
    rows = [row for row in render(counted(line)).splitlines() if "_bucket" in row]
    limits = [row.partition('le="')[2].partition('"')[0] for row in rows]
    assert limits == ["0.5", "1", "5", "30", "120", "600", "3600", "14400", "86400", "+Inf"]
