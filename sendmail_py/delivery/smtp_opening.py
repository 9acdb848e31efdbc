"""The beginning of an SMTP session: hello, TLS as far as the policy wants it, hello again, and the login.

Guarantees: where TLS is required nothing but EHLO (or HELO) and STARTTLS is said in clear; a password goes
only where the security options allow it, and no reason or diagnostic holds it; whatever is wrong here
defers, for it is a matter between two hosts, not of the message.
"""

import base64
import os
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, replace

from ..core.config import Config
from ..core.result import DeliveryResult, Scope, deferred
from ..host.tls import Context, Session, TlsError
from ..protocol.commands import Command, Verb
from ..protocol.reply import Reply
from ..protocol.sasl import BEARER, XOAUTH2, Login, choose
from ..protocol.sasl_client import Exchange
from ..protocol.tls_policy import CLEAR, TlsPolicy
from .smtp_session import SmtpSession
from .smtp_stream import SessionError

_MANY_QUESTIONS = 8
_TELLING = frozenset({"PLAIN", "LOGIN", BEARER, XOAUTH2})


class TlsFailure(SessionError):
    """There is no TLS, or it was begun and did not come about; where nobody insists, another session may do without."""


class LoginFailure(SessionError):
    """There is no way to log in, or not now."""


class LoginRefused(LoginFailure):
    """The server does not take this login; to try the same again is of no use, and may lock the account."""


@dataclass(frozen=True, slots=True)
class Opening:
    """How a session is to begin. name and port are the server's, as it is told; context() gives that of the policy.

    turn(login) is entered for the length of the login, and gives what proves it; it may raise LoginFailure instead.
    renew(login) gives another proof for one that was refused, or None.
    resumed is a session of TLS with the same server. otherwise is how to begin where this one fails for its TLS: nobody
    insists on it, and the log is to say so.
    """

    policy: TlsPolicy = CLEAR
    context: Callable[[], Context] | None = None
    name: str = ""
    login: Login | None = None
    turn: Callable[[Login], AbstractAsyncContextManager[Login]] = lambda login: nullcontext(login)
    port: int = 0
    renew: Callable[[Login], Awaitable[Login | None]] | None = None
    resumed: Session | None = None
    otherwise: "Opening | None" = None


async def open_session(session: SmtpSession, opening: Opening, config: Config) -> None:
    """Bring a session to where it takes mail; raises SessionError."""
    if opening.policy.implicit:
        await _start_tls(session, opening, config)
    await session.hello()
    if opening.policy.level and not session.stream.tls:
        await _ask_for_tls(session, opening, config)
    if opening.login:
        try:
            async with opening.turn(opening.login) as login:
                await _log_in_or_renew(session, opening, login, config)
        except LoginFailure:
            session.stream.abort()
            raise


async def _ask_for_tls(session: SmtpSession, opening: Opening, config: Config) -> None:
    stream = session.stream
    if "STARTTLS" not in stream.machine.extensions:
        if opening.policy.is_required:
            raise _without_tls(session, f"TLS is required, but was not offered by host {stream.host}")
        return
    reply = await session.ask(Command(Verb.STARTTLS), config.smtp_starttls_timeout)
    if reply.code != 220:
        if opening.policy.is_required:
            text = f"TLS is required, but host {stream.host} refused to start TLS: {reply.text}"
            raise _without_tls(session, text)
        if reply.code == 421:
            raise _given_up(session, "4.3.2", f"host {stream.host} refused to talk to me: {reply.text}")
        return
    await _start_tls(session, opening, config)
    await session.introduce()


async def _start_tls(session: SmtpSession, opening: Opening, config: Config) -> None:
    stream = session.stream
    assert opening.context is not None
    try:
        await stream.start_tls(opening.context(), opening.policy, config.smtp_starttls_timeout, opening.resumed)
    except TlsError as error:
        trouble = str(error) if error.of_certificate else f"Cannot start TLS: {error}"
        text = f"{trouble} (host {stream.host})"
        raise TlsFailure(deferred("4.7.5", text, Scope.HOST, stream.relay)) from error


async def _log_in_or_renew(session: SmtpSession, opening: Opening, login: Login, config: Config) -> None:
    """Log in; a token that is refused may have been revoked before its time, so another one is tried, once."""
    try:
        await _log_in(session, opening, login, config)
    except LoginRefused:
        other = await opening.renew(login) if opening.renew and session.stream.is_idle else None
        if other is None:
            raise
        await _log_in(session, opening, other, config)


