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
    lines = list(logical_lines(text))
    main_cf = _MainCf(lines)
    for number, line in lines:
        main_cf.take(number, line)
    return main_cf.found


def _name(line: str) -> str:
    return line.partition("=")[0].strip()


class _MainCf:
    """A main.cf that is taken over line by line; what the others say counts for each."""

    def __init__(self, lines: list[tuple[int, str]]) -> None:
        texts = [line for _, line in lines]
        self.found = Import()
        self._last = {_name(line): number for number, line in lines}
        self._all = " ".join(texts)
        self._enforced = {_name(line) for line in texts if _ENFORCED.fullmatch(line)}
        mail_names = (line.partition("=")[2].strip() for line in texts if _name(line) == "mail_name")
        self._mail_name = next(mail_names, _OURS)

    def take(self, number: int, line: str) -> None:
        """Account for a line."""
        name, equals, value = (part.strip() for part in line.partition("="))
        row = (number, " ".join(line.split()))
        if not equals or not name:
            self.found.say(row, REFUSED, "this is no `name = value`")
        elif self._last[name] != number:
            self.found.overrule(row, self._last[name])
        elif name in _WITHOUT_MEANING:
            self.found.say(row, IGNORED, _WITHOUT_MEANING[name])
        elif renamed := _RENAMED.get((name, value.lower())):
            self._take_renamed(row, name, *renamed)
        elif name in BY_NAME or (not is_postfix(name) and self._is_used(name)):
            self._take_value(row, name, value)
        else:
            self.found.say(row, *_left_out(name, value))

    def _is_used(self, name: str) -> bool:
        return f"${name}" in self._all or f"${{{name}" in self._all

    def _take_renamed(self, row: tuple[int, str], name: str, new: str, value: str) -> None:
        stronger = name.replace("_use_", "_enforce_")
        if new in self._last:
            self.found.say(row, IGNORED, f"{new} says it")
        elif stronger in self._enforced - {name}:
            self.found.say(row, IGNORED, f"{stronger} asks for more")
        else:
            self.found.set(row, new, value, f"in today's words: {new} = {value}")

    def _take_value(self, row: tuple[int, str], name: str, value: str) -> None:
        absolute = _absolute(name, value)
        named = _VERSION.sub("", _MAIL_NAME.sub(lambda _: self._mail_name, absolute))
        why = "below Postfix's queue" if absolute != value else f"$mail_name is {self._mail_name}"
        self.found.set(row, name, named, f"{name} = {named}: {why}" if named != value else "")


def _left_out(name: str, value: str) -> tuple[str, str]:
    """Return the verdict on a setting that is not taken over, and why it is not."""
    anyway, words = _ANYWAY.get(name, ("", ""))
    if name == "mail_name":
        return IGNORED, "it stands in the values that name it"
    if anyway and (anyway == "*" or set(value.lower().replace(",", " ").split()) <= set(anyway.split())):
        return IGNORED, words
    if name.startswith("postscreen_") and name != "postscreen_dnsbl_sites":
        return IGNORED, "there is no postscreen; reject_rbl_client is for the SMTP server itself"
    if is_postfix(name):
        return REFUSED, f"sendmail-py does not have {name}{_INSTEAD.get(name, '')}"
    return IGNORED, "it is no parameter of Postfix's, and nothing in main.cf uses it"
