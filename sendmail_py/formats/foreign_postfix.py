"""Postfix's main.cf as one of ours: what each line becomes, in plain words. Pure."""

import re

from ..core.params import BY_NAME
from ..core.postfix_names import is_postfix
from .foreign_config import IGNORED, REFUSED, Import
from .logical_lines import logical_lines

_OWN = "it names Postfix's own files, users or programs; sendmail-py has its own"
_WITHOUT_MEANING = {
    "compatibility_level": "behaviour is always the newest",
    "biff": "nobody is told at a terminal that mail has come",
    "append_dot_mydomain": "no domain is ever added to one without a dot",
    "smtp_tls_session_cache_database": "sessions are kept in memory",
    "smtpd_tls_session_cache_database": "sessions are kept in memory and by tickets",
    "alias_database": "aliases are read as text: there is nothing to build",
    "tls_random_source": "random numbers come from the kernel",
    "debug_peer_level": "the log says everything",
    "debugger_command": "there is no such debugger",
} | dict.fromkeys(
    (
        "queue_directory command_directory daemon_directory data_directory config_directory mail_owner setgid_group "
        "default_privs_group sendmail_path newaliases_path mailq_path html_directory manpage_directory "
        "sample_directory readme_directory meta_directory shlib_directory syslog_name process_id_directory"
    ).split(),
    _OWN,
)
_OURS = "sendmail-py"
_ALWAYS = "that is how it is here anyway"
# What Postfix has and we have not: values that ask for nothing but what we do (* is any), and why nothing is lost.
_ANYWAY: dict[str, tuple[str, str]] = {
    "disable_vrfy_command": ("*", "VRFY tells nobody who is a user"),
    "unknown_local_recipient_reject_code": ("550", _ALWAYS),
    "show_user_unknown_table_name": ("yes", _ALWAYS),
    "smtputf8_enable": ("yes", _ALWAYS),
    "enable_original_recipient": ("yes", _ALWAYS),
    "tls_ssl_options": ("no_compression no_renegotiation", "neither compression nor renegotiation is ever done"),
    "smtpd_tls_dh1024_param_file": ("*", "keys are agreed on by elliptic curves"),
    "smtpd_tls_dh512_param_file": ("*", "keys are agreed on by elliptic curves"),
    "smtp_tls_note_starttls_offer": ("*", "it is for the log alone"),
    "respectful_logging": ("*", "it is for words of the log alone"),
    "backwards_bounce_logfile_compatibility": ("*", "it is for Postfix's own files"),
    "proxy_read_maps": ("*", "there is no proxymap: each service reads its tables itself"),
    "smtpd_proxy_timeout": ("*", "it is for smtpd_proxy_filter, which is not there"),
}
_RENAMED: dict[tuple[str, str], tuple[str, str]] = {
    ("smtp_use_tls", "yes"): ("smtp_tls_security_level", "may"),
    ("smtp_use_tls", "no"): ("smtp_tls_security_level", "none"),
    ("smtp_enforce_tls", "yes"): ("smtp_tls_security_level", "encrypt"),
    ("smtpd_use_tls", "yes"): ("smtpd_tls_security_level", "may"),
    ("smtpd_enforce_tls", "yes"): ("smtpd_tls_security_level", "encrypt"),
}
_ENFORCED = re.compile(r"\s*smtpd?_enforce_tls\s*=\s*yes\s*", re.IGNORECASE)
_INSTEAD = {
    "postscreen_dnsbl_sites": ": reject_rbl_client in smtpd_client_restrictions asks such lists",
    "content_filter": ": filters are milters here (smtpd_milters, non_smtpd_milters)",
    "mynetworks_style": ": write the networks into mynetworks",
}


_MAIL_NAME = re.compile(r"\$(mail_name\b|\{mail_name\}|\(mail_name\))")
_VERSION = re.compile(r"[ /-]*\(?\$(mail_version\b|\{mail_version\}|\(mail_version\))\)?")
_QUEUE = "/var/spool/postfix/"
_RELATIVE = re.compile(r"\b((?:unix|local):)(?=[\w.-]+/)")


def _absolute(name: str, value: str) -> str:
    """Return a value whose sockets are named by absolute paths; Postfix takes others for names below its queue."""
    if name == "smtpd_sasl_path" and "/" in value and value[0] != "/" and ":" not in value:
        return _QUEUE + value
    return _RELATIVE.sub(rf"\1{_QUEUE}", value)


def from_postfix(text: str) -> Import:
    """Read Postfix's main.cf."""
    found = Import()
    lines = list(logical_lines(text))
    values = " ".join(line for _, line in lines)
    last = {line.partition("=")[0].strip(): number for number, line in lines}
    enforced = {line.partition("=")[0].strip() for _, line in lines if _ENFORCED.fullmatch(line)}
    mail_name = next((v.strip() for n, _, v in (x.partition("=") for _, x in lines) if n.strip() == "mail_name"), _OURS)
    for number, line in lines:
        name, equals, value = (part.strip() for part in line.partition("="))
        row = (number, " ".join(line.split()))
        renamed = _RENAMED.get((name, value.lower()))
        anyway, words = _ANYWAY.get(name, ("", ""))
        if not equals or not name:
            found.say(row, REFUSED, "this is no `name = value`")
        elif last[name] != number:
            found.overrule(row, last[name])
        elif name in _WITHOUT_MEANING:
            found.say(row, IGNORED, _WITHOUT_MEANING[name])
        elif renamed and renamed[0] in last:
            found.say(row, IGNORED, f"{renamed[0]} says it")
        elif renamed and name.replace("_use_", "_enforce_") in enforced - {name}:
            found.say(row, IGNORED, f"{name.replace('_use_', '_enforce_')} asks for more")
        elif renamed:
            found.set(row, *renamed, f"in today's words: {renamed[0]} = {renamed[1]}")
        elif name in BY_NAME or (not is_postfix(name) and (f"${name}" in values or f"${{{name}" in values)):
            absolute = _absolute(name, value)
            named = _VERSION.sub("", _MAIL_NAME.sub(lambda _: mail_name, absolute))
            words = "below Postfix's queue" if absolute != value else f"$mail_name is {mail_name}"
            found.set(row, name, named, f"{name} = {named}: {words}" if named != value else "")
        elif name == "mail_name":
            found.say(row, IGNORED, "it stands in the values that name it")
        elif anyway and (anyway == "*" or set(value.lower().replace(",", " ").split()) <= set(anyway.split())):
            found.say(row, IGNORED, words)
        elif name.startswith("postscreen_") and name != "postscreen_dnsbl_sites":
            found.say(row, IGNORED, "there is no postscreen; reject_rbl_client is for the SMTP server itself")
        elif is_postfix(name):
            found.say(row, REFUSED, f"sendmail-py does not have {name}{_INSTEAD.get(name, '')}")
        else:
            found.say(row, IGNORED, "it is no parameter of Postfix's, and nothing in main.cf uses it")
    return found
