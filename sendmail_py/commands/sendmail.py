"""sendmail(1): accept a message and put it, durably, where pickup finds it.

Guarantees: exit 0 means that the message is on disk and fsynced; any other exit means that
nothing was kept. Nothing is printed on success. Light: this is the fast path, see the list of
its modules in tests/unit/test_light_modules.py; other modes are started from here.
"""

import posix
import time

from ..core.address import NULL_SENDER, Address
from ..core.envelope import MAILBOX, Envelope, Recipient, Submitter
from ..core.essentials import DEFAULTS
from ..core.exitcodes import EX_OK, EX_SOFTWARE
from ..core.mail_error import MailError, SpoolError
from ..formats import queue_file
from ..host.configuration_file import choose_directory, essentials
from ..spool.maildrop import Drop, check_space
from . import sendmail_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import NoReturn

    from .sendmail_options import Options

_BLOCK = 65536
_SMALL = 262144
_PLAIN = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_+=@#$%&*!?^{|}~/"


def main(argv: "list[str]") -> "NoReturn":
    """Run sendmail, mailq or newaliases, by the name it was called by, and end the process."""
    name = argv[0].rpartition("/")[2].removesuffix(".sendmail-py")
    try:
        _open_standard_descriptors()
        code = _run(name, argv[1:])
    except MailError as error:
        _say(f"{name}: {error}")
        code = error.exit_code
    except Exception as error:  # a defect of ours: nothing was accepted, say so in one line
        _say(f"{name}: internal error: {type(error).__name__}: {error}")
        code = EX_SOFTWARE
    except BaseException as stop:  # a signal: what had been written is gone again
        from .interrupted import end

        end(stop)
        code = EX_SOFTWARE
    posix._exit(code)


def _run(name: str, words: "list[str]") -> int:
    options = sendmail_options.parse(words, name)
    mode = options.mode
    directory = choose_directory(options.config_directory)
    if options.flush and mode == "m":
        mode = "q"
    if mode == "m":
        submit(options, directory)
        return EX_OK
    from . import modes

    return modes.run(mode, directory, options)


def _open_standard_descriptors() -> None:
    """Open 0, 1 and 2 on /dev/null where the caller closed them, or a queue file would get their number.

    A chroot may have no /dev/null: there the caller must have opened all three.
    """
    try:
        descriptor = posix.open("/dev/null", posix.O_RDWR)
    except OSError as error:
        try:
            for descriptor in (0, 1, 2):
                posix.fstat(descriptor)
        except OSError:
            raise SpoolError(f"/dev/null: {error.strerror}, and a standard descriptor is closed") from error
        return
    while descriptor <= 2:
        descriptor = posix.dup(descriptor)
    posix.close(descriptor)


def _say(text: str) -> None:
    try:
        posix.write(2, text.replace("\n", " ").encode("utf-8", "backslashreplace") + b"\n")
    except OSError:
        pass


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
    if _is_plain(text):
        return [Address.parse(text)]
    from . import addresses

    return addresses.recipients(text)


def _sender(text: str) -> Address:
    if text.strip() in ("", "<>"):
        return NULL_SENDER
    if _is_plain(text):
        return Address.parse(text)
    from . import addresses

    return addresses.sender(text)


def _is_plain(text: str) -> bool:
    """Say whether a text is an address that needs no reading: local part, @, and domain of ordinary characters."""
    local_part, at, domain = text.partition("@")
    if not local_part or text.strip(_PLAIN):
        return False
    return not at or (bool(domain) and "@" not in domain and ".." not in domain and "." not in (domain[0], domain[-1]))


def _content(ignore_dots: bool, begun: bytes) -> "Iterator[bytes]":
    """Yield the message in blocks: what is begun, which holds no dots to look at, then what stdin brings."""
    if begun:
        yield begun
    reader = None
    if not ignore_dots:
        from ..formats.stdin_lines import DotReader

        reader = DotReader()
    while block := _read():
        if reader is None:
            yield block
            continue
        yield reader.feed(block)
        if reader.ended:
            return
    if reader is not None:
        yield reader.finish()


def _read() -> bytes:
    try:
        return posix.read(0, _BLOCK)
    except OSError as error:
        raise SpoolError(f"standard input: {error.strerror}") from error


def _beginning(blocks: "Iterator[bytes]", whole_header: bool) -> "tuple[bytes, bool]":
    """Read what fits in memory easily, or, for -t, until the header ends; says if more follows."""
    data: list[bytes] = []
    size = 0
    for block in blocks:
        data.append(block)
        size += len(block)
        if size >= _SMALL and not (whole_header and _header_goes_on(data)):
            return b"".join(data), True
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
    submitter = Submitter(posix.getuid(), "", posix.getpid(), _working_directory(), _callers_command())
    envelope = Envelope("", time.time_ns() // 1000, sender, recipients, submitter)
    envelope.queue_only, envelope.report, envelope.verify = options.queue_only, options.report, options.mode == "v"
    envelope.body, envelope.envid, envelope.ret = options.body, options.envid, options.ret
    envelope.full_name = options.full_name
    return envelope


def _working_directory() -> str:
    try:
        return posix.getcwd()
    except OSError:
        return ""


def _callers_command() -> str:
    """Return the command line of the process that called us: a claim, for root's eyes."""
    try:
        descriptor = posix.open(f"/proc/{posix.getppid()}/cmdline", posix.O_RDONLY | posix.O_CLOEXEC)
        try:
            data = posix.read(descriptor, queue_file.COMMAND_LIMIT)
        finally:
            posix.close(descriptor)
    except OSError:
        return ""
    return data.rstrip(b"\0").replace(b"\0", b" ").decode("utf-8", "surrogateescape")


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
