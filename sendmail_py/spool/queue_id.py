"""Queue ids: upper-case hexadecimal, unique without a counter, and derivable where replay must be.

A base id is 13 digits of microseconds since the epoch, one digit that counts the digits of the
inode number, and the inode number: two files of one file system never share an id, whatever
the clock does. A copy made by pickup takes both from the maildrop original, so its id can be
worked out again after a crash. A child's id (expansion, bounce) is its parent's plus two
self-delimiting numbers, so making it twice gives the same name.
"""

_DIGITS = frozenset("0123456789ABCDEF")
_TIME_DIGITS = 13


def base_id(microseconds: int, inode: int) -> str:
    """Return the id of a message from its time (microseconds) and its file's inode."""
    digits = f"{inode:X}"
    return f"{microseconds:0{_TIME_DIGITS}X}{len(digits):X}{digits}"


def child_id(parent: str, recipient: int, chunk: int) -> str:
    """Return the id of a child: the index of the recipient it comes from, and its number."""
    return parent + _delimited(recipient) + _delimited(chunk)


def _delimited(number: int) -> str:
    """Write a number in octal digits whose last one has 8 added: no length is needed to read it."""
    digits = f"{number:o}"
    return digits[:-1] + f"{int(digits[-1]) + 8:X}"


def time_of(queue_id: str) -> float:
    """Return when a message, or the one it comes from, arrived: seconds since the epoch."""
    return int(queue_id[:_TIME_DIGITS], 16) / 1e6


def is_queue_id(name: str) -> bool:
    """Say whether a file name can be a queue id."""
    return 10 <= len(name) <= 200 and _DIGITS.issuperset(name)


def hash_directory(queue_id: str) -> str:
    """Return the name of the directory below deferred/ that holds this id."""
    return queue_id[-2:]
