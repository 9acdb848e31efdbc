"""mailctl oauth login: get the first tokens of an account, and say how the SMTP client is told to use it.

Guarantees: secrets come from files or are asked for, never from the command line; what is written belongs to the
SMTP client's user, as whom the whole conversation with the provider is held.
"""

import argparse
import getpass
import json
from dataclasses import replace

from ...core.config import Config
from ...core.errors import UsageError
from ...core.exitcodes import EX_OK
from ...formats.oauth import ASSERTION, CLIENT, REFRESH, Account
from ...formats.oauth_providers import PRESETS, Provider
from ...host.configuration_file import read_text
from ...host.https import check_url
from ...services.oauth_login import by_code, by_device
from ...services.oauth_refresh import ask
from .oauth_configure import configure, in_child
from .oauth_directory import ensure_token_directory, open_store
from .parser import Parser

_LOCK_SECONDS = 60


def login(config: Config, words: list[str]) -> int:
    """Get tokens and keep them; what was there before stays until the new ones are there."""
    options = _parser().parse_args(words)
    if not options.address or ":" in options.address or not options.address.isprintable() or " " in options.address:
        raise UsageError(f"{options.address}: an address expected")
    provider = _provider(options)
    relayhost = options.configure or provider.relayhost
    if options.configure == "" and not relayhost:
        raise UsageError(f"{options.provider} has no preset: --configure needs the relayhost")
    account = _account(options, provider)  # secrets are read as root, the tokens belong to another
    ensure_token_directory(config)
    if options.configure is None:
        _get(config, options, account, provider)
        _say(_what_next(config, account, provider))
        return EX_OK
    code = in_child(lambda: _get(config, options, account, provider))
    return code or configure(config, relayhost, f"{account.address}:oauth:{account.provider}")


def _get(config: Config, options: argparse.Namespace, account: Account, provider: Provider) -> int:
    """Have the conversation with the provider and keep what comes of it, as the user it belongs to from now on."""
    store = open_store(config)
    if account.grant != REFRESH:
        account = ask(account)
    elif options.browser or not provider.device_url:
        account = by_code(account, provider.authorization_url, _say, input)
    else:
        account = by_device(account, provider.device_url, _say)
    with store.lock(account.provider, account.address, _LOCK_SECONDS):
        before = store.load(account.provider, account.address)
        account = store.save(replace(account, serial=before.serial if before else 0))
    _say(f"{account.address} is logged in at {account.provider}")
    return EX_OK


def _provider(options: argparse.Namespace) -> Provider:
    preset = PRESETS.get(options.provider, Provider(options.provider))
    preset = preset.of_tenant(options.tenant or ("common" if not options.client_credentials else ""))
    given = {
        name: getattr(options, name)
        for name in ("token_url", "device_url", "authorization_url", "scope")
        if getattr(options, name)
    }
    if options.scope:
        given["application_scope"] = options.scope
    provider = replace(preset, **given)
    if options.client_credentials and options.provider == "microsoft" and not options.tenant:
        raise UsageError("--client-credentials needs --tenant")
    if not provider.token_url and not options.service_account:
        raise UsageError(f"{options.provider} has no preset: --token-url is needed ({', '.join(PRESETS)} have one)")
    return provider


def _account(options: argparse.Namespace, provider: Provider) -> Account:
    """Return the account as far as it is known before anybody is asked."""
    if options.service_account:
        return _service_account(options, provider)
    if not options.client_id:
        raise UsageError("--client-id is needed: register an application at the provider first (docs/oauth.md)")
    as_application = options.client_credentials
    if not as_application and not (provider.device_url or provider.authorization_url):
        raise UsageError(f"{options.provider}: --device-url or --authorization-url is needed")
    return Account(
        options.provider,
        options.address,
        CLIENT if as_application else REFRESH,
        provider.token_url,
        options.client_id,
        _client_secret(options),
        provider.application_scope if as_application else provider.scope,
        options.ca_file,
    )


def _client_secret(options: argparse.Namespace) -> str:
    """Return the application's secret; a public client has none."""
    if options.client_secret_file:
        return read_text(options.client_secret_file).strip()
    if options.client_credentials:
        return getpass.getpass("client secret: ").strip()
    return ""


def _service_account(options: argparse.Namespace, provider: Provider) -> Account:
    text = read_text(options.service_account)
    try:
        row = json.loads(text)
        key, client, key_id = str(row["private_key"]), str(row["client_email"]), str(row.get("private_key_id", ""))
        url = options.token_url or str(row.get("token_uri") or provider.token_url)
    except (ValueError, KeyError, TypeError):
        raise UsageError(f"{options.service_account} is not the JSON file of a service account") from None
    _check_file_url(options.service_account, url)
    scope = provider.application_scope or provider.scope
    return Account(
        options.provider,
        options.address,
        ASSERTION,
        url,
        client,
        scope=scope,
        ca_file=options.ca_file,
        key=key,
        key_id=key_id,
    )


def _check_file_url(path: str, url: str) -> None:
    try:
        check_url(url)
    except ValueError as error:
        raise UsageError(f"{path}: {error}") from error


def _what_next(config: Config, account: Account, provider: Provider) -> str:
    hop = provider.relayhost or "[smtp.example.org]:587"
    return f"""
The SMTP client uses it where a line of smtp_sasl_password_maps says so:

    {hop} {account.address}:oauth:{account.provider}

and main.cf ({config.config_directory}/main.cf) has

    relayhost = {hop}
    smtp_tls_security_level = secure
    smtp_sasl_auth_enable = yes
    smtp_sasl_password_maps = texthash:{config.config_directory}/sasl_passwd"""


def _say(text: str) -> None:
    print(text, flush=True)


def add_account(parser: argparse.ArgumentParser) -> None:
    """Add the two words that name an account."""
    parser.add_argument("provider", type=_provider_name, help=f"{', '.join(PRESETS)}, or a name of your own")
    parser.add_argument("address", help="the mailbox: the user of the login")


def _parser() -> Parser:
    parser = Parser("oauth login", "Log in: at any browser, or as an application of its own.")
    add_account(parser)
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--browser", action="store_true", help="paste what a browser is sent to (google: always)")
    how.add_argument("--client-credentials", action="store_true", help="as an application, without a user")
    how.add_argument("--service-account", metavar="FILE", help="as a service account: Google's JSON file")
    parser.add_argument("--client-id", default="", help="the application that is registered at the provider")
    parser.add_argument("--client-secret-file", metavar="FILE", help="the file with its secret")
    parser.add_argument("--tenant", default="", help="Microsoft 365: the tenant, as its id or domain")
    parser.add_argument("--scope", default="", help="what is asked for")
    for name in ("token", "device", "authorization"):
        parser.add_argument(f"--{name}-url", type=_url, metavar="URL", help="of a provider without a preset")
    parser.add_argument(
        "--configure", nargs="?", const="", metavar="RELAYHOST", help="have all mail sent there with this login"
    )
    parser.add_argument("--ca-file", default="", help="the authorities to trust, where not the system's")
    return parser


def _provider_name(text: str) -> str:
    plain = text.replace("-", "a").replace("_", "a").replace(".", "a")
    if not (plain.isascii() and plain.isalnum() and text == text.lower() and text[0].isalnum() and len(text) <= 64):
        raise argparse.ArgumentTypeError(f"{text}: lower-case letters and digits expected")
    return text


def _url(text: str) -> str:
    try:
        check_url(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text
