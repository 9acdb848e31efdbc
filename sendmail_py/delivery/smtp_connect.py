"""Making one connection to a server, from an address of this host where one is wanted.

Guarantees: no connection is left behind by an attempt that failed or was cancelled.
"""

import asyncio
import os
import socket

from ..core.result import Scope, deferred
from .smtp_stream import ConnectError, SmtpStream


class SourceError(ConnectError):
    """The address that connections were to come from cannot be used."""


async def connect(
    host: str, address: str, port: int, timeout: float, lmtp: bool = False, source: str = ""
) -> SmtpStream:
    """Return a new connection; raises ConnectError with Postfix's words when there is none.

    An address that is a path is a Unix socket; port means nothing then. source is an address of this host.
    """
    loop = asyncio.get_running_loop()
    place: str | tuple[str, int]
    if address[0] == "/":
        relay, family, place = f"{host}[{address}]", socket.AF_UNIX, address
    else:
        relay, place = f"{host}[{address}]:{port}", (address, port)
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
    end = None
    try:
        end = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        if source:
            _bind(end, source, relay)
        await asyncio.wait_for(loop.sock_connect(end, place), timeout)
        _, stream = await loop.create_connection(lambda: SmtpStream(relay, lmtp), sock=end)
        return stream
    except BaseException as error:
        if end is not None:
            end.close()
        if not isinstance(error, OSError):
            raise
        why = "Connection timed out" if isinstance(error, TimeoutError) else os.strerror(error.errno or 0)
        raise ConnectError(deferred("4.4.1", f"connect to {relay}: {why}", Scope.HOST)) from error


def _bind(end: socket.socket, source: str, relay: str) -> None:
    try:
        end.bind((source, 0))
    except OSError as error:
        text = f"connect to {relay} from {source}: {os.strerror(error.errno or 0)}"
        raise SourceError(deferred("4.4.1", text, Scope.HOST)) from error
