"""The kinds of listeners of the SMTP server: smtp, submission, submissions; each has settings of its own.

Submission takes mail from who has logged in under TLS and from nobody else. submission_options
changes its settings, in the words of master.cf: -o name=value, or -o { name = value }. A name that
an entrance cannot have for itself is an error, never ignored.
"""

from ..core.config import Config, Setting
from ..core.errors import ConfigError
from ..core.params import BY_NAME

SMTP, SUBMISSION, SUBMISSIONS = "smtp", "submission", "submissions"
PORTS = {SMTP: "smtpd_port", SUBMISSION: "submission_port", SUBMISSIONS: "submissions_port"}
OPTIONS = "submission_options"

_SUBMISSION = {
    "smtpd_tls_security_level": "encrypt",
    "smtpd_tls_auth_only": "yes",
    "smtpd_sasl_auth_enable": "yes",
    "smtpd_sasl_auth_required": "yes",
    "smtpd_client_restrictions": "",
    "smtpd_helo_restrictions": "",
    "smtpd_sender_restrictions": "reject_sender_login_mismatch",  # as far as smtpd_sender_login_maps are set
    "smtpd_relay_restrictions": "permit_sasl_authenticated, reject",
    "smtpd_recipient_restrictions": "",
    "smtpd_data_restrictions": "",
    "smtpd_end_of_data_restrictions": "",
    "always_add_missing_headers": "yes",
}
# What an entrance may have for itself: the other smtpd_* count for all clients of all entrances together.
_OTHERS = frozenset(
    (
        "syslog_name",
        "mynetworks",
        "local_header_rewrite_clients",
        "always_add_missing_headers",
        "receive_override_options",
    )
)
_POLICY = "smtpd_policy_service_"
_COMMON = frozenset(
    (
        "smtpd_port",
        "smtpd_process_limit",
        "smtpd_peername_lookup",
        "smtpd_tls_chain_files",
        "smtpd_tls_check_interval",
        "smtpd_tls_cert_file",
        "smtpd_tls_key_file",
        "smtpd_connection_limit",
        "smtpd_client_connection_count_limit",
        "smtpd_client_connection_rate_limit",
        "smtpd_client_auth_rate_limit",
        "smtpd_auth_failure_delay",
        "smtpd_auth_failure_delay_limit",
        "smtpd_client_message_rate_limit",
        "smtpd_client_recipient_rate_limit",
        "smtpd_client_event_limit_exceptions",
    )
)


def config_of(kind: str, config: Config) -> Config:
    """Return the configuration of an entrance; raises ConfigError for options that cannot be read."""
    if kind == SMTP:
        return config
    origin = f"{config.origin(OPTIONS)}, {OPTIONS}"
    name = {"syslog_name": f"{config.text('syslog_name')}/{kind}"}  # as Debian's master.cf has it
    settings = {key: Setting(value, f"the default of {kind}") for key, value in (_SUBMISSION | name).items()}
    try:
        options = parse_options(config.text(OPTIONS))
    except ValueError as error:
        raise ConfigError(f"{origin}: {error}") from None
    settings |= {key: Setting(value, origin) for key, value in options.items()}
    return Config({**config.settings, **settings}, config.facts)


def parse_options(text: str) -> dict[str, str]:
    """Read -o name=value -o { name = value } ...; raises ValueError."""
    options: dict[str, str] = {}
    rest = " ".join(text.split())
    while rest:
        flag, _, rest = rest.partition(" ")
        if flag != "-o":
            raise ValueError(f"-o name=value or -o {{ name = value }} expected, not {flag}")
        word, rest = _word(rest.lstrip())
        name, equals, value = word.partition("=")
        if not equals:
            raise ValueError(f"{word}: name=value expected")
        options[_checked(name.strip())] = value.strip()
    return options


def _word(text: str) -> tuple[str, str]:
    if not text.startswith("{"):
        word, _, rest = text.partition(" ")
        return word, rest.lstrip()
    depth = 0
    for at, c in enumerate(text):
        depth += (c == "{") - (c == "}")
        if not depth:
            return text[1:at].strip(), text[at + 1 :].lstrip()
    raise ValueError(f"a brace is not closed: {text}")


def _checked(name: str) -> str:
    if name not in BY_NAME:
        raise ValueError(f"{name}: there is no such parameter")
    is_common = name in _COMMON or name.startswith(_POLICY)
    if is_common or not (name.startswith(("smtpd_", "milter_")) or name in _OTHERS):
        raise ValueError(f"{name} counts for the whole, it cannot be set for a port alone")
    return name
