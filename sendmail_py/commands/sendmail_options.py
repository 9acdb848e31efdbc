"""The options of sendmail(1): one table, read by getopt's rules.

The letters are those of sendmail 8.17 and Postfix 3.7; a letter in neither is a usage error.
Letters whose meaning this program has no use for are accepted, and the table says why.
Light: imported by sendmail(1).
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..core.errors import UsageError

FLAG = "flag"
VALUE = "value"  # attached, or the next word
ATTACHED = "attached"  # only what follows in the same word
_ENVID_LIMIT = 100  # RFC 3461 4.4

# letter: (argument rule, meaning, or why it has none)
OPTIONS = {
    "A": (VALUE, "ignored: there is one configuration for submission and delivery"),
    "B": (VALUE, "body type: 7BIT or 8BITMIME"),
    "C": (VALUE, "configuration directory, or the main.cf in it; any other value is ignored"),
    "D": (VALUE, "ignored: writes no debug file"),
    "F": (VALUE, "full name of the sender, where the message has no From"),
    "G": (FLAG, "ignored: gateway submission is not treated otherwise"),
    "I": (FLAG, "the same as -bi"),
    "L": (VALUE, "ignored: the log tag is syslog_name"),
    "M": (VALUE, "ignored: no macros"),
    "N": (VALUE, "when to send delivery notifications: never, or a list of success, failure, delay"),
    "O": (VALUE, "DeliveryMode= is -od; other long-named options of sendmail.cf are ignored"),
    "Q": (VALUE, "ignored: quarantine"),
    "R": (VALUE, "what a bounce returns: full or hdrs"),
    "T": (FLAG, "ignored: obsolete"),
    "U": (FLAG, "ignored: obsolete, initial user submission"),
    "V": (VALUE, "envelope id"),
    "X": (VALUE, "ignored: writes no traffic log"),
    "b": (VALUE, "mode of operation"),
    "c": (FLAG, "ignored: obsolete"),
    "d": (ATTACHED, "ignored: debugging"),
    "e": (VALUE, "ignored: errors are told by exit code and by mail"),
    "f": (VALUE, "envelope sender"),
    "h": (VALUE, "ignored: hops are counted from Received fields"),
    "i": (FLAG, "a lone dot does not end the message"),
    "m": (FLAG, "ignored: the sender stays in an alias it belongs to"),
    "n": (FLAG, "ignored: aliases are always used"),
    "o": (VALUE, "old-style options: i, and di, db, dq, dd for the mode of delivery; others are ignored"),
    "p": (VALUE, "ignored: protocol and host of origin"),
    "q": (ATTACHED, "deliver what is queued, or with -bp list it: all, or what -qI -qR -qS select"),
    "r": (VALUE, "the same as -f"),
    "s": (FLAG, "ignored: obsolete"),
    "t": (FLAG, "take recipients from To, Cc and Bcc"),
    "v": (FLAG, "once: mail a report of the delivery to the sender"),
    "x": (FLAG, "ignored: AIX compatibility"),
}

# Options that one of the programs has beside these.
MORE = {"mailq": {"j": (FLAG, "list the queue as lines of JSON, as postqueue -j does")}}

MODES = {
    "m": "deliver mail",
    "v": "verify the recipients, deliver nothing, and mail a report to the sender",
    "s": "speak SMTP on standard input and output",
    "p": "list the queue",
    "i": "check the aliases",
    "d": "run the daemon",
    "D": "run the daemon in the foreground",
    "h": "print the host status: none is kept",
    "H": "purge the host status: none is kept",
}
# The mode of a program called by another name, until -b says otherwise.
PROGRAM_MODES = {"mailq": "p", "newaliases": "i", "rmail": "r", "hoststat": "h", "purgestat": "H"}
REFUSED = {"t": "-bt: there are no rewriting rules to test; `mailctl config` shows the configuration"}


class Options:
    """What the command line says."""

    def __init__(self) -> None:
        self.mode = "m"
        self.sender: str | None = None
        self.full_name = self.config_directory = self.body = self.envid = self.ret = ""
        self.notify: tuple[str, ...] = ()
        self.extract = self.ignore_dots = self.queue_only = self.deliver_first = self.json = False
        self.verbose = 0
        self.queue: list[str] = []  # what stood after each -q
        self.recipients: list[str] = []

    @property
    def flush(self) -> bool:
        """True with -q in any form."""
        return bool(self.queue)

    @property
    def report(self) -> bool:
        """True when the delivery is to be reported on. Several -v ask for a debugging log, and there is none."""
        return self.verbose == 1 and self.mode == "m"


def misuse(text: str) -> "UsageError":
    """Return the error for a command line that cannot be understood."""
    from ..core.errors import UsageError  # only here: a class costs more than a submission's whole command line

    return UsageError(text)


def parse(words: "list[str]", program: str = "sendmail") -> Options:
    """Read the words after the program's name; raises UsageError."""
    options = Options()
    options.mode = PROGRAM_MODES.get(program, "m")
    table = {**OPTIONS, **MORE[program]} if program in MORE else OPTIONS
    index = 0
    while index < len(words):
        word = words[index]
        if word[:1] != "-" or word == "-":
            break
        index += 1
        if word == "--":
            break
        index = _cluster(options, table, word, words, index)
    options.recipients = words[index:]
    return options


