"""What passes over the `submit` socket, on which sendmail(1) hands in what it cannot write into maildrop/.

The socket keeps records apart. pickup speaks first: a record of JSON with "code" 0, or with the
exit code and the "text" for a person when nothing will be taken; "busy" says that another
attempt soon is worth it. Then come the octets of a maildrop file, in records DATA + octets, and
one record END + how many octets that were: without it nothing is taken. The last word is
pickup's: code 0 and the "id" when the message is on disk, or why it is refused.

Light: imported by sendmail(1).
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

DATA = b"d"
END = b"e"
RECORD_LIMIT = 61441
_PIECE = RECORD_LIMIT - 1
_DIGITS = 20


def data_records(data: bytes) -> "Iterator[bytes]":
    """Yield octets as records."""
    for start in range(0, len(data), _PIECE):
        yield DATA + data[start : start + _PIECE]


def end_record(total: int) -> bytes:
    """Return the record after which the message is whole."""
    return END + str(total).encode()


def total_of(record: bytes) -> int:
    """Return how many octets came before an end record; raises ValueError for what is none."""
    digits = record[1:]
    if record[:1] != END or len(digits) > _DIGITS or not digits.isdigit():
        raise ValueError("not an end record")
    return int(digits)
