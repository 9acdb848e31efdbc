"""mailctl test-delivery: what would become of a message to this recipient, and as whom; nothing is delivered.

It asks the objects that the services use, with the rights that they use: aliases as mail_owner, a
.forward as its user. The message on standard input, if there is one, is looked at for loops.
"""

import contextlib
import itertools
import os
import pwd
import sys
from collections.abc import Callable, Iterable, Iterator

from ...core.address import Address
from ...core.config import Config
from ...core.envelope import MAILBOX, Recipient
from ...core.errors import UsageError
from ...core.exitcodes import EX_OK, EX_TEMPFAIL, EX_UNAVAILABLE
from ...core.result import DeliveryResult, Outcome, Settled, deferred, failed
from ...core.route import ERROR, LOCAL, RETRY, VIRTUAL, Route
from ...delivery import forward
from ...delivery.local_user import Users, check_home, no_files, unknown
from ...delivery.mailbox_commands import MailboxCommands
from ...formats.aliases import Alias
from ...formats.delivery_fields import delivered_to, is_among
from ...formats.listing import clean_json
from ...host.alias_files import AliasFiles
from ...host.alias_sources import read_include
from ...host.configuration import load
from ...host.privileges import acts_for_others, effective, stay_one_user
from ...host.users import User
from ...routing.expand import FORWARD, FORWARDED, Expansion, Final, Rules
from ...routing.resolve import transport_of
from ...services.children import is_one_user
from ...services.local_checks import check_local
from ...services.routes import check_routing, routing_of
from ..terminal import fitted
from .parser import Parser

_SHOWN = 1000  # results of one expansion
_HEADER = 1 << 20


def main(arguments: list[str], directory: str) -> int:
    """Run `mailctl test-delivery RECIPIENT < message`; 0: delivered, 69: something fails, 75: something waits."""
    parser = Parser("test-delivery", "Say what would become of the message on standard input to a recipient.")
    parser.add_argument("recipient", metavar="RECIPIENT")
    parser.add_argument("-j", "--json", action="store_true", help="as JSON")
    options = parser.parse_args(arguments)
    config, _ = load(directory)
    check_routing(config)
    check_local(config)
    if is_one_user(config):
        stay_one_user()
    header = b"" if sys.stdin.isatty() else sys.stdin.buffer.read(_HEADER).partition(b"\n\n")[0]
    try:
        address = Address.parse(options.recipient)
    except ValueError as error:
        raise UsageError(f"{options.recipient}: {error}") from error
    steps: list[dict[str, object]] = []
    say = (lambda text: steps.append(_step(text))) if options.json else (lambda text: print(fitted(text)))
    explainer = Explainer(config, header, say)
    explainer.address(address)
    code = explainer.exit_code()
    if options.json:
        found = {EX_OK: "delivered", EX_TEMPFAIL: "deferred", EX_UNAVAILABLE: "failed"}[code]
        print(clean_json({"recipient": options.recipient, "outcome": found, "steps": steps}))
    return code


