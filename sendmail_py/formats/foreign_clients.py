"""The configuration of msmtp or ssmtp as main.cf: what each line becomes, in plain words. Pure."""

from collections.abc import Callable, Iterator

from .foreign_config import CHANGED, HONOURED, IGNORED, REFUSED, Import

# --- msmtp ---------------------------------------------------------------------------------------


def from_msmtp(text: str) -> Import:
    """Read an msmtprc: the defaults and the account that is used by default; further accounts are refused."""
    found = Import()
    known: dict[str, str] = {}
    lines = list(_msmtp_lines(text))
    last = {key: row[0] for row, account, key, _ in lines if not account}
    for row, account, key, value in lines:
        if account:
            found.say(row, REFUSED, f"account {account}: only the default one; see sender_dependent_relayhost_maps")
        elif key in ("defaults", "account"):
            found.say(row, HONOURED, "where the settings that follow belong")
        elif last[key] != row[0]:
            found.overrule(row, last[key])
        else:
            known[key] = value
            _MSMTP.get(key, _no_msmtp)(found, row, value)
    return _with_server(found, known.get("host", ""), known.get("port", ""), known)


def _msmtp_lines(text: str) -> Iterator[tuple[tuple[int, str], str, str, str]]:
    """Yield each line with the account it is for, "" for what counts by default, its key and its value."""
    lines = [
        (number, line.strip())
        for number, line in enumerate(text.splitlines(), 1)
        if line.strip() and line.lstrip()[0] != "#"
    ]
    names = [line.split()[1] for _, line in lines if line.split()[0] == "account" and len(line.split()) > 1]
    chosen = next(
        (line.partition(":")[2].strip() for _, line in lines if line.split()[:2] == ["account", "default"]), ""
    )
    default = chosen or ("default" if "default" in names else names[0] if names else "")
    account = ""
    for number, line in lines:
        key, _, value = line.partition(" ")
        value = value.strip().strip('"')
        if key == "defaults":
            account = ""
        elif key == "account":
            name = value.split(":")[0].strip()
            account = "" if name in (default, "default") else name
        yield (number, _without_secret(line)), account, key, value


def _no_msmtp(found: Import, row: tuple[int, str], value: str) -> None:
    found.say(row, REFUSED, "there is nothing like it here")


def _ignored(words: str) -> Callable[[Import, tuple[int, str], str], None]:
    return lambda found, row, value: found.say(row, IGNORED, words)


def _taken(words: str) -> Callable[[Import, tuple[int, str], str], None]:
    return lambda found, row, value: found.say(row, HONOURED, words)


def _as(name: str) -> Callable[[Import, tuple[int, str], str], None]:
    return lambda found, row, value: found.set(row, name, value, f"{name} = {value}")


def _sender(found: Import, row: tuple[int, str], value: str) -> None:
    domain = value.rpartition("@")[2]
    if "@" in value and "%" not in value:
        found.set(row, "myorigin", domain, f"myorigin = {domain}: users keep their names, with this domain")
    else:
        found.say(row, REFUSED, "patterns are no senders here; see sender_canonical_maps")


def _fingerprint(found: Import, row: tuple[int, str], value: str) -> None:
    found.settings["smtp_tls_security_level"] = "fingerprint"
    found.set(row, "smtp_tls_fingerprint_cert_match", value, f"smtp_tls_fingerprint_cert_match = {value}")


_MSMTP: dict[str, Callable[[Import, tuple[int, str], str], None]] = {
    "host": _taken("the relayhost"),
    "port": _taken("the relayhost's port"),
    "tls": _taken("see smtp_tls_security_level below"),
    "tls_starttls": _taken("see smtp_tls_wrappermode below"),
    "tls_certcheck": _taken("see smtp_tls_security_level below"),
    "auth": _taken("see smtp_sasl_auth_enable below"),
    "user": _taken("the login at the relayhost"),
    "password": _taken("the login at the relayhost; it goes into a file that the SMTP client alone reads"),
    "passwordeval": lambda found, row, value: found.say(
        row, REFUSED, "no program is run for a password: put it into the password file yourself"
    ),
    "from": _sender,
    "maildomain": _as("myorigin"),
    "domain": _as("smtp_helo_name"),
    "tls_trust_file": lambda found, row, value: (
        found.say(row, HONOURED, "the system's authorities count")
        if value in ("system", "/etc/ssl/certs/ca-certificates.crt")
        else _as("smtp_tls_CAfile")(found, row, value)
    ),
    "tls_cert_file": _as("smtp_tls_cert_file"),
    "tls_key_file": _as("smtp_tls_key_file"),
    "tls_fingerprint": _fingerprint,
    "aliases": lambda found, row, value: found.set(
        row, "alias_maps", f"hash:{value}", f"alias_maps = hash:{value}: for users of this host alone"
    ),
    "timeout": _as("smtp_connect_timeout"),
    "logfile": _ignored("the log goes to syslog; see maillog_file"),
    "syslog": _ignored("the log goes to syslog anyway"),
    "auto_from": _ignored("bare senders get myorigin anyway"),
    "add_missing_date_header": _ignored("a missing date is always added"),
    "add_missing_from_header": _ignored("a missing From is always added"),
    "remove_bcc_headers": _ignored("Bcc is always removed"),
    "undisclosed_recipients": _ignored("recipients are never added to the header"),
    "dsn_notify": _ignored("programs ask with -N"),
    "dsn_return": _ignored("programs ask with -R"),
}


