"""sendmail -bv: a probe is queued that nobody receives; its sender is told what would become of each recipient.

As with Postfix the answer comes by mail, for routing and other hosts take their time. Standard
input is not read, and -t, -N and -R have no sense here.
"""

from ..core.errors import UsageError
from .sendmail import submit
from .sendmail_options import Options


def run(directory: str, options: Options) -> None:
    """Queue the probe; raises MailError."""
    for letter, given in (("t", options.extract), ("N", options.notify), ("R", options.ret)):
        if given:
            raise UsageError(f"-{letter} cannot be used with -bv")
    options.queue_only = False
    submit(options, directory, _probe(options.recipients))


def _probe(words: list[str]) -> bytes:
    """Return the content that the report quotes; nothing in a word can begin another field."""
    to = ",\n\t".join(" ".join(word.split()) for word in words)
    return f"Subject: probe\nTo: {to}\n\n".encode("utf-8", "surrogateescape")