def _cluster(options: Options, table: "dict[str, tuple[str, str]]", word: str, words: "list[str]", index: int) -> int:
    """Read one word of options; returns the index of the next word."""
    place = 1
    while place < len(word):
        letter = word[place]
        place += 1
        rule = table.get(letter)
        if rule is None:
            raise misuse(f"unknown option -{letter}")
        if rule[0] == FLAG:
            _set_flag(options, letter)
            continue
        value = word[place:]
        if rule[0] == VALUE and not value:
            if index >= len(words):
                raise misuse(f"option -{letter} needs a value")
            value = words[index]
            index += 1
        _set_value(options, letter, value)
        break
    return index


def _set_flag(options: Options, letter: str) -> None:
    if letter == "t":
        options.extract = True
    elif letter == "i":
        options.ignore_dots = True
    elif letter == "I":
        options.mode = "i"
    elif letter == "j":
        options.json = True
    elif letter == "v":
        options.verbose += 1


def _set_value(options: Options, letter: str, value: str) -> None:
    if letter in "fr":
        options.sender = value
    elif letter == "F":
        options.full_name = value or " "  # an empty name is one: the caller's own is not put in its place
    elif letter == "C":
        options.config_directory = value
    elif letter == "b":
        mode = value[:1]  # what follows it has no meaning, for sendmail and Postfix too
        if mode not in MODES:
            raise misuse(REFUSED.get(mode, f"mode -b{value} is not supported"))
        options.mode = mode
    elif letter == "q":
        options.queue.append(value)
    elif letter == "o":
        options.ignore_dots = options.ignore_dots or value[:1] == "i"
        if value[:1] == "d":
            _set_delivery(options, value[1:2])
    elif letter == "O":
        name, _, mode = value.partition("=")
        if name.strip().lower() == "deliverymode":
            _set_delivery(options, mode.strip()[:1])
    elif letter in "BNRV":
        _set_dsn(options, letter, value)


def _set_delivery(options: Options, mode: str) -> None:
    """Set when delivery is tried: queued only (q and d), before the end (i), or afterwards."""
    options.queue_only, options.deliver_first = mode in ("q", "d"), mode == "i"


def _set_dsn(options: Options, letter: str, value: str) -> None:
    upper = value.upper()
    if letter == "B":
        if upper not in ("7BIT", "8BITMIME"):
            raise misuse(f"-B {value}: 7BIT or 8BITMIME expected")
        options.body = upper
    elif letter == "R":
        if upper not in ("FULL", "HDRS"):
            raise misuse(f"-R {value}: full or hdrs expected")
        options.ret = upper
    elif letter == "V":
        if not value.isascii() or not value.isprintable():
            raise misuse(f"-V {value[:_ENVID_LIMIT]!a}: printable characters of ASCII expected")
        from ..formats.xtext import as_xtext

        envid = as_xtext(value)
        options.envid = envid if len(envid) <= _ENVID_LIMIT else ""  # longer is none, as in Postfix
    else:
        notify = tuple(word for word in upper.replace(" ", "").split(",") if word)
        if (
            not notify
            or not {"NEVER", "SUCCESS", "FAILURE", "DELAY"}.issuperset(notify)
            or ("NEVER" in notify and len(notify) > 1)
        ):
            raise misuse(f"-N {value}: never, or a list of success, failure, delay expected")
        options.notify = notify
