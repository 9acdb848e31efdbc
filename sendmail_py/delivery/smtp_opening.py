"""The beginning of an SMTP session: hello, TLS as far as the policy wants it, hello again, and the login.

Guarantees: where TLS is required nothing but EHLO (or HELO) and STARTTLS is said in clear; a password goes
only where the security options allow it, and no reason or diagnostic holds it; whatever is wrong here
defers, for it is a matter between two hosts, not of the message.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, replace

from ..core.config import Config
from ..core.result import Scope, deferred
from ..host.tls import Context, TlsError
from ..protocol.commands import Command, Verb
from ..protocol.reply import Reply
from ..protocol.sasl import Exchange, Login, choose
from ..protocol.tls_policy import CLEAR, TlsPolicy
from .smtp_session import SmtpSession
from .smtp_stream import SessionError

_MANY_QUESTIONS = 8


class TlsFailure(SessionError):
    """TLS was begun and did not come about; without a duty to have it, another session may do without."""


class LoginFailure(SessionError):
    """There is no way to log in, or not now."""


class LoginRefused(LoginFailure):
    """The server does not take this login; to try the same again is of no use, and may lock the account."""


@dataclass(frozen=True, slots=True)
class Opening:
    """How a session is to begin. name is the server's, as it is told in TLS; context() gives that of the policy.

    turn(login) is entered for the length of the login; it may raise LoginFailure instead.
    """

    policy: TlsPolicy = CLEAR
    context: Callable[[], Context] | None = None
    name: str = ""
    login: Login | None = None
    turn: Callable[[Login], AbstractAsyncContextManager[None]] = lambda _: nullcontext()


async def open_session(session: SmtpSession, opening: Opening, config: Config) -> None:
    """Bring a session to where it takes mail; raises SessionError."""
    if opening.policy.implicit:
        await _start_tls(session, opening, config)
    await session.hello()
    if opening.policy.level and not session.stream.tls:
        await _ask_for_tls(session, opening, config)
    if opening.login:
        try:
            async with opening.turn(opening.login):
                await _log_in(session, opening.login, config)
        except LoginFailure:
            session.stream.abort()
            raise


async def _ask_for_tls(session: SmtpSession, opening: Opening, config: Config) -> None:
    stream = session.stream
    if "STARTTLS" not in stream.machine.extensions:
        if opening.policy.is_required:
            raise _given_up(session, "4.7.4", f"TLS is required, but was not offered by host {stream.host}")
        return
    reply = await session.ask(Command(Verb.STARTTLS), config.smtp_starttls_timeout)
    if reply.code != 220:
        if opening.policy.is_required:
            text = f"TLS is required, but host {stream.host} refused to start TLS: {reply.text}"
            raise _given_up(session, "4.7.4", text)
        if reply.code == 421:
            raise _given_up(session, "4.3.2", f"host {stream.host} refused to talk to me: {reply.text}")
        return
    await _start_tls(session, opening, config)
    await session.introduce()


async def _start_tls(session: SmtpSession, opening: Opening, config: Config) -> None:
    stream = session.stream
    assert opening.context is not None
    try:
        await stream.start_tls(opening.context(), opening.name, opening.policy, config.smtp_starttls_timeout)
    except TlsError as error:
        trouble = str(error) if error.of_certificate else f"Cannot start TLS: {error}"
        text = f"{trouble} (host {stream.host})"
        raise TlsFailure(deferred("4.7.5", text, Scope.HOST, stream.relay)) from error


async def _log_in(session: SmtpSession, login: Login, config: Config) -> None:
    stream = session.stream
    offered = stream.machine.mechanisms
    options = config.smtp_sasl_tls_security_options if stream.tls else config.smtp_sasl_security_options
    wanted = config.smtp_sasl_mechanism_filter
    mechanism = choose(offered, options, wanted)
    if not mechanism:
        raise LoginFailure(_given_up(session, "4.7.0", _no_way(session, offered, wanted)).result)
    exchange = Exchange(mechanism, login)
    try:
        reply = await _converse(
            session, Command(Verb.AUTH, f"{mechanism} {exchange.initial}".rstrip()), exchange, config
        )
    except SessionError as error:
        result = error.result
        reason, diagnostic = map(exchange.without_secrets, (result.reason, result.diagnostic))
        raise SessionError(replace(result, reason=reason, diagnostic=diagnostic)) from None
    if reply.code != 235:
        said = exchange.without_secrets(reply.text)
        status = f"4{reply.status[1:]}" if reply.status[:1] in ("4", "5") else "4.7.8"
        text = f"SASL authentication failed; server {stream.host} said: {said} (user {login.user})"
        result = replace(_given_up(session, status, text).result, diagnostic=f"smtp; {said}")
        raise (LoginRefused if reply.code // 100 == 5 else LoginFailure)(result)


async def _converse(session: SmtpSession, first: Command, exchange: Exchange, config: Config) -> Reply:
    """Answer the questions of AUTH; returns the reply that is none."""
    reply = await session.ask(first, config.smtp_helo_timeout)
    for _ in range(_MANY_QUESTIONS):
        if reply.code != 334:
            break
        reply = await session.answer(exchange.answer(), config.smtp_helo_timeout)
    return reply


def _no_way(session: SmtpSession, offered: list[str], wanted: list[str]) -> str:
    host = session.stream.host
    tls = session.stream.tls
    if not offered:
        return f"SASL authentication is wanted, but host {host} does not offer it{'' if tls else ' without TLS'}"
    if choose(offered, (), wanted):
        option = "smtp_sasl_tls_security_options" if tls else "smtp_sasl_security_options"
        how = "" if tls else " without TLS"
        return f"SASL authentication: {option} forbids to tell host {host} the password{how}"
    which = "that smtp_sasl_mechanism_filter wants" if choose(offered, ()) else "known here"
    return f"SASL authentication: host {host} offers no mechanism {which}: {' '.join(offered)[:100]}"


def _given_up(session: SmtpSession, status: str, text: str) -> SessionError:
    """End a session whose server is not as it has to be."""
    session.stream.abort()
    return SessionError(deferred(status, text, Scope.HOST, session.stream.relay))
