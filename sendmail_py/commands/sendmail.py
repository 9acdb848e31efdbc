"""sendmail(1): accept a message and put it, durably, where pickup finds it.

Guarantees: exit 0 means that the message is on disk and fsynced; any other exit means that
nothing was kept. Nothing is printed on success. What is plain has been done by plain.py, before this
is loaded; other modes are started from here. Light: this is the fast path, see the list of its
modules in tests/unit/test_light_modules.py.
"""

import posix
import time

from ..core.address import NULL_SENDER, Address
from ..core.envelope import MAILBOX, Envelope, Recipient, Submitter
from ..core.essentials import DEFAULTS
from ..core.exitcodes import EX_OK
from ..core.mail_error import SpoolError
from ..formats import queue_file
from ..host.configuration_file import choose_directory, essentials
from ..spool.maildrop import Drop, check_space
from . import sendmail_options
from .plain import callers_command, guarded, is_plain, program, read_block, working_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import NoReturn

    from .sendmail_options import Options

_SMALL = 262144


def main(argv: "list[str]", begun: bytes = b"") -> "NoReturn":
    """Run sendmail, mailq or newaliases, by the name it was called by, and end the process.

    begun is what plain.py has read of the message.
    """
    name = program(argv)
    posix._exit(guarded(name, lambda: _run(name, argv[1:], begun)))


def _run(name: str, words: "list[str]", begun: bytes) -> int:
    options = sendmail_options.parse(words, name)
    mode = options.mode
    directory = choose_directory(options.config_directory)
    if options.flush and mode == "m":
        mode = "q"
    if mode == "m":
        submit(options, directory, begun)
        return EX_OK
    from . import modes

    return modes.run(mode, directory, options)


# --- submission ------------------------------------------------------------------------------


def submit(options: "Options", directory: str, begun: bytes = b"") -> None:
    """Read the message, as far as it is not begun, from stdin and put it into maildrop/; raises MailError."""
    if not options.recipients and not options.extract:
        raise sendmail_options.misuse("no recipients: name them as arguments, or use -t")
    settings = essentials(directory)
    _check_rules(settings, directory)
    top, limit = settings["queue_directory"], _number(settings, "message_size_limit")
    recipients = [address for text in options.recipients for address in _addresses(text)]
    sender = None if options.sender is None else _sender(options.sender)
    check_space(top, limit, _number(settings, "queue_minfree"))
    blocks = iter((begun,)) if options.mode == "v" else _content(options.ignore_dots, begun)
    head, more = _beginning(blocks, options.extract)
    if options.extract:
        from . import addresses

        recipients += addresses.from_header(head)
    if not recipients:
        none = "none in the arguments, and none in To, Cc or Bcc" if options.extract else "none in the arguments"
        raise sendmail_options.misuse(f"no recipients: {none}")
    envelope = envelope_of(options, sender, recipients)
    if more:
        from . import interrupted

        interrupted.watch()
    drop = _write(envelope, head, blocks if more else iter(()), top, limit, directory)
    _follow(options, envelope, drop, directory, settings["daemonless"].lower() in ("yes", "true"))


def _check_rules(settings: "dict[str, str]", directory: str) -> None:
    """Ask whether the caller may submit, where main.cf has a rule for that."""
    authorized = "authorized_submit_users"
    if settings["local_submission_rate_limit"] or settings[authorized] != DEFAULTS[authorized]:
        from . import submit_rules

        submit_rules.check(directory)


def _follow(options: "Options", envelope: Envelope, drop: Drop, directory: str, is_daemonless: bool) -> None:
    """Do what is to be done after the message is safe: say what was asked for, wait, deliver without a daemon."""
    if options.deliver_first or envelope.report or envelope.verify:
        from . import afterwards

        if envelope.report or envelope.verify:
            afterwards.tell(envelope)
        if options.deliver_first and not is_daemonless:
            afterwards.wait(directory, drop)
    if is_daemonless and not options.queue_only:
        from . import daemonless

        daemonless.deliver(directory, drop, options.deliver_first)


