"""The door to SQLite: one question to a database that is only read, with a limit of time."""

import time
from urllib.parse import quote

SECONDS = 5.0
_STEPS = 10_000


def ask(database: str, statement: str) -> list[str]:
    """Return the first column of an answer; raises OSError, also when it takes too long."""
    import sqlite3  # a library that most instances do without

    deadline = time.monotonic() + SECONDS
    try:
        connection = sqlite3.connect(f"file:{quote(database)}?mode=ro", timeout=SECONDS, uri=True)
        try:
            connection.set_progress_handler(lambda: int(time.monotonic() > deadline), _STEPS)
            return [str(row[0]) for row in connection.execute(statement) if row and row[0] is not None]
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise OSError(f"{database}: {error}") from error
