"""mailctl dkim: keys for DKIM signatures.

    mailctl dkim keygen [--type rsa|ed25519] DOMAIN [SELECTOR]   make a key; say what DNS and main.cf need
    mailctl dkim show DOMAIN [SELECTOR]                          print the DNS records of a domain's keys again
    mailctl dkim check DOMAIN                                    compare the keys in use with what DNS says

A key is readable by the SMTP client's user alone. `check` exits 1 when a key is missing, or not published.
"""

import asyncio
import json
import os
import pwd
import time

from ...core.config import Config
from ...core.errors import ConfigError, SpoolError, UsageError
from ...core.exitcodes import EX_OK
from ...core.lookup import Found
from ...formats import dkim
from ...host.configuration import load
from ...host.dkim_keys import ED25519, RSA, Key, make_key, read_key
from ...host.dns import Resolver
from ...host.name_servers import servers_of
from ...host.tables import Tables
from ...services.children import user_of
from ...services.dkim_domains import Signing, check_names, directory_of, key_path, signings
from ..terminal import fitted
from .ensure_directory import ensure_directory
from .oauth_directory import DATA_MODE
from .parser import Parser
from .smtp_client_user import become_smtp_client

_NOT_GOOD = 1
_STRING = 255  # octets in one string of a TXT record


def main(arguments: list[str], directory: str) -> int:
    """Run the verb."""
    parser = Parser("dkim", "Make, show and check keys for DKIM signatures.")
    parser.add_argument("verb", choices=("keygen", "show", "check"))
    parser.add_argument("domain")
    parser.add_argument("selector", nargs="?", default="")
    parser.add_argument("--type", choices=(RSA, ED25519), default=RSA)
    parser.add_argument("-j", "--json", action="store_true", help="show, check: as JSON")
    options = parser.parse_args(arguments)
    domain = options.domain.lower().removesuffix(".")
    try:
        check_names(domain, options.selector or "s")
    except ValueError as error:
        raise UsageError(str(error)) from None
    config, _ = load(directory)
    try:
        if options.verb == "keygen":
            return keygen(config, domain, options.selector, options.type)
        become_smtp_client(config)
        if options.verb == "show":
            return show(config, domain, options.selector, options.json)
        return check(config, domain, options.json)
    except (OSError, ValueError) as error:
        raise SpoolError(str(error)) from error


def keygen(config: Config, domain: str, selector: str, key_type: str) -> int:
    """Make a key and say what is to be done with it."""
    selector = selector or time.strftime(f"{key_type[0]}%Y%m", time.gmtime())
    _ensure_directory(config)
    become_smtp_client(config)
    path = key_path(config, domain, selector)
    try:
        key = make_key(path, key_type)
    except FileExistsError:
        raise ConfigError(f"{path}: there is a key of this selector; choose another selector") from None
    print(f"; key: {path}\n; 1. publish this in the zone of {domain}:")
    print(_zone_line(domain, selector, key))
    print(f"; 2. when `mailctl dkim check {domain}` finds it, have mail signed with it:")
    print(f";    dkim_domains = inline:{{ {{{domain} = {selector}}} }}")
    print(f";    (or a table such as texthash:{config.config_directory}/dkim with a line: {domain} {selector})")
    return EX_OK


def _ensure_directory(config: Config) -> None:
    user = user_of("smtp", config)
    if not user:
        os.makedirs(directory_of(config), 0o700, exist_ok=True)
        return
    owner, client = pwd.getpwnam(config.mail_owner), pwd.getpwnam(user)
    for _ in ensure_directory(config.data_directory, DATA_MODE, owner.pw_uid, owner.pw_gid):
        pass
    for _ in ensure_directory(directory_of(config), 0o700, client.pw_uid, client.pw_gid):
        pass


def _name(domain: str, selector: str) -> str:
    return f"{selector}._domainkey.{domain}"


def _zone_line(domain: str, selector: str, key: Key) -> str:
    text = dkim.record(key.type, key.public)
    strings = " ".join(f'"{text[at : at + _STRING]}"' for at in range(0, len(text), _STRING))
    return f"{_name(domain, selector)}. IN TXT ( {strings} )"


def in_use(config: Config, domain: str) -> list[Signing]:
    """Return what main.cf signs with for a domain."""
    value = Tables(config.dkim_domains, lambda text: None).look_up(domain)
    return signings(config, domain, value) if value else []


def _known(config: Config, domain: str) -> list[Signing]:
    """Return what main.cf signs with, and the other keys of the domain that lie in our directory."""
    found = in_use(config, domain)
    used = {signing.path for signing in found}
    prefix = domain + "."
    names = sorted(os.listdir(directory_of(config))) if os.path.isdir(directory_of(config)) else []
    for name in names:
        selector = name.removeprefix(prefix).removesuffix(".pem")
        if name == f"{prefix}{selector}.pem" and key_path(config, domain, selector) not in used:
            found.append(Signing(domain, selector, key_path(config, domain, selector)))
    return found


def show(config: Config, domain: str, selector: str, as_json: bool = False) -> int:
    """Print the records of a domain's keys."""
    found = [s for s in _known(config, domain) if selector in ("", s.selector)]
    if not found:
        raise ConfigError(f"{domain}: no key; `mailctl dkim keygen {domain}` makes one")
    keys = [(signing, read_key(signing.path)) for signing in found]
    if as_json:
        rows = [{"name": _name(domain, s.selector), "record": dkim.record(key.type, key.public)} for s, key in keys]
        print(json.dumps(rows, indent=1))
        return EX_OK
    for signing, key in keys:
        print(_zone_line(domain, signing.selector, key))
    return EX_OK


def check(config: Config, domain: str, as_json: bool = False) -> int:
    """Compare each key with DNS; those in use must be published."""
    used, known = in_use(config, domain), _known(config, domain)
    if not used and not as_json:
        print(f"{domain}: main.cf signs nothing for it (dkim_domains)")
    rows = asyncio.run(_check_all(config, known, used))
    if as_json:
        print(json.dumps(rows, indent=1))
    else:
        for row in rows:
            print(fitted(f"{row['name']}: {row['state']} ({'in use' if row['in_use'] else 'not in use'})"))
    return EX_OK if used and all(row["good"] for row in rows if row["in_use"]) else _NOT_GOOD


async def _check_all(config: Config, known: list[Signing], used: list[Signing]) -> list[dict[str, object]]:
    servers = servers_of(config)
    resolver = Resolver(servers, config.resolver_timeout)
    rows: list[dict[str, object]] = []
    for signing in known:
        said = await state(resolver, signing)
        name = _name(signing.domain, signing.selector)
        rows.append({"name": name, "state": said or "published", "good": not said, "in_use": signing in used})
    return rows


async def state(resolver: Resolver, signing: Signing) -> str:
    """Return what is wrong with a key, "" where nothing is."""
    try:
        key = read_key(signing.path)
    except (OSError, ValueError) as error:
        return f"the key cannot be read: {error}"
    answer = await resolver.texts(_name(signing.domain, signing.selector))
    if answer.found is Found.TEMPORARY:
        return f"DNS does not say now: {answer.reason}"
    records = [dkim.tags(text) for text in answer.addresses]
    wanted = dkim.tags(dkim.record(key.type, key.public))
    if any(r.get("p") == wanted["p"] and r.get("k", RSA) == key.type for r in records):
        return ""
    if any(r.get("p") == "" for r in records):
        return "DNS says that this key is revoked"
    return "DNS has another key" if records else "not published"
