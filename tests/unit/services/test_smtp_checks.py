"""Parameters of the SMTP client that cannot be, before any service starts."""

import pytest

from sendmail_py.core.config import Config, Setting
from sendmail_py.core.errors import ConfigError
from sendmail_py.services.smtp_checks import check_smtp, password_complaints, unused_logins


def config(**values):
    return Config({name: Setting(value, "main.cf:7") for name, value in values.items()})


def test_the_defaults_are_good():
    check_smtp(config())


@pytest.mark.parametrize(
    "values",
    [
        {"smtp_tls_security_level": "halfdane"},
        {"resolver_trusted_nameservers": "resolver.example.net"},
        {"smtp_tls_fingerprint_cert_match": "not a digest"},
        {"smtp_tls_exclude_ciphers": "a!b"},
        {"smtp_bind_address": "::1"},
        {"smtp_bind_address6": "mx.test"},
        {"smtp_connection_cache_destinations": "hash:/etc/x"},
        {"smtp_tls_security_level": "yes"},
        {"smtp_tls_protocols": "TLSv9"},
        {"smtp_tls_mandatory_protocols": "!TLSv1 !TLSv1.1 !TLSv1.2 !TLSv1.3"},
        {"smtp_tls_security_level": "none", "smtp_tls_wrappermode": "yes"},
        {"smtp_tls_policy_maps": "regexp:/etc/policy"},
        {"smtp_tls_policy_maps": "socketmap:nowhere"},
        {"smtp_tls_policy_maps": "static:dane match=a.test"},
        {"smtp_tls_policy_maps": "texthash:policy"},
        {"smtp_sasl_auth_enable": "yes"},
        {"smtp_sasl_password_maps": "static:user:password"},
        {"smtp_sasl_security_options": "nothing"},
    ],
)
def test_what_cannot_be_is_refused_with_its_place(values):
    with pytest.raises(ConfigError, match=r"main\.cf:7"):
        check_smtp(config(**values))


def test_tls_from_the_first_octet_needs_no_other_line():
    check_smtp(config(smtp_tls_wrappermode="yes"))


@pytest.mark.parametrize(
    ("mode", "says"),
    [(0o600, []), (0o640, ["others can get at the passwords"]), (None, ["No such file or directory"])],
)
def test_passwords_that_are_not_kept_well_are_complained_about(mode, says, tmp_path):
    path = tmp_path / "passwords"
    if mode is not None:
        path.write_text("mx.test me:secret\n")
        path.chmod(mode)
    values = {"smtp_sasl_password_maps": f"hash:{path}", "smtp_sasl_auth_enable": "yes", "mail_owner": "root"}
    found = password_complaints(config(**values))
    assert len(found) == len(says)
    assert all(f"{path}" in complaint and text in complaint for complaint, text in zip(found, says, strict=True))
    without = config(**values | {"smtp_sasl_auth_enable": "no"})
    assert password_complaints(without) == [] and len(unused_logins(without)) == 1
    assert unused_logins(config(**values)) == unused_logins(config()) == []