# --- ssmtp ---------------------------------------------------------------------------------------


def from_ssmtp(text: str) -> Import:
    """Read an ssmtp.conf."""
    found = Import()
    known: dict[str, str] = {}
    stripped = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1)]
    lines = [(number, line) for number, line in stripped if line and line[0] != "#"]
    last = {line.partition("=")[0].strip().lower(): number for number, line in lines}
    for number, line in lines:
        key, _, value = (part.strip() for part in line.partition("="))
        row, key = (number, _without_secret(line)), key.lower()
        if last[key] != number:
            found.overrule(row, last[key])
        else:
            known[key] = value.strip('"')
            _SSMTP.get(key, _no_msmtp)(found, row, known[key])
    server = known.get("mailhub", "")
    host, _, port = server.partition(":")
    tls = {"tls": "on" if {known.get("usetls", "").lower(), known.get("usestarttls", "").lower()} & {"yes"} else "off"}
    tls["tls_starttls"] = "on" if known.get("usestarttls", "").lower() == "yes" else "off"
    tls |= {"user": known.get("authuser", ""), "password": known.get("authpass", ""), "tls_certcheck": "off"}
    tls["auth"] = "on" if tls["user"] else "off"
    return _with_server(found, host, port, tls)


def _root(found: Import, row: tuple[int, str], value: str) -> None:
    if value:
        found.root = value
        found.say(row, CHANGED, f"root's mail: the alias `root: {value}`, in the alias file")
    else:
        found.say(row, HONOURED, "root's mail goes to root")


_SSMTP: dict[str, Callable[[Import, tuple[int, str], str], None]] = {
    "mailhub": _taken("the relayhost"),
    "root": _root,
    "rewritedomain": _as("myorigin"),
    "hostname": _as("myhostname"),
    "fromlineoverride": _ignored("a From line of a message always stays"),
    "authuser": _taken("the login at the relayhost"),
    "authpass": _taken("the login at the relayhost; it goes into a file that the SMTP client alone reads"),
    "authmethod": lambda found, row, value: found.set(
        row, "smtp_sasl_mechanism_filter", value.lower(), f"smtp_sasl_mechanism_filter = {value.lower()}"
    ),
    "usetls": _taken("see smtp_tls_security_level below"),
    "usestarttls": _taken("see smtp_tls_wrappermode below"),
    "tls_ca_file": _as("smtp_tls_CAfile"),
    "tlscert": _as("smtp_tls_cert_file"),
    "tlskey": _as("smtp_tls_key_file"),
    "usetlscert": _ignored("a certificate that is set is used"),
    "debug": _ignored("the log says everything"),
}


# --- what both have in common --------------------------------------------------------------------


def _without_secret(line: str) -> str:
    """Return a line as it may be shown."""
    word = line.replace("=", " ").split(None, 1)[0].lower()
    return f"{word} ..." if word in ("password", "authpass") else " ".join(line.split())


def _with_server(found: Import, host: str, port: str, known: dict[str, str]) -> Import:
    """Set what several lines say together: the relayhost, its TLS and its login."""
    if not host:
        return found
    has_tls = known.get("tls", "off").lower() == "on"
    is_wrapped = has_tls and known.get("tls_starttls", "on").lower() == "off"
    level = "none" if not has_tls else "encrypt" if known.get("tls_certcheck", "on").lower() == "off" else "secure"
    found.settings["relayhost"] = f"[{host}]:{port or ('465' if is_wrapped else '25')}"
    found.settings.setdefault("smtp_tls_security_level", level)
    if is_wrapped:
        found.settings["smtp_tls_wrappermode"] = "yes"
    if known.get("auth", "off").lower() != "off" and known.get("user"):
        found.settings["smtp_sasl_auth_enable"] = "yes"
        if not has_tls:
            found.settings["smtp_sasl_security_options"] = "noanonymous"
        if known.get("password"):
            found.login = f"{known['user']}:{known['password']}"
    return found
