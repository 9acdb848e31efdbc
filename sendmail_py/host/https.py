"""Asking a server over HTTPS: one form or one document, one answer.

Guarantees: certificates are checked; nothing goes in clear, save to this very host; no redirect is followed;
an answer has a limit in size, and the whole a limit in time. Not light: imported where it is used.
"""

import contextlib
import http.client
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar
from urllib.parse import urlencode, urlsplit

from .tls import Context, TlsError, checking_context

_LIMIT = 1 << 16
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_Answer = TypeVar("_Answer")


class HttpError(Exception):
    """There is no answer; the text says why."""


class _Plain(http.client.HTTPConnection):
    """A connection whose socket is known, and so can be shut down, until its last answer has been read."""

    kept: socket.socket | None = None  # http.client forgets its own while it reads an answer that ends with it

    def connect(self) -> None:
        """Connect."""
        super().connect()
        self.kept = self.sock


class _Secure(http.client.HTTPSConnection):
    """The same under TLS, from the beginning of the handshake."""

    kept: socket.socket | None = None

    def __init__(
        self, host: str, port: int | None, seconds: float, context: Context, addresses: Sequence[str] = ()
    ) -> None:
        super().__init__(host, port, timeout=seconds, context=context)
        self._addresses = addresses or (host,)
        self._tls = context
        self._seconds = seconds
        self._end = time.monotonic() + seconds

    def connect(self) -> None:
        """Connect to the first address that answers."""
        bare = self._reach()
        secure = self._tls.wrap_socket(bare, server_hostname=self.host, do_handshake_on_connect=False)
        self.sock = self.kept = secure
        secure.do_handshake()

    def _reach(self) -> socket.socket:
        trouble: OSError = TimeoutError()
        for left in range(len(self._addresses), 0, -1):
            seconds = self._end - time.monotonic()
            if seconds <= 0:
                raise TimeoutError
            try:
                bare = socket.create_connection((self._addresses[-left], self.port), seconds / left)
            except OSError as error:
                trouble = error
            else:
                bare.settimeout(seconds)
                return bare
        raise trouble


def check_url(url: str) -> None:
    """Raise ValueError for what may not be asked."""
    parts = urlsplit(url)
    if parts.scheme == "http" and parts.hostname in _LOOPBACK:
        return
    if parts.scheme != "https" or not parts.hostname or parts.username or not url.isascii() or not url.isprintable():
        raise ValueError(f"{url}: an address with https:// is expected")
    _ = parts.port


def post_form(url: str, form: Mapping[str, str], ca_file: str = "", seconds: float = 20.0) -> tuple[int, bytes]:
    """Send a form; returns status and body. Raises HttpError, whose text does not hold the form."""
    try:
        check_url(url)
        connection = _connection(url, ca_file, seconds)
    except (ValueError, TlsError) as error:
        raise HttpError(str(error)) from error
    return _bounded(connection, seconds, lambda: _exchange(connection, url, urlencode(form)))


def get(
    host: str, port: int, path: str, addresses: Sequence[str], context: Context, seconds: float
) -> tuple[int, str, bytes]:
    """Return status, content type and body of a document of a host at some addresses; raises HttpError."""
    connection = _Secure(host, port, seconds, context, addresses)

    def exchange() -> tuple[int, str, bytes]:
        connection.request("GET", path, headers={"Accept": "text/plain", "Connection": "close"})
        response = connection.getresponse()
        return response.status, response.getheader("Content-Type") or "", _body(response, host)

    return _bounded(connection, seconds, exchange)


def _bounded(connection: _Plain | _Secure, seconds: float, exchange: Callable[[], _Answer]) -> _Answer:
    """Make an exchange within so many seconds in all, however slowly octets come; raises HttpError."""
    is_late = threading.Event()

    def end() -> None:
        is_late.set()
        with contextlib.suppress(OSError):  # there is no connection any more
            if connection.kept is not None:
                socket.socket.shutdown(connection.kept, socket.SHUT_RDWR)

    watchdog = threading.Timer(seconds, end)  # a time-out of the socket begins anew with each octet
    watchdog.daemon = True
    watchdog.start()
    try:
        answer = exchange()
        if is_late.is_set():  # what came may be a part of it
            raise TimeoutError
        return answer
    except (OSError, ValueError, http.client.HTTPException, AttributeError) as error:
        if is_late.is_set() or isinstance(error, TimeoutError):
            raise HttpError(f"{connection.host} did not answer within {seconds:.0f} s") from error
        why = getattr(error, "verify_message", "") or getattr(error, "strerror", "") or type(error).__name__
        raise HttpError(f"{connection.host}: {why}") from error
    finally:
        watchdog.cancel()
        connection.close()


def _connection(url: str, ca_file: str, seconds: float) -> _Plain | _Secure:
    parts = urlsplit(url)
    assert parts.hostname
    if parts.scheme == "http":
        return _Plain(parts.hostname, parts.port, timeout=seconds)
    return _Secure(parts.hostname, parts.port, seconds, checking_context(ca_file))


def _exchange(connection: http.client.HTTPConnection, url: str, body: str) -> tuple[int, bytes]:
    parts = urlsplit(url)
    path = parts.path or "/"
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
    connection.request("POST", f"{path}?{parts.query}" if parts.query else path, body, headers)
    response = connection.getresponse()
    return response.status, _body(response, connection.host)


def _body(response: http.client.HTTPResponse, host: str) -> bytes:
    data = response.read(_LIMIT + 1)
    if len(data) > _LIMIT:
        raise HttpError(f"{host}: an answer without end")
    return data