async def _log_in(session: SmtpSession, opening: Opening, login: Login, config: Config) -> None:
    stream = session.stream
    offered = stream.machine.mechanisms
    wanted = config.smtp_sasl_mechanism_filter
    mechanism = choose(offered, getattr(config, _options(session, opening)), wanted, bool(login.provider))
    if not mechanism:
        raise LoginFailure(_result(session, "4.7.0", _no_way(session, opening, wanted)))
    nonce = base64.b64encode(os.urandom(18)).decode()
    exchange = Exchange(mechanism, login, nonce, opening.name, opening.port)
    try:
        reply = await _converse(
            session, Command(Verb.AUTH, f"{mechanism} {exchange.initial}".rstrip()), exchange, config
        )
    except SessionError as error:
        result = error.result
        reason, diagnostic = map(exchange.without_secrets, (result.reason, result.diagnostic))
        raise SessionError(replace(result, reason=reason, diagnostic=diagnostic)) from None
    if reply.code != 235 or not exchange.is_proven:
        raise _refusal(session, reply, exchange, login.user)


def _refusal(session: SmtpSession, reply: Reply, exchange: Exchange, user: str) -> LoginFailure:
    """Return what became of a login that did not come about."""
    host = session.stream.host
    if exchange.fault or reply.code == 235:
        fault = exchange.fault or "the server did not prove that it knows the password"
        return LoginRefused(_result(session, "4.7.0", f"SASL authentication with {host} failed: {fault} (user {user})"))
    said = exchange.without_secrets(reply.text)
    complaint = exchange.without_secrets(f" ({exchange.complaint})") if exchange.complaint else ""
    status = f"4{reply.status[1:]}" if reply.status[:1] in ("4", "5") else "4.7.8"
    text = f"SASL authentication failed; server {host} said: {said}{complaint} (user {user})"
    result = replace(_result(session, status, text), diagnostic=f"smtp; {said}")
    return (LoginRefused if reply.code // 100 == 5 else LoginFailure)(result)


async def _converse(session: SmtpSession, first: Command, exchange: Exchange, config: Config) -> Reply:
    """Answer the questions of AUTH; returns the reply that is none."""
    reply = await session.ask(first, config.smtp_helo_timeout)
    for _ in range(_MANY_QUESTIONS):
        if reply.code != 334:
            break
        reply = await session.answer(exchange.answer(reply.lines[-1].strip()), config.smtp_helo_timeout)
    return reply


def _options(session: SmtpSession, opening: Opening) -> str:
    """Return the name of the parameter that says what a login must not be."""
    if not session.stream.tls:
        return "smtp_sasl_security_options"
    return f"smtp_sasl_tls_{'verified_' if opening.policy.verifies or opening.policy.tlsa else ''}security_options"


def _no_way(session: SmtpSession, opening: Opening, wanted: list[str]) -> str:
    host = session.stream.host
    offered = session.stream.machine.mechanisms
    how = "" if session.stream.tls else " without TLS"
    what, with_token = ("access token", True) if opening.login and opening.login.provider else ("password", False)
    if not offered:
        return f"SASL authentication is wanted, but host {host} does not offer it{how}"
    if allowed := choose(offered, (), wanted, with_token):
        if _options(session, opening) == "smtp_sasl_security_options" and allowed in _TELLING:
            return f"SASL authentication: smtp_sasl_security_options forbids to tell host {host} the {what}{how}"
        return f"SASL authentication: {_options(session, opening)} forbids {allowed} with host {host}{how}"
    which = "that smtp_sasl_mechanism_filter wants" if choose(offered, (), (), with_token) else "known here"
    suffix = " for an access token" if with_token else ""
    return f"SASL authentication: host {host} offers no mechanism {which}{suffix}: {' '.join(offered)[:100]}"


def _result(session: SmtpSession, status: str, text: str) -> DeliveryResult:
    return deferred(status, text, Scope.HOST, session.stream.relay)


def _without_tls(session: SmtpSession, text: str) -> TlsFailure:
    """End a session whose server does not do TLS, which it must."""
    return TlsFailure(_given_up(session, "4.7.4", text).result)


def _given_up(session: SmtpSession, status: str, text: str) -> SessionError:
    """End a session whose server is not as it has to be."""
    session.stream.abort()
    return SessionError(_result(session, status, text))
