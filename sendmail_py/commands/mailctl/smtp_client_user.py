"""Acting as the user that the SMTP client runs as: its keys, tokens and policies are his."""

from ...core.config import Config
from ...core.errors import MailError
from ...host.privileges import drop_to
from ...services.children import user_of


def become_smtp_client(config: Config) -> None:
    """Go on with the rights of the SMTP client, for good, where this is root's instance; raises MailError."""
    user = user_of("smtp", config)  # nobody's where this is an instance of one user, who is the client
    if user:
        try:
            drop_to(user)
        except KeyError:
            raise MailError(f"there is no user {user}: `mailctl setup` makes it") from None
