"""mailctl tls-probe DOMAIN: what would become of mail to a domain as far as TLS goes, and why. No mail is sent.

Exit status 0 when it would go under TLS, 2 when in clear, 75 when it would wait, 1 when it would be refused.
"""

import asyncio
import json
import os
import time
from typing import Any

from ...core.address import Address
from ...core.config import Config
from ...core.errors import MailError, UsageError
from ...core.exitcodes import EX_OK, EX_TEMPFAIL
from ...core.route import SMTP
from ...formats.sts import NONE
from ...host.configuration import load
from ...host.syslog import Log, escape
from ...routing.transport import split_nexthops
from ...services.routes import check_routing, routing_of
from ...services.smtp_checks import check_smtp
from ...services.sts_policies import StsAnswer
from ...services.tls_files import client_chains, client_files, open_files
from ...services.tls_probe import AUTHENTICATED, CLEAR_TEXT, ENCRYPTED, REFUSED, WAITS, HostReport, Report, TlsProbe
from ..terminal import fitted
from .parser import Parser
from .smtp_client_user import become_smtp_client

_CODES = {AUTHENTICATED: EX_OK, ENCRYPTED: EX_OK, CLEAR_TEXT: 2, WAITS: EX_TEMPFAIL, REFUSED: 1}


def main(arguments: list[str], directory: str) -> int:
    """Run the verb."""
    parser = Parser("tls-probe", "Say what TLS mail to a domain would have, and why; nothing is sent.")
    parser.add_argument("domain", metavar="DOMAIN", help="or a nexthop as relayhost has it: [host]:port")
    parser.add_argument("-j", "--json", action="store_true", help="as JSON")
    options = parser.parse_args(arguments)
    config, _ = load(directory)
    check_routing(config)
    check_smtp(config)
    nexthops = _nexthops(config, options.domain)
    log = Log.of(config, "mailctl", os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC))
    chains = client_chains(config, log, open_files(client_files(config), log, ""))
    become_smtp_client(config)
    reports = asyncio.run(_probe(TlsProbe(config, log, chains), nexthops))
    if options.json:
        print(json.dumps([as_json(report) for report in reports], indent=1))
    else:
        for report in reports:
            print(
                "\n".join(fitted(escape(line)) for text in lines(report, options.domain) for line in text.split("\n"))
            )
    return min((_CODES[report.end] for report in reports), key=_worth)


def _worth(code: int) -> int:
    return (EX_OK, 2, 1, EX_TEMPFAIL).index(code)


async def _probe(probe: TlsProbe, nexthops: list[str]) -> list[Report]:
    return list(await asyncio.gather(*(probe.of(nexthop) for nexthop in nexthops)))


def _nexthops(config: Config, domain: str) -> list[str]:
    """Return where mail to a domain goes; a nexthop that is written as one is itself."""
    if domain.startswith("[") or ":" in domain:
        return [domain]
    try:
        route = routing_of(config, lambda text: None).route(Address("postmaster", domain.removesuffix(".")))
    except ValueError as error:
        raise UsageError(f"{domain}: {error}") from error
    if route.transport != SMTP:
        raise MailError(f"mail to {domain} goes to {route.transport}, where no TLS is in play")
    return split_nexthops(route.nexthop) or [domain]


# --- for people -----------------------------------------------------------------------------------


def lines(report: Report, domain: str) -> list[str]:
    """Return a report as a person reads it."""
    through = "" if report.nexthop.lower() == domain.lower() else f": it goes through {report.nexthop}"
    text = [f"Mail to {domain}{through}"]
    if report.mail_exchangers:
        text.append(_line("MX", ", ".join(f"{preference} {host}" for preference, host in report.mail_exchangers)))
    text.append(_line("DNSSEC", _of_dnssec(report)))
    if report.sts:
        text += _of_sts(report.sts)
    for host in report.hosts:
        text += ["", str(host.target), *_of_host(host)]
    return [*text, "", final_word(report)]


def _line(name: str, text: str) -> str:
    return f"  {name:<12} {text}"


def _of_dnssec(report: Report) -> str:
    if not report.has_dnssec:
        return "not looked at: no level asks for DANE, or no name server is trusted with it"
    signed = ["MX"] if report.has_secure_mx else []
    signed += [f"the address of {host.target.host}" for host in report.hosts if host.target.provenance.is_secure]
    return f"signed: {', '.join(dict.fromkeys(signed))}" if signed else "nothing is signed"


