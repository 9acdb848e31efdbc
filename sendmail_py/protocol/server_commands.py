"""Command lines as a server reads them: one line becomes one event, with the answer that is due.

Guarantees: what an event holds has been checked: numbers are ASCII digits, ENVID and ORCPT are
xtext without hidden control characters, addresses are as server_paths promises. Bad lines are
events too, Refused, whose answer says what is wrong.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..core.address import Address
from . import server_replies as replies
from .commands import Verb
from .reply import Reply
from .server_paths import read_common, read_path, split_path

_ENVID_LIMIT = 100  # RFC 3461 4.4
_ORCPT_LIMIT = 500  # RFC 3461 4.2
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NUMBER = re.compile(r"[0-9]{1,20}")
_CHUNK = re.compile(r"([0-9]{1,18})( +LAST)?", re.IGNORECASE | re.ASCII)
_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+(?:[2-689A-F][0-9A-F]|7[0-9A-E]))+")  # RFC 3461 4, without encoded controls
_SUBMITTER = re.compile(rf"<>|{_XTEXT.pattern}")
_MECHANISM = re.compile(r"[A-Z0-9_\-]{1,20}")  # RFC 4422 3.1
_BODY = re.compile("7BIT|8BITMIME", re.IGNORECASE | re.ASCII)
_RET = re.compile("FULL|HDRS", re.IGNORECASE | re.ASCII)
_ADDRESS_TYPE = re.compile(r"[A-Za-z0-9\-]{1,40}")
_UNSEEN_UNICODE = re.compile("[\x80-\x9f\u2028\u2029]")
# Parameters, and the extensions that they belong to.
_OF_MAIL = {"SIZE": "SIZE", "BODY": "8BITMIME", "SMTPUTF8": "SMTPUTF8", "RET": "DSN", "ENVID": "DSN", "AUTH": "AUTH"}
_OF_RCPT = {"NOTIFY": "DSN", "ORCPT": "DSN"}
_NOTIFY = frozenset(("SUCCESS", "FAILURE", "DELAY"))
# A browser made to speak to this port would have its form's text read as commands. A header field is none either.
_OTHER_PROTOCOLS = frozenset(("GET", "POST", "PUT", "HEAD", "DELETE", "OPTIONS", "CONNECT", "PRI"))
_VERBS = {verb.value: verb for verb in Verb if verb not in (Verb.CONNECT, Verb.LHLO, Verb.DOT, Verb.LAST)}
_NOT_IMPLEMENTED = frozenset(("STARTTLS", "AUTH", "EXPN", "TURN", "ETRN", "SEND", "SOML", "SAML"))


@dataclass(frozen=True, slots=True)
class Plain:
    """A command without an argument of interest (DATA, RSET, STARTTLS and so on); or DOT, the end of the content."""

    verb: Verb
    answer: Reply


@dataclass(frozen=True, slots=True)
class Hello:
    """EHLO or HELO: whatever was begun is forgotten."""

    verb: Verb
    answer: Reply
    name: str


@dataclass(frozen=True, slots=True)
class Mail:
    """MAIL: a transaction begins, where the answer is positive. size is 0 where none was declared."""

    answer: Reply
    sender: Address
    size: int
    body: str
    smtputf8: bool
    ret: str
    envid: str
    verb: Verb = Verb.MAIL


@dataclass(frozen=True, slots=True)
class Rcpt:
    """RCPT: a recipient, with its wishes for delivery reports (RFC 3461)."""

    answer: Reply
    address: Address
    notify: tuple[str, ...]
    original: str
    verb: Verb = Verb.RCPT


@dataclass(frozen=True, slots=True)
class Chunk:
    """BDAT (RFC 3030), told when its octets have come. They were Content where the answer is positive, else dropped."""

    verb: Verb  # BDAT or LAST
    answer: Reply
    size: int


@dataclass(frozen=True, slots=True)
class Auth:
    """AUTH (RFC 4954), or with no mechanism what a client says to a challenge: base64, "*" to give up.

    response is None where AUTH has none, and where a line was too long to be kept.
    """

    answer: Reply  # where there is nobody to ask
    mechanism: str
    response: str | None
    verb: Verb = Verb.AUTH


@dataclass(frozen=True, slots=True)
class Refused:
    """A line that is no command, or not now; the answer says why, verb which one it would be."""

    answer: Reply
    verb: Verb | None = None


Command = Plain | Hello | Mail | Rcpt | Chunk | Auth | Refused


class _Bad(Exception):
    """Holds the answer to a line that cannot be understood."""

    def __init__(self, answer: Reply) -> None:
        super().__init__(answer)
        self.answer = answer


class CommandReader:
    """Reads lines for a server of this name and these extensions (keyword: value)."""

    def __init__(self, hostname: str, extensions: Mapping[str, str]) -> None:
        self._hostname = hostname
        self._extensions = extensions
        limit = extensions.get("SIZE", "")
        self._size_limit = int(limit) if _NUMBER.fullmatch(limit) else 0
        self._plain: dict[str, Callable[[str], Plain]] = {
            "DATA": lambda argument: _alone(Verb.DATA, argument, replies.GO_ON),
            "RSET": lambda argument: _alone(Verb.RSET, argument, replies.OK),
            "NOOP": lambda _: Plain(Verb.NOOP, replies.OK),
            "QUIT": lambda _: Plain(Verb.QUIT, replies.BYE),
            "HELP": lambda _: Plain(Verb.HELP, replies.COMMANDS),
            "VRFY": _vrfy,
        }
        if "STARTTLS" in extensions:
            self._plain["STARTTLS"] = lambda argument: _alone(Verb.STARTTLS, argument, replies.START_TLS)

    def read(self, line: bytes, smtputf8: bool) -> Command:
        """Return what a line without its end means; smtputf8: the transaction under way may use UTF-8."""
        if (common := read_common(line)) and (command := self._common(*common)):
            return command
        word = ""
        try:
            text = line.decode().replace("\t", " ").strip(" ")
            if _CONTROL.search(text):
                raise _Bad(replies.BAD_CHARACTERS)
            word, _, argument = text.partition(" ")
            word = _upper(word)
            return self._read(word, argument.strip(" "), smtputf8)
        except UnicodeDecodeError:
            return Refused(replies.BAD_CHARACTERS)
        except _Bad as error:
            return Refused(error.answer, _VERBS.get(word))

    def _common(self, is_mail: bool, address: Address, size: str) -> Command | None:
        """Return MAIL or RCPT, None where a parameter needs a closer look."""
        number = int(size or "0")
        if size and not (is_mail and "SIZE" in self._extensions and number <= (self._size_limit or number)):
            return None
        if is_mail:
            return Mail(replies.SENDER_OK, address, number, "", False, "", "")
        return Rcpt(replies.RECIPIENT_OK, address, (), "")

    def _read(self, word: str, argument: str, smtputf8: bool) -> Command:
        if word == "MAIL":
            return self._mail(argument)
        if word == "RCPT":
            return self._rcpt(argument, smtputf8)
        if word in ("EHLO", "HELO"):
            return self._hello(Verb(word), argument)
        if word == "BDAT":
            return self._chunk(argument)
        if word in self._plain:
            return self._plain[word](argument)
        if word == "AUTH" and "AUTH" in self._extensions:
            return _auth(argument)
        if word in _OTHER_PROTOCOLS or ":" in word:
            raise _Bad(replies.NOT_SMTP)
        raise _Bad(replies.NOT_IMPLEMENTED if word in _NOT_IMPLEMENTED else replies.UNKNOWN_COMMAND)

    def _hello(self, verb: Verb, argument: str) -> Hello:
        if not argument:
            raise _Bad(replies.syntax(f"{verb.value} hostname"))
        extensions = self._extensions if verb is Verb.EHLO else {}
        return Hello(verb, replies.hello(self._hostname, extensions), argument.partition(" ")[0])

    def _mail(self, argument: str) -> Mail:
        path, words = _after("FROM:", argument, "MAIL FROM:<address>")
        given = self._parameters(words, _OF_MAIL)
        smtputf8 = "SMTPUTF8" in given
        sender = _address(path, replies.BAD_SENDER)
        size = _one_of("SIZE", given, _NUMBER)
        body = _one_of("BODY", given, _BODY).upper()
        ret = _one_of("RET", given, _RET).upper()
        envid = _one_of("ENVID", given, _XTEXT)
        _one_of("AUTH", given, _SUBMITTER)  # who says so is not trusted: it goes no further (RFC 4954 5)
        if given.get("SMTPUTF8") or len(envid) > _ENVID_LIMIT:
            raise _Bad(replies.bad_value("ENVID" if envid else "SMTPUTF8"))
        is_too_large = self._size_limit and int(size or "0") > self._size_limit
        answer = replies.TOO_LARGE if is_too_large else replies.SENDER_OK
        return Mail(answer, sender, int(size or "0"), body, smtputf8, ret, envid)

    def _rcpt(self, argument: str, smtputf8: bool) -> Rcpt:
        path, words = _after("TO:", argument, "RCPT TO:<address>")
        given = self._parameters(words, _OF_RCPT)
        address = _address(path, replies.BAD_RECIPIENT)
        if not address:
            raise _Bad(replies.BAD_RECIPIENT)
        notify = _notify(given["NOTIFY"]) if "NOTIFY" in given else ()
        original = _original(given["ORCPT"], smtputf8) if "ORCPT" in given else ""
        return Rcpt(replies.RECIPIENT_OK, address, notify, original)

    def _chunk(self, argument: str) -> Chunk:
        """Read BDAT. Without a size that can be read, what comes next may be anything: the session must end."""
        found = _CHUNK.fullmatch(argument)
        if "CHUNKING" not in self._extensions or not found:
            raise _Bad(replies.BAD_CHUNK if "CHUNKING" in self._extensions else replies.NO_CHUNKS)
        size = int(found[1])
        return Chunk(Verb.LAST if found[2] else Verb.BDAT, replies.chunk_taken(size), size)

    def _parameters(self, words: list[str], known: Mapping[str, str]) -> dict[str, str]:
        """Return the parameters of a command, each once, and only those whose extension is offered."""
        given: dict[str, str] = {}
        for word in words:
            keyword, _, value = word.partition("=")
            keyword = _upper(keyword)
            if keyword not in known or known[keyword] not in self._extensions:
                raise _Bad(replies.UNKNOWN_PARAMETER)
            if keyword in given or word.endswith("=") or (not value and keyword != "SMTPUTF8"):
                raise _Bad(replies.bad_value(keyword))
            given[keyword] = value
        return given


def _upper(text: str) -> str:
    """Return a word of the protocol in upper case; outside ASCII there are no such words (a long s is no S)."""
    return text.upper() if text.isascii() else text


def _alone(verb: Verb, argument: str, answer: Reply) -> Plain:
    if argument:
        raise _Bad(replies.syntax(verb.value))
    return Plain(verb, answer)


def _auth(argument: str) -> Auth:
    mechanism, _, response = argument.partition(" ")
    mechanism, response = _upper(mechanism), response.strip(" ")
    if not _MECHANISM.fullmatch(mechanism) or " " in response:
        raise _Bad(replies.syntax("AUTH mechanism"))
    return Auth(replies.NO_MECHANISM, mechanism, response or None)


def _vrfy(argument: str) -> Plain:
    if not argument:
        raise _Bad(replies.syntax("VRFY address"))
    return Plain(Verb.VRFY, replies.NO_VERIFICATION)


def _after(prefix: str, argument: str, usage: str) -> tuple[str, list[str]]:
    """Return the path and the parameters of MAIL or RCPT."""
    found = split_path(argument[len(prefix) :]) if _upper(argument[: len(prefix)]) == prefix else None
    if not found:
        raise _Bad(replies.syntax(usage))
    return found


def _address(path: str, answer: Reply) -> Address:
    """Return the address of a path. UTF-8 needs no SMTPUTF8, as in sendmail and Postfix: the queue looks itself."""
    address = read_path(path)
    if address is None:
        raise _Bad(answer)
    return address


def _one_of(keyword: str, given: Mapping[str, str], form: re.Pattern[str]) -> str:
    """Return a parameter, "" where it is not given."""
    value = given.get(keyword, "")
    if value and not form.fullmatch(value):
        raise _Bad(replies.bad_value(keyword))
    return value


def _notify(value: str) -> tuple[str, ...]:
    words = tuple(_upper(value).split(","))
    if words != ("NEVER",) and (not _NOTIFY.issuperset(words) or len(set(words)) < len(words)):
        raise _Bad(replies.bad_value("NOTIFY"))
    return words


def _original(value: str, smtputf8: bool) -> str:
    """Return ORCPT; UTF-8 in it is written as RFC 6533 3 writes it in ASCII."""
    kind, semicolon, text = value.partition(";")
    if smtputf8 and kind.lower() == "utf-8" and not _UNSEEN_UNICODE.search(text):
        text = "".join(c if c < "\x80" else f"\\x{{{ord(c):X}}}" for c in text)
    if not (semicolon and _ADDRESS_TYPE.fullmatch(kind) and _XTEXT.fullmatch(text)) or len(value) > _ORCPT_LIMIT:
        raise _Bad(replies.bad_value("ORCPT"))
    return f"{kind};{text}"
