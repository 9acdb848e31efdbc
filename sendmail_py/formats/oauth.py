"""OAuth 2.0 as mail needs it (RFC 6749, 7523, 8628): accounts as text, what a token server is asked, what it says.

Pure: clocks, signatures and servers are others' business. Guarantees: no error text and no repr() holds a
token, a client's secret or a key, also when a server repeats one.
"""

import base64
import json
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from ..core.errors import MailError
from ..core.exitcodes import EX_TEMPFAIL, EX_UNAVAILABLE

REFRESH, CLIENT, ASSERTION = "refresh_token", "client_credentials", "jwt-bearer"
_SECONDS_IF_UNSAID = 600
_MARGIN = 300  # a token is renewed this long before its end, or in the last quarter of a short life
_LONGEST_LIFE = 30 * 86400
_TEXT_LIMIT = 200
_SECRETS = ("refresh_token", "previous_refresh_token", "access_token", "client_secret", "key")
_LOG_IN_AGAIN = ("invalid_grant", "interaction_required", "consent_required", "login_required")
_VERSION = 1
_GRANT_URN = "urn:ietf:params:oauth:grant-type:"


class OAuthError(MailError):
    """There is no access token now; another attempt may have one."""

    exit_code = EX_TEMPFAIL


class OAuthRefused(OAuthError):
    """The token server refuses what we have: somebody has to log in again, or mend the registration."""

    exit_code = EX_UNAVAILABLE

    def __init__(self, text: str, code: str = "") -> None:
        super().__init__(text)
        self.code = code


def _secret() -> Any:
    return field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Account:
    """One address at one provider, with what it takes to get access tokens for it.

    serial grows with each change. expires_at and obtained_at are seconds since the epoch. previous_refresh_token
    is the one before the last: it may be all that a server knows, when its last answer was lost. revoked is why nobody
    can get tokens any more; told says that postmaster knows. trouble is what went wrong last, if it did.
    """

    provider: str
    address: str
    grant: str
    token_url: str
    client_id: str
    client_secret: str = _secret()
    scope: str = ""
    ca_file: str = ""
    refresh_token: str = _secret()
    previous_refresh_token: str = _secret()
    key: str = _secret()
    key_id: str = ""
    access_token: str = _secret()
    expires_at: int = 0
    obtained_at: int = 0
    serial: int = 0
    revoked: str = ""
    revoked_at: int = 0
    told: bool = False
    trouble: str = ""

    def is_good(self, now: float, refused: str = "") -> bool:
        """Say whether the access token needs no renewal yet; one that was refused always does."""
        life = self.expires_at - self.obtained_at
        margin = min(_MARGIN, life / 4)
        return self.is_usable(now, refused) and now < self.expires_at - margin

    def is_usable(self, now: float, refused: str = "") -> bool:
        """Say whether the access token may still be shown to a server."""
        has_begun = self.obtained_at <= now + _MARGIN  # otherwise the clock has gone back, and says nothing
        return bool(self.access_token) and self.access_token != refused and has_begun and now < self.expires_at

    def revoked_by(self, error: OAuthError) -> bool:
        """Say whether a refusal means that the user has to log in again."""
        return self.grant == REFRESH and isinstance(error, OAuthRefused) and error.code in _LOG_IN_AGAIN

    def without_secrets(self, text: str) -> str:
        """Return a text in which none of the account's secrets stands."""
        secrets = {getattr(self, name) for name in _SECRETS} - {""}
        for secret in sorted(secrets, key=len, reverse=True):
            text = text.replace(secret, "<hidden>")
        return text


def to_json(account: Account) -> str:
    """Return the text of an account's file."""
    return json.dumps({"version": _VERSION, **asdict(account)}, indent=1) + "\n"


def from_json(text: str) -> Account:
    """Read an account's file; raises ValueError, which tells nothing of what stands there."""
    try:
        row = json.loads(text)
        version = row.pop("version")
        account = Account(**{f.name: row[f.name] for f in fields(Account) if f.name in row})
    except (ValueError, TypeError, KeyError, AttributeError):
        raise ValueError("it does not hold an account") from None
    if version != _VERSION:
        raise ValueError(f"its version is {str(version)[:20]}, not {_VERSION}")
    for f in fields(Account):
        if type(getattr(account, f.name)) is not f.type:
            raise ValueError(f"{f.name} is not what it should be")
    return account


# --- what is asked ----------------------------------------------------------------------------