def _of_sts(sts: StsAnswer) -> list[str]:
    text = []
    if sts.policy and sts.kept:
        fetched, ends = map(_date, (sts.kept.fetched_at, sts.kept.ends_at))
        text.append(_line("MTA-STS", f"{sts.policy} (id {sts.kept.id}, fetched {fetched}, counts until {ends})"))
    elif not sts.trouble:
        text.append(_line("MTA-STS", "no policy"))
    if sts.trouble:
        text.append(_line("MTA-STS", f"{'it cannot be renewed' if sts.policy else 'no policy'}: {sts.trouble}"))
    return text


def _of_host(host: HostReport) -> list[str]:
    text = []
    if host.level:
        names = f", the certificate for {', '.join(host.names)}" if host.names else ""
        text.append(_line("asked", f"{host.level}{names} (by {host.why})"))
    for record, counts, is_secure in host.tlsa:
        why = "" if counts else " (not in use)" if is_secure else " (not in use; DNSSEC is not known to secure it)"
        text.append(_line("TLSA", f"{record}{why}"))
    if host.tls:
        text.append(_line("TLS", host.tls))
    if host.certificate:
        text.append(_line("certificate", _of_certificate(host.certificate)))
    if host.testing:
        text.append(_line("testing", f"MTA-STS would refuse it: {host.testing}"))
    return [*text, _line("verdict", host.end + (f": {host.reason}" if host.reason else ""))]


def _of_certificate(row: dict[str, Any]) -> str:
    if "trouble" in row:
        return f"it cannot be read: {row['trouble']}"
    names = ", ".join(row["names"]) or f"nobody (subject {row['subject']})"
    word = "until" if row["ends_at"] > time.time() else "expired"
    return f"for {names}; by {row['issuer']}; {word} {_date(row['ends_at'])}"


def _date(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def final_word(report: Report) -> str:
    """Return what would become of the mail, in a sentence."""
    if report.chosen is None:
        if report.end == REFUSED:
            return f"It would be returned to its sender: {report.reason}"
        return f"It would wait: {report.reason}"
    host = report.chosen
    how = {
        AUTHENTICATED: f"encrypted and authenticated, as {host.why} wants it",
        ENCRYPTED: "encrypted, to a host that nobody has vouched for",
        CLEAR_TEXT: "in clear",
    }[host.end]
    why = f", for {host.reason}" if host.end == CLEAR_TEXT and host.reason else ""
    return f"It would be delivered to {host.target.host} {how}{why}."


# --- for programs ---------------------------------------------------------------------------------


def as_json(report: Report) -> dict[str, Any]:
    """Return a report as plain values."""
    return {
        "nexthop": report.nexthop,
        "mail_exchangers": [{"preference": preference, "host": host} for preference, host in report.mail_exchangers],
        "dnssec": {"judged": report.has_dnssec, "mx": report.has_secure_mx},
        "mta_sts": _sts_as_json(report.sts),
        "hosts": [_host_as_json(host) for host in report.hosts],
        "end": report.end,
        "reason": report.reason,
        "host": report.chosen.target.host if report.chosen else None,
        "why": report.chosen.why if report.chosen else None,
    }


def _sts_as_json(sts: StsAnswer | None) -> dict[str, Any] | None:
    if sts is None:
        return None
    row: dict[str, Any] = {"id": sts.id, "trouble": sts.trouble, "mode": sts.policy.mode if sts.policy else NONE}
    if sts.policy and sts.kept:
        row |= {"mx": list(sts.policy.mx), "max_age": sts.policy.max_age, "kept_id": sts.kept.id}
        row |= {"fetched_at": sts.kept.fetched_at, "ends_at": sts.kept.ends_at}
    return row


def _host_as_json(host: HostReport) -> dict[str, Any]:
    target = host.target
    row: dict[str, Any] = {"host": target.host, "address": target.address, "port": target.port}
    row |= {"preference": target.preference, "level": host.level, "why": host.why, "names": list(host.names)}
    row["secure_address"] = target.provenance.is_secure
    row |= {"tls": host.tls, "certificate": host.certificate or None, "end": host.end, "reason": host.reason}
    row["tlsa"] = [{"record": record, "counts": counts, "secure": secure} for record, counts, secure in host.tlsa]
    return row | {"testing": host.testing}
