"""An instance that sends all its mail to a smarthost, by TLS and with a login, which stands in a file of passwords."""

from pathlib import Path

from tests.integration.instance import Instance
from tests.servers.certificates import Authority
from tests.servers.secure_sink import SecureSink


class SmarthostInstance(Instance):
    """One for a sink on this host, with a certificate of the authority. What is deferred waits for the tests to end."""

    def __init__(self, path: Path, sink: SecureSink, authority: Authority, **settings: object) -> None:
        self.sink = sink
        self.authority = authority
        super().__init__(
            path,
            relayhost=f"[127.0.0.1]:{sink.port}",
            smtp_tls_security_level="secure",
            smtp_tls_CAfile=authority.file,
            smtp_sasl_auth_enable="yes",
            smtp_sasl_password_maps="texthash:$config_directory/passwords",
            minimal_backoff_time="1h",
            maximal_backoff_time="1h",
            **settings,
        )

    def write_login(self, user: str, password: str) -> None:
        """Write the file of passwords."""
        path = self.path / "passwords"
        path.write_text(f"[127.0.0.1]:{self.sink.port} {user}:{password}\n")
        path.chmod(0o600)