def token_request(account: Account, assertion: str = "") -> dict[str, str]:
    """Return the form that asks for an access token; assertion is the signed one where the grant needs it."""
    if account.grant == ASSERTION:
        return {"grant_type": _GRANT_URN + ASSERTION, "assertion": assertion}
    form = {"grant_type": account.grant, "client_id": account.client_id, "client_secret": account.client_secret}
    if account.grant == REFRESH:
        form["refresh_token"] = account.refresh_token
    return _filled(form | {"scope": account.scope})


def device_request(client_id: str, scope: str) -> dict[str, str]:
    """Return the form that begins the flow for devices without a browser (RFC 8628 3.1)."""
    return _filled({"client_id": client_id, "scope": scope})


def device_poll(client_id: str, client_secret: str, device_code: str) -> dict[str, str]:
    """Return the form that asks whether the user has agreed (RFC 8628 3.4)."""
    form = {"grant_type": _GRANT_URN + "device_code", "device_code": device_code, "client_id": client_id}
    return _filled(form | {"client_secret": client_secret})


def code_request(client_id: str, client_secret: str, code: str, redirect: str, verifier: str) -> dict[str, str]:
    """Return the form that changes an authorization code into tokens (RFC 6749 4.1.3, 7636)."""
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect, "code_verifier": verifier}
    return _filled(form | {"client_id": client_id, "client_secret": client_secret})


def _filled(form: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in form.items() if value}


def assertion_to_sign(account: Account, now: float) -> str:
    """Return the first two parts of a JWT that speaks for the account's address (RFC 7523, Google's claims)."""
    header = {"alg": "RS256", "typ": "JWT"} | ({"kid": account.key_id} if account.key_id else {})
    claims = {
        "iss": account.client_id,
        "sub": account.address,
        "scope": account.scope,
        "aud": account.token_url,
        "iat": int(now),
        "exp": int(now) + 3600,
    }
    return ".".join(url_base64(json.dumps(part, separators=(",", ":")).encode()) for part in (header, claims))


def url_base64(octets: bytes) -> str:
    """Return base64 for URLs, without padding (RFC 7515 2)."""
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


# --- what is said -----------------------------------------------------------------------------


def renewed(account: Account, status: int, body: bytes, now: float) -> Account:
    """Return the account with the tokens of an answer; raises OAuthError, OAuthRefused."""
    row = answer(status, body)
    if "error" in row or status != 200:
        raise refusal(row, status, account)
    token, kind = row.get("access_token"), str(row.get("token_type", "bearer"))
    if not isinstance(token, str) or not _is_token(token) or kind.lower() != "bearer":
        raise OAuthError("the token server gave no bearer token")
    rotated = row.get("refresh_token")
    if not isinstance(rotated, str) or not rotated or rotated == account.refresh_token:
        rotated, before = account.refresh_token, account.previous_refresh_token
    else:
        before = account.refresh_token
    return replace(
        account,
        access_token=token,
        refresh_token=rotated,
        previous_refresh_token=before,
        obtained_at=int(now),
        expires_at=int(now) + _seconds(row.get("expires_in")),
        revoked="",
        revoked_at=0,
        told=False,
        trouble="",
    )


def _is_token(text: str) -> bool:
    """Say whether a text can be sent as a bearer token (RFC 6750 2.1)."""
    return text.isascii() and text.isprintable() and " " not in text and 0 < len(text) <= 8192


def _seconds(said: object) -> int:
    try:
        return min(max(0, int(said)), _LONGEST_LIFE)  # type: ignore[call-overload,no-any-return]
    except (TypeError, ValueError):
        return _SECONDS_IF_UNSAID


def answer(status: int, body: bytes) -> dict[str, Any]:
    """Return what a token server answered; raises OAuthError where that is no JSON."""
    try:
        row = json.loads(body)
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict):
        raise OAuthError(f"the token server answered {status}, and no JSON")
    return row


def refusal(row: dict[str, Any], status: int, account: Account | None = None) -> OAuthError:
    """Return what an answer that is no token means: the server's trouble, or ours."""
    code, said = (str(row.get(name) or "") for name in ("error", "error_description"))
    text = " ".join(f"{code}: {said}".split()).rstrip(": ") or f"it answered {status}"
    if account is not None:
        text = account.without_secrets(text)
    text = "".join(c for c in text if c.isprintable())[:_TEXT_LIMIT]
    if status >= 500 or status == 429 or code in ("server_error", "temporarily_unavailable") or not code:
        return OAuthError(f"the token server has trouble: {text}")
    return OAuthRefused(f"the token server refuses: {text}", code)