def _number(settings: "dict[str, str]", name: str) -> int:
    """Return a number, or its default where main.cf is broken: mail must not be lost to a typo."""
    text = settings[name]
    return int(text if text.isascii() and text.isdigit() else DEFAULTS[name])


def _addresses(text: str) -> "list[Address]":
    if is_plain(text):
        return [Address.parse(text)]
    from . import addresses

    return addresses.recipients(text)


def _sender(text: str) -> Address:
    if text.strip() in ("", "<>"):
        return NULL_SENDER
    if is_plain(text):
        return Address.parse(text)
    from . import addresses

    return addresses.sender(text)


def _content(ignore_dots: bool, begun: bytes) -> "Iterator[bytes]":
    """Yield the message in blocks: what is begun, which holds no dots to look at, then what stdin brings."""
    if begun:
        yield begun
    reader = None
    if not ignore_dots:
        from ..formats.stdin_lines import DotReader

        reader = DotReader()
    while block := read_block():
        if reader is None:
            yield block
            continue
        yield reader.feed(block)
        if reader.ended:
            return
    if reader is not None:
        yield reader.finish()


def _beginning(blocks: "Iterator[bytes]", whole_header: bool) -> "tuple[bytes, bool]":
    """Read what fits in memory easily, or, for -t, until the header ends; says if more follows."""
    data: list[bytes] = []
    size, enough = 0, _SMALL
    for block in blocks:
        data.append(block)
        size += len(block)
        if size < enough:
            continue
        if not (whole_header and _header_goes_on(data)):
            return b"".join(data), True
        enough = 2 * size  # looking again at each block would cost a long header its length squared
    return b"".join(data), False


def _header_goes_on(data: "list[bytes]") -> bool:
    from . import addresses

    data[:] = [b"".join(data)]
    return addresses.header_goes_on(data[0])


def envelope_of(options: "Options", sender: "Address | None", addresses: "list[Address]") -> Envelope:
    """Return the envelope of a submission, with who and what submits it."""
    recipients = [
        Recipient(address, notify=options.notify, target="" if type(address) is Address else MAILBOX)
        for address in dict.fromkeys(addresses)
    ]
    submitter = Submitter(posix.getuid(), "", posix.getpid(), working_directory(), callers_command())
    envelope = Envelope("", time.time_ns() // 1000, sender, recipients, submitter)
    envelope.queue_only, envelope.report, envelope.verify = options.queue_only, options.report, options.mode == "v"
    envelope.body, envelope.envid, envelope.ret = options.body, options.envid, options.ret
    envelope.full_name = options.full_name
    return envelope


def open_drop(top: str, directory: str) -> Drop:
    """Begin a file in maildrop/; where the caller cannot write there, a message over the submit socket."""
    try:
        return Drop(top)
    except SpoolError as error:
        if not error.no_way_in:
            raise
        from .submit_socket import SocketDrop

        return SocketDrop(directory, error)


def _write(envelope: Envelope, head: bytes, rest: "Iterator[bytes]", top: str, limit: int, directory: str) -> Drop:
    envelope.size = len(head)
    _check_size(len(head), limit)
    text = queue_file.render(envelope)
    if len(text) > queue_file.HEAD_LIMIT:
        from ..core.errors import MessageError

        raise MessageError("too many recipients")
    drop = open_drop(top, directory)
    try:
        drop.write(text + head)
        size = len(head)
        for block in rest:
            size += len(block)
            _check_size(size, limit)
            drop.write(block)
    except BaseException:
        drop.abandon()
        raise
    if size != envelope.size:
        drop.rewrite(queue_file.size_offset(envelope), queue_file.size_digits(size))
    drop.finish()
    drop.announce()
    return drop


def _check_size(size: int, limit: int) -> None:
    if limit and size > limit:
        from ..core.errors import too_large

        raise too_large(limit)
