"""The providers that need no URLs on the command line, and what any other needs.

Facts about other people's servers, from their documents: Microsoft 365 wants an application registered in the
tenant; Google gives the scope of mail to no device code, so that a browser on any machine has to help.
"""

from dataclasses import dataclass, replace
from typing import Final


@dataclass(frozen=True, slots=True)
class Provider:
    """Where to ask and what for; application_scope is for a client that speaks for itself, without a user."""

    name: str
    token_url: str = ""
    device_url: str = ""
    authorization_url: str = ""
    scope: str = ""
    application_scope: str = ""
    relayhost: str = ""

    def of_tenant(self, tenant: str) -> "Provider":
        """Return the provider with its tenant filled in."""
        urls = (self.token_url, self.device_url, self.authorization_url)
        token, device, authorization = (url.replace("{tenant}", tenant) for url in urls)
        return replace(self, token_url=token, device_url=device, authorization_url=authorization)


_MICROSOFT = "https://login.microsoftonline.com/{tenant}/oauth2/v2.0"
PRESETS: Final = {
    "microsoft": Provider(
        "microsoft",
        f"{_MICROSOFT}/token",
        f"{_MICROSOFT}/devicecode",
        f"{_MICROSOFT}/authorize",
        "https://outlook.office.com/SMTP.Send offline_access",
        "https://outlook.office365.com/.default",
        "[smtp.office365.com]:587",
    ),
    "google": Provider(
        "google",
        "https://oauth2.googleapis.com/token",
        "",
        "https://accounts.google.com/o/oauth2/v2/auth",
        "https://mail.google.com/",
        "https://mail.google.com/",
        "[smtp.gmail.com]:587",
    ),
}
