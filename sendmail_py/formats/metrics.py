"""Metrics: what is counted, how events of the log are counted, and the text that Prometheus reads.

Pure. Guarantees: labels have few values: what a remote host or a user writes is never one, but for
domains, of which whoever asks for them keeps a few.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

PREFIX: Final = "sendmailpy_"
DELAYS: Final = (0.1, 0.5, 1, 5, 30, 120, 600, 3600, 14400, 86400)
SYNCS: Final = (0.001, 0.005, 0.02, 0.1, 0.5, 2)
_TLS = re.compile(r"\w+ TLS connection established (from|to) .*?: (TLSv[\d.]+)")
_LOGIN = re.compile(r"warning: \S+: SASL (\S+) authentication failed")
_ENDED = re.compile(r"warning: service (\w+) \(pid \d+\) (?:was killed|ended)")
_CONTENT = re.compile(r"[0-9A-F]+: reject: (header|body) .*: ([45]\.\d+\.\d+)(?: |$)")
_REPLY = re.compile(r"(?:reject|milter-reject): (\w+)[^:]*: ([45]\d\d)(?: ([45]\.\d+\.\d+))?")

Key = tuple[str, tuple[str, ...]]  # a sample: its name without PREFIX, and the values of its labels
Counts = dict[Key, float]


class Metric(NamedTuple):
    """What a metric is: counter, gauge or histogram; a histogram has the limits of its buckets."""

    kind: str
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


METRICS: Final = {
    "messages_received_total": Metric("counter", "Messages taken, from programs (local) or by SMTP.", ("source",)),
    "messages_removed_total": Metric("counter", "Messages that have left the queue."),
    "deliveries_total": Metric(
        "counter", "Delivery attempts of a recipient, by the agent and what came of them.", ("transport", "outcome")
    ),
    "delivery_delay_seconds": Metric(
        "histogram", "Age of the message when a recipient's attempt ended.", ("outcome",), DELAYS
    ),
    "delivery_stage_seconds_total": Metric(
        "counter", "Time of attempts: before the queue, in it, for the connection, for the transmission.", ("stage",)
    ),
    "smtpd_connections_total": Metric("counter", "Clients that have connected to the SMTP server."),
    "smtpd_rejects_total": Metric(
        "counter", "What the SMTP server has refused, by command, reply and status.", ("command", "code", "status")
    ),
    "auth_failures_total": Metric("counter", "Logins that failed.", ("mechanism",)),
    "tls_connections_total": Metric("counter", "Connections with TLS, in and out.", ("direction", "version")),
    "service_restarts_total": Metric("counter", "Services that ended unasked and were started again.", ("service",)),
    "log_messages_total": Metric("counter", "Warnings and errors in the log.", ("level", "service")),
    "fsync_seconds": Metric("histogram", "How long the disk took to make a file durable.", (), SYNCS),
    "queue_messages": Metric("gauge", "Messages in the queue, by the directory they are in.", ("state",)),
    "queue_domain_messages": Metric("gauge", "Deferred messages for a domain, of those with the most.", ("domain",)),
    "queue_age_messages": Metric("gauge", "Deferred messages that are at most so many seconds old.", ("le",)),
    "service_up": Metric("gauge", "1 for a service that does its work.", ("service",)),
    "start_time_seconds": Metric("gauge", "When the services were started, since the epoch."),
}  # fmt: skip


def add(counts: Counts, name: str, *labels: str, value: float = 1.0) -> None:
    """Add to a counter."""
    key = (name, labels)
    counts[key] = counts.get(key, 0.0) + value


def observe(counts: Counts, name: str, value: float, *labels: str) -> None:
    """Count a value in a histogram."""
    for limit in METRICS[name].buckets:
        if value <= limit:
            add(counts, f"{name}_bucket", *labels, f"{limit:g}")
    add(counts, f"{name}_bucket", *labels, "+Inf")
    add(counts, f"{name}_sum", *labels, value=value)
    add(counts, f"{name}_count", *labels)


def count_event(counts: Counts, service: str, event: Mapping[str, Any]) -> None:
    """Count what a line of the log says."""
    kind, text = event["event"], event["message"]
    if event["level"] != "info":
        add(counts, "log_messages_total", event["level"], service)
    if kind == "delivery":
        outcome = str(event["status"])
        add(counts, "deliveries_total", service, outcome)
        observe(counts, "delivery_delay_seconds", _number(event.get("delay")), outcome)
        for stage, seconds in event.get("delays", {}).items():
            add(counts, "delivery_stage_seconds_total", stage, value=_number(seconds))
    elif kind in ("submission", "client"):
        add(counts, "messages_received_total", "local" if kind == "submission" else "smtp")
    elif kind == "removed":
        add(counts, "messages_removed_total")
    elif kind == "reject":
        _count_reject(counts, service, text)
    elif text.startswith("connect from "):
        add(counts, "smtpd_connections_total")
    elif tls := _TLS.match(text):
        add(counts, "tls_connections_total", "in" if tls[1] == "from" else "out", tls[2])
    elif login := _LOGIN.match(text):
        add(counts, "auth_failures_total", login[1][:20])
    elif ended := _ENDED.match(text):
        add(counts, "service_restarts_total", ended[1])


def _count_reject(counts: Counts, service: str, text: str) -> None:
    if content := _CONTENT.match(text):
        if service != "pickup":  # a submission has no client who could be refused
            add(counts, "smtpd_rejects_total", content[1], "", content[2])
        return
    found = _REPLY.search(text)
    add(counts, "smtpd_rejects_total", *((found[1], found[2], found[3] or "") if found else ("", "", "")))


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def render(counts: Counts) -> str:
    """Return all samples as Prometheus reads them (text format 0.0.4), in a fixed order."""
    lines = []
    for name, metric in METRICS.items():
        lines += [f"# HELP {PREFIX}{name} {metric.help}", f"# TYPE {PREFIX}{name} {metric.kind}"]
        samples = [name]
        if metric.kind == "histogram":
            samples = [f"{name}_bucket", f"{name}_sum", f"{name}_count"]
        for sample in samples:
            labels = (*metric.labels, "le") if sample.endswith("_bucket") else metric.labels
            rows = sorted(((key[1], value) for key, value in counts.items() if key[0] == sample), key=_order)
            lines += [f"{PREFIX}{sample}{_labels(labels, values)} {value:.17g}" for values, value in rows]
    return "\n".join(lines) + "\n"


def _order(row: tuple[tuple[str, ...], float]) -> tuple[tuple[str, ...], float]:
    """Sort by labels, and buckets by their limits."""
    *others, last = row[0] or ("",)
    try:
        return (*others, ""), float(last)
    except ValueError:
        return row[0], 0.0


def _labels(names: Iterable[str], values: Iterable[str]) -> str:
    pairs = [f'{name}="{_escaped(value)}"' for name, value in zip(names, values, strict=True)]
    return "{" + ",".join(pairs) + "}" if pairs else ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
