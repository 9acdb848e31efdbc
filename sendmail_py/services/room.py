"""How many recipients the active queue has in memory, and whether a message's fit beside them.

Messages with few recipients always do: it is the number of messages that bounds them. Of large ones there is
always room for one, so that each gets its turn.
"""

from .messages import Message


class Room:
    """The count of recipients in memory."""

    def __init__(self) -> None:
        self.configure(20000, 10)
        self._taken = 0
        self._large = 0

    def configure(self, limit: int, minimum: int) -> None:
        """Set the limit, and how many recipients are few."""
        self._limit = limit
        self._minimum = minimum

    def is_small(self, count: int) -> bool:
        """Say whether a message with so many recipients needs to ask for no room."""
        return count <= self._minimum

    def has(self, count: int) -> bool:
        """Say whether so many recipients of one message may come in."""
        return self.is_small(count) or not self._large or self._taken + count <= self._limit

    def take(self, message: Message) -> None:
        """Count the recipients of a message."""
        count = len(message.envelope.recipients)
        self._taken += count
        message.is_large = not self.is_small(count)
        self._large += message.is_large

    def give_back(self, message: Message) -> None:
        """Count them no longer."""
        self._taken -= len(message.envelope.recipients)
        self._large -= message.is_large