def _step(text: str) -> dict[str, object]:
    plain = text.lstrip(" ")
    return {"depth": (len(text) - len(plain)) // 2, "text": plain}


class Explainer:
    """Follows a recipient to the ends of its ways, and says each step on a line, indented by its depth."""

    def __init__(self, config: Config, header: bytes, say: Callable[[str], None]) -> None:
        self._config = config
        self._print = say
        self._depth = 0
        self._routing = routing_of(config, self._say)
        self._rules = Rules(config, self._routing)
        self._aliases = AliasFiles(config.alias_maps, self._say)
        self._users = Users(config)
        self._seen = delivered_to(header)
        self._outcomes: set[Outcome] = set()

    def exit_code(self) -> int:
        """Return how it would end: the worst of all results."""
        if Outcome.FAILED in self._outcomes:
            return EX_UNAVAILABLE
        return EX_TEMPFAIL if Outcome.DEFERRED in self._outcomes else EX_OK

    def address(self, address: Address) -> None:
        """Explain a recipient as it could be given to sendmail(1)."""
        address = self._routing.qualified(address)
        try:
            with self._as_mail_owner():
                alias = self._routing.virtual.alias(address)
        except (OSError, ValueError) as error:
            return self._end(deferred("4.3.0", f"virtual_alias_maps: {error}"))
        route = self._routing.route(address)
        if alias is None:
            return self._route(route, ())
        self._say(f"virtual alias <{address}>: {', '.join(map(str, alias.targets))}")
        expansion = Expansion(self._rules, self._look_up, read_include)
        with self._as_mail_owner():
            finals = list(itertools.islice(expansion.of_virtual(address), _SHOWN + 1))
        return self._below(lambda: self._finals(finals, route, ()))

    # --- the steps ----------------------------------------------------------------------------

    def _route(self, route: Route, visited: tuple[str, ...]) -> None:
        if route.transport in (ERROR, RETRY):
            status, _, text = route.nexthop.partition(" ")
            self._end(failed(status, text) if route.transport == ERROR else deferred(status, text))
        elif route.transport == VIRTUAL:
            gid, _, path = route.target.partition(":")
            self._say(f"<{route.address}>: mailbox {path} as uid {route.uid}, gid {gid}")
        elif route.transport != LOCAL:
            self._say(f"<{route.address}>: {route.transport} to {route.nexthop}")
        elif route.target:
            self._say(f"<{route.address}>: local")
            self._below(lambda: self._user(route, visited))
        else:
            self._say(f"<{route.address}>: local")
            self._below(lambda: self._alias(route, visited))

    def _alias(self, route: Route, visited: tuple[str, ...]) -> None:
        expansion = Expansion(self._rules, self._look_up, read_include, visited)
        with self._as_mail_owner():
            finals = list(itertools.islice(expansion.of_name(route.address.local_part), _SHOWN + 1))
        self._finals(finals, route, visited)

    def _look_up(self, name: str) -> Alias | None:
        found = self._aliases.look_up(name)
        if found is not None and not name.startswith("owner-"):
            self._say(f'alias "{name}": {", ".join(map(str, found.targets))}')
        return found

    def _finals(self, finals: Iterable[Final | DeliveryResult], route: Route, visited: tuple[str, ...]) -> None:
        for number, final in enumerate(finals):
            if number == _SHOWN:
                self._say("and more")
            elif isinstance(final, DeliveryResult):
                self._end(final)
            else:
                self._final(final, route, visited)

    def _final(self, final: Final, route: Route, visited: tuple[str, ...]) -> None:
        if final.sender is not None and FORWARDED not in "".join(visited):
            self._say(f"bounces go to <{self._routing.qualified(final.sender)}>")
        if final.address is None and not final.target:
            self._say("discarded")
        elif final.address is None:
            self._action(route, final.target, final.uid)
        elif final.address.domain and not self._routing.is_local(final.address.domain):
            self._route(self._routing.route(final.address), visited)
        else:
            address = self._routing.qualified(final.address)
            found = self._routing.mailbox(address) if final.target else self._routing.route(address)
            self._user(found, visited)

    def _action(self, route: Route, target: str, uid: int) -> None:
        """Explain a program or a file."""
        try:
            if self._is_loop(route.address):
                return
            user, _ = self._users.rights(uid)
            if target[0] == "|":
                self._say(f"program {target[1:]} as {_who(user)}")
            elif os.getuid() == 0 and not acts_for_others():
                self._end(no_files(target))
            else:
                self._say(f"file {target} as {_who(user)}")
        except Settled as settled:
            self._end(settled.result)

    def _user(self, route: Route, visited: tuple[str, ...]) -> None:
        try:
            user = self._users.recipient(route.nexthop)
            if user is None:
                return self._unknown(route)
            check_home(user, self._config)
            if self._is_loop(route.address):
                return None
            found = None if route.target == MAILBOX else self._forward_of(user, route)
            if found is None:
                return self._mailbox(user)
        except Settled as settled:
            return self._end(settled.result)
        self._say(f"{found.path} as {_who(user)}: {', '.join(map(str, found.targets[:_SHOWN]))}")
        expansion = Expansion(self._rules, self._look_up, read_include, visited)
        finals = expansion.of_targets(found.targets, FORWARD, route.nexthop, user.uid)
        visited = (*visited, FORWARDED + route.nexthop)
        return self._below(lambda: self._finals(itertools.islice(finals, _SHOWN + 1), route, visited))

    def _forward_of(self, user: User, route: Route) -> forward.Forward | None:
        if not acts_for_others() and user.uid != os.getuid():
            self._say(f"(the .forward of {user.name} is not read as {_acting(user)})")
        recipient = Recipient(route.address, extension=route.extension)
        found = forward.find(user, recipient, self._config, self._say)
        return None if found is None or found.is_just(user) else found

    def _mailbox(self, user: User) -> None:
        config = self._config
        transport = transport_of(config.mailbox_transport)
        if transport:
            self._say(f"{transport[0]} to {transport[1]} (mailbox_transport)")
        elif line := MailboxCommands(config, self._say).line_for(user):
            self._say(f"program {line} as {_who(user)} (mailbox_command)")
        elif config.home_mailbox and user.uid != 0:
            self._say(f"mailbox {user.home}/{config.home_mailbox} as {_acting(user)}")
        else:
            self._say(f"mailbox {config.mail_spool_directory}/{user.name} as {_acting(user)}")

    def _unknown(self, route: Route) -> None:
        if self._config.fallback_transport or self._config.luser_relay:
            name = "fallback_transport" if self._config.fallback_transport else "luser_relay"
            self._say(f"no user {route.nexthop}: {getattr(self._config, name)} ({name})")
        else:
            self._end(unknown(route.nexthop))

    # --- helpers ------------------------------------------------------------------------------

    def _is_loop(self, address: Address) -> bool:
        if is_among(address, self._seen):
            self._end(failed("5.4.6", f"mail forwarding loop for {address}"))
            return True
        return False

    @contextlib.contextmanager
    def _as_mail_owner(self) -> Iterator[None]:
        """Read the aliases with the rights of the service that does."""
        try:
            owner = pwd.getpwnam(self._config.mail_owner)
        except KeyError:
            self._end(deferred("4.3.5", f"mail_owner = {self._config.mail_owner}: no such user"))
            yield
            return
        with effective(owner.pw_uid, owner.pw_gid, [owner.pw_gid]):
            yield

    def _end(self, result: DeliveryResult) -> None:
        self._outcomes.add(result.outcome)
        self._say(f"{result.outcome.value}: {result.status} {result.reason}")

    def _below(self, explain: Callable[[], None]) -> None:
        self._depth += 1
        explain()
        self._depth -= 1

    def _say(self, text: str) -> None:
        self._print("  " * self._depth + text)


def _acting(user: User) -> str:
    """Name who writes to a user's mailbox: the user, save in an instance of one user."""
    return _who(user if acts_for_others() else pwd.getpwuid(os.getuid()))


def _who(user: "User | pwd.struct_passwd") -> str:
    name, uid = (user.name, user.uid) if isinstance(user, User) else (user.pw_name, user.pw_uid)
    return f"{name} (uid {uid})"
