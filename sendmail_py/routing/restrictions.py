"""smtpd_*_restrictions: lists of words, applied when a client connects and at each of its commands.

Pure: a check is a generator that yields questions (restriction_words.Ask) and returns the Reply
that refuses, or None. The rules are Postfix's: the first word with an opinion ends its list and
only its list; smtpd_delay_reject puts off client, HELO and sender lists to each RCPT;
warn_if_reject turns the next rejection into a warning; a deferral may wait for a permit
(defer_if_permit, kept from the client's list to the recipient's) or for a reject.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..core.config import Config, split_in_braces
from ..protocol.reply import Reply
from ..protocol.server_replies import reply
from .dns_lists import DNS_WORDS, split_list
from .policy_words import POLICY_WORDS
from .restriction_scene import (
    LOG,
    MISCONFIGURED,
    WARN,
    Apply,
    Ask,
    Asking,
    DeferIf,
    Domains,
    Permit,
    Result,
    Scene,
    Subject,
)
from .restriction_words import CLOSING, TAKES_NUMBER, TAKES_TABLE, WARN_IF_REJECT, WORDS, unlisted

Check = Generator[Ask, Any, Reply | None]
_EARLY = ("client", "helo", "sender")
_OF_STAGE = {stage: f"check_{stage}_access" for stage in (*_EARLY, "recipient")}
_OF_STAGE["relay"] = _OF_STAGE["recipient"]
_TAKES_ARGUMENT = TAKES_NUMBER | TAKES_TABLE | POLICY_WORDS.keys() | DNS_WORDS.keys()
_DEPTH = 10
_STAGES = (*_EARLY, "relay", "recipient", "data", "end_of_data")


class Restriction(NamedTuple):
    """A word and its argument, "" for none."""

    word: str
    argument: str = ""


def parse(words: Sequence[str], stage: str = "") -> tuple[Restriction, ...]:
    """Read a list of restrictions; raises ValueError for a word that is not known here.

    A table alone, type:name, stands for the check of what the list is for.
    """
    found = []
    left = iter(words)
    for text in left:
        word, argument = text.lower(), ""
        if word in _TAKES_ARGUMENT:
            argument = next(left, "")
            _check_argument(word, argument)
        elif ":" in word and stage in _OF_STAGE:
            word, argument = _OF_STAGE[stage], text
        elif word not in WORDS and word != WARN_IF_REJECT:
            raise ValueError(f"{text}: no such restriction is known here")
        found.append(Restriction(word, argument))
    return tuple(found)


def _check_argument(word: str, argument: str) -> None:
    """Raise ValueError for an argument, "" for none, that a word cannot have."""
    if word in TAKES_NUMBER and not (argument.isascii() and argument.isdigit()):
        raise ValueError(f"{word} must be followed by a number")
    if word in TAKES_TABLE and ":" not in argument:
        raise ValueError(f"{word} must be followed by a table such as hash:/file")
    if word in POLICY_WORDS and not argument:
        raise ValueError(f"{word} must be followed by inet:host:port or unix:/path")
    if word in DNS_WORDS:
        split_list(argument)


@dataclass(frozen=True, slots=True)
class Rules:
    """The restrictions of one configuration."""

    lists: dict[str, tuple[Restriction, ...]]
    domains: Domains
    delay_reject: bool = True
    relay_first: bool = True
    unlisted_recipient: bool = True
    unlisted_sender: bool = False

    def tables(self) -> Iterator[str]:
        """Yield the tables that the lists name, and those that their words ask."""
        yield from self.domains.login_maps
        for words in self.lists.values():
            yield from (argument for word, argument in words if word in TAKES_TABLE)

    def services(self) -> Iterator[tuple[str, str]]:
        """Yield the policy services that the lists name, with the parameter where each stands."""
        for stage, words in self.lists.items():
            yield from ((f"smtpd_{stage}_restrictions", service) for word, service in words if word in POLICY_WORDS)


def rules_of(config: Config, domains: Domains) -> Rules:
    """Read the restrictions of a configuration; raises ValueError naming the parameter."""
    lists = {}
    for stage in _STAGES:
        name = f"smtpd_{stage}_restrictions"
        try:
            lists[stage] = parse(getattr(config, name), stage)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    if not (_closes(lists["relay"]) or _closes(lists["recipient"])):
        raise ValueError(
            "smtpd_relay_restrictions: this would be an open relay; one of reject_unauth_destination, "
            "defer_unauth_destination, reject, defer, defer_if_permit must stand here, or in "
            "smtpd_recipient_restrictions, before any permit and not after warn_if_reject"
        )
    return Rules(
        lists,
        domains,
        config.smtpd_delay_reject,
        config.smtpd_relay_before_recipient_restrictions,
        config.smtpd_reject_unlisted_recipient,
        config.smtpd_reject_unlisted_sender,
    )


def _closes(words: Sequence[Restriction]) -> bool:
    """Say whether a list refuses to relay for strangers, whatever its other words say of them."""
    is_warning = False
    for word, _ in words:
        if word == "permit" or (word in CLOSING and not is_warning):
            return word != "permit"
        is_warning = word == WARN_IF_REJECT
    return False


# What a list is about: how a refusal names it.
_SHOWN: dict[str, tuple[Callable[[Subject], str], str]] = {
    "client": (lambda subject: str(subject.client), "Client host"),
    "helo": (lambda subject: subject.helo, "Helo command"),
    "sender": (lambda subject: str(subject.sender or ""), "Sender address"),
    "recipient": (lambda subject: str(subject.recipient or ""), "Recipient address"),
    "data": (lambda _: "DATA", "Data command"),
    "end_of_data": (lambda _: "END-OF-MESSAGE", "End-of-data"),
}


class Checks:
    """The checks of one session, and what they remember: deferrals that wait for a permit.

    A check is None where there is nothing to be applied.
    """

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._if_permit: Reply | None = None
        self._if_reject: Reply | None = None
        self._kept: dict[str, Reply | None] = {}
        self._has_early = rules.unlisted_sender or any(rules.lists[stage] for stage in _EARLY)

    def connect(self, subject: Subject) -> Check | None:
        """Check a client that has connected."""
        return self._now_or_later("client", subject)

    def helo(self, subject: Subject) -> Check | None:
        """Check HELO or EHLO."""
        return self._now_or_later("helo", subject)

    def mail(self, subject: Subject) -> Check | None:
        """Check MAIL."""
        return self._now_or_later("sender", subject)

    def rcpt(self, subject: Subject) -> Check:
        """Check RCPT, and with smtpd_delay_reject all that came before it."""
        recipient = subject.recipient
        if recipient and not recipient.domain and recipient.local_part.lower() == "postmaster":
            return None  # RFC 5321 4.5.1
        if self._has_early and self._rules.delay_reject:
            for stage in _EARLY:
                refusal = yield from self._early(stage, subject)
                if refusal:
                    return refusal
        self._if_permit, self._if_reject = self._kept.get("sender"), None
        scene = self._scene("recipient", subject)
        for stage in ("relay", "recipient") if self._rules.relay_first else ("recipient", "relay"):
            refusal = (yield from self._apply_list(stage, subject, scene)) if self._rules.lists[stage] else None
            if refusal:
                return refusal
        if self._if_permit:
            return self._rejection(self._if_permit)
        if self._rules.unlisted_recipient and not scene.recipient_checked:
            return (yield from self._unlisted(unlisted(recipient, "Recipient address", "5.1.1")))
        return None

    def data(self, subject: Subject) -> Check | None:
        """Check DATA."""
        return self._late("data", subject) if self._rules.lists["data"] else None

    def end_of_data(self, subject: Subject) -> Check | None:
        """Check the end of the content."""
        return self._late("end_of_data", subject) if self._rules.lists["end_of_data"] else None

    # --- one list -----------------------------------------------------------------------------

    def _now_or_later(self, stage: str, subject: Subject) -> Check | None:
        return self._early(stage, subject) if self._has_early and not self._rules.delay_reject else None

    def _early(self, stage: str, subject: Subject) -> Check:
        """Apply a list whose deferral may be asked for only at RCPT."""
        at = _EARLY.index(stage)
        self._if_permit, self._if_reject = (self._kept.get(_EARLY[at - 1]) if at else None), None
        refusal = yield from self._apply_list(stage, subject)
        if not refusal and stage == "sender" and self._rules.unlisted_sender:
            refusal = yield from self._unlisted(unlisted(subject.sender, "Sender address", "5.1.0"))
        self._kept[stage] = self._if_permit
        return refusal

    def _late(self, stage: str, subject: Subject) -> Check:
        self._if_permit = self._if_reject = None
        refusal = yield from self._apply_list(stage, subject)
        return refusal or (self._rejection(self._if_permit) if self._if_permit else None)

    def _unlisted(self, asking: Asking) -> Check:
        result = yield from asking
        return self._rejection(result) if isinstance(result, Reply) else None

    def _scene(self, stage: str, subject: Subject) -> Scene:
        name, label = _SHOWN[stage]
        return Scene(subject, self._rules.domains, name(subject), label)

    def _apply_list(self, stage: str, subject: Subject, scene: Scene | None = None) -> Check:
        """Apply one list."""
        words = self._rules.lists[stage]
        if not words:
            return None
        result = yield from self._apply_words(words, scene or self._scene(stage, subject), stage, False, _DEPTH)
        return result if isinstance(result, Reply) else None

    def _apply_words(
        self, words: Sequence[Restriction], scene: Scene, stage: str, all_warn: bool, depth: int
    ) -> Asking:
        """Apply words, up to the first that permits or rejects."""
        warn = all_warn
        for word, argument in words:
            if word == WARN_IF_REJECT:
                warn = True
                continue
            result = yield from self._apply_word(word, argument, scene)
            if isinstance(result, Apply):
                result = yield from self._apply_found(result, scene, stage, warn, depth)
            if isinstance(result, Permit):
                return result
            refusal = self._refusal(result, warn)
            if refusal and warn and refusal is not MISCONFIGURED:
                yield Ask(WARN, refusal)
            elif refusal:
                return self._rejection(refusal)
            warn = all_warn
        return None

    def _apply_word(self, word: str, argument: str, scene: Scene) -> Asking:
        try:
            result = WORDS[word](scene, argument)
            return (yield from result) if isinstance(result, Generator) else result
        except OSError:  # a list of domains that cannot be read now
            return reply(451, "4.3.0", f"<{scene.name}>: Temporary lookup failure")

    def _apply_found(self, found: Apply, scene: Scene, stage: str, warn: bool, depth: int) -> Asking:
        """Apply the words that a table names; what makes no sense there is found out only now."""
        try:
            words = parse(split_in_braces(found.words), stage)
            if not depth:
                raise ValueError("tables refer to each other too deeply")
        except ValueError as error:
            yield Ask(LOG, f"warning: access table: {error}")
            return MISCONFIGURED
        return (yield from self._apply_words(words, scene, stage, warn, depth - 1))

    def _refusal(self, result: Result, warn: bool) -> Reply | None:
        """Return a result that refuses; a conditional deferral is remembered, or with warn_if_reject is none."""
        if not isinstance(result, DeferIf):
            return result if isinstance(result, Reply) else None
        if not result.permit:
            self._if_reject = self._if_reject or result.reply
        elif warn:
            return result.reply
        else:
            self._if_permit = self._if_permit or result.reply
        return None

    def _rejection(self, refusal: Reply) -> Reply:
        """Return the refusal, or the deferral that waited for one."""
        return self._if_reject if self._if_reject and refusal.code >= 500 else refusal
