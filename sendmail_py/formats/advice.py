"""What the status and words of a delivery mean for whoever has to mend it: a sentence, often with a command.

docs/troubleshooting.md has the same by line of the log, at more length.
"""

from typing import Final

_LOGIN = "The smarthost refuses the login: correct smtp_sasl_password_maps, then `mailctl flush`."
_CLOCK = "The clock of this host is wrong, or the server's: `mailctl check`."
_HOST = "Something on this host is not as it must be: the words say what, `mailctl check` more."
_DNS = "DNS does not answer: see /etc/resolv.conf, or resolver_nameservers; then `mailctl flush`."
OF_THIS_HOST: Final = frozenset({_LOGIN, _CLOCK, _HOST, _DNS})  # what no other host can mend
# The beginning of a status, words of the reason, and what to do; the first that fits counts.
ADVICE: Final = (
    ("4.7", "SASL authentication", _LOGIN),
    ("5.7", "SASL authentication", _LOGIN),
    ("4.7", "not yet valid", _CLOCK),
    ("4.7", "has expired", "The server's certificate has ended, or the clock of this host is wrong: `mailctl check`."),
    (
        "4.7",
        "ertificate not",
        "The server's certificate is not one that is known here: smtp_tls_CAfile, or `mailctl check`.",
    ),
    ("5.1.10", "", "The domain says that it takes no mail."),
    ("5.1.1", "", "There is no such mailbox."),
    ("5.1.2", "", "The domain does not exist, or has neither mail exchangers nor addresses."),
    ("5.2.2", "", "The mailbox is full: mailbox_size_limit, or the user's quota."),
    ("5.4.6", "loops back", "DNS sends this mail here, and no parameter says that it belongs here: `mailctl check`."),
    ("5.4.6", "", "An alias, a .forward or a server sends it in a circle: `mailctl test-delivery` shows where."),
    ("5.7", "", "The other side takes no mail from here: its words say why; `mailctl check` looks at this host's DNS."),
    ("4.2", "", "The mailbox is locked, full, or not there now."),
    ("4.3.2", "", "This host holds such mail back: see defer_transports, and the queue's own verbs."),
    ("4.3.5", "", _HOST),
    ("4.4.1", "", "No server could be reached: a firewall, port 25 closed by the provider, or a wrong relayhost."),
    ("4.4.3", "", _DNS),
    ("4.7", "", "TLS or the login failed, or the other side wants to wait: its words say which."),
)


def advice(status: str, reason: str) -> str:
    """Return what to do about a delivery that did not come about; "" where there is nothing to say."""
    return next((text for start, words, text in ADVICE if status.startswith(start) and words in reason), "")
