"""Copy: one message on its way into one mailbox, for all its recipients that are this user.

A message that names a user twice (bob@host, bob@localhost) is written once. Small content is
read once and kept; large content is read in pieces, so that memory stays bounded.
"""

import os
from collections.abc import Iterator

from ..core.delivery import Delivery
from ..core.result import DeliveryResult, Settled, deferred, failed
from ..formats.delivery_fields import delivered_to, delivery_fields, is_among

SMALL = 1 << 16
PIECE = 1 << 20


class ContentError(Settled):
    """The content cannot be read, or ends before its size: the fault is this message's own."""

    def __init__(self, text: str) -> None:
        super().__init__(deferred("4.3.0", f"cannot read the message: {text}"))


class Copy:
    """A delivery, the numbers of the recipients that get this copy, and its delivery fields.

    content is the whole content of a small message, None for a large one. Raises ContentError.
    """

    __slots__ = ("content", "delivery", "fields", "numbers")

    def __init__(self, delivery: Delivery, numbers: list[int]) -> None:
        self.delivery = delivery
        self.numbers = numbers
        self.fields = b""
        self.content = _read(delivery, 0, delivery.size) if delivery.size <= SMALL else None

    def end(self, result: DeliveryResult) -> None:
        """Give this result to every recipient of the copy."""
        for number in self.numbers:
            self.delivery.results[number] = result

    def looping(self) -> list[int]:
        """Return the recipients that a Delivered-To field of the header names already."""
        seen = delivered_to(self._header())
        return [n for n in self.numbers if is_among(self.delivery.recipients[n].forward_path, seen)] if seen else []

    def address_to(self, numbers: list[int]) -> None:
        """Settle who gets the copy, and with that its delivery fields."""
        self.numbers = numbers
        self.fields = delivery_fields(self.delivery.sender, [self.delivery.recipients[n] for n in numbers])

    def pieces(self) -> Iterator[bytes]:
        """Yield the content in order; raises ContentError."""
        if self.content is not None:
            yield self.content
            return
        size = self.delivery.size
        for start in range(0, size, PIECE):
            yield _read(self.delivery, start, min(PIECE, size - start))

    def _header(self) -> bytes:
        """Return the header section, as far as the first megabyte goes."""
        data = self.content
        if data is None:
            data = _read(self.delivery, 0, SMALL)
            if b"\n\n" not in data:
                data = _read(self.delivery, 0, min(PIECE, self.delivery.size))
        end = data.find(b"\n\n")
        return data[:end] if end >= 0 else data


def copy_of(delivery: Delivery) -> Copy | None:
    """Return the copy for all recipients without a result; None when there is no such recipient (any more).

    Recipients in a loop fail here; content that cannot be read defers them.
    """
    waiting = [n for n, result in enumerate(delivery.results) if result is None]
    if not waiting:
        return None
    try:
        copy = Copy(delivery, waiting)
        loops = copy.looping()
    except ContentError as error:
        delivery.end_all(error.result)
        return None
    for number in loops:
        address = delivery.recipients[number].forward_path
        delivery.results[number] = failed("5.4.6", f"mail forwarding loop for {address}")
    copy.address_to([n for n in waiting if n not in loops])
    return copy if copy.numbers else None


def _read(delivery: Delivery, start: int, length: int) -> bytes:
    data = b""
    try:
        while len(data) < length:
            chunk = os.pread(delivery.fd, length - len(data), delivery.content_offset + start + len(data))
            if not chunk:
                raise ContentError("it is shorter than its size")
            data = data + chunk if data else chunk
    except OSError as error:
        raise ContentError(os.strerror(error.errno or 0)) from error
    return data
