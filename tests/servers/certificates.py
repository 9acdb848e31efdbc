"""Certificates for tests: an authority, and what it signs.

authority = Authority(directory); authority.file; authority.certificate("mx.test", expired=True) -> a file with both
association(1, 1, read(path)) -> the data of a TLSA record
"""

import datetime
import hashlib
import ipaddress

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def read(path):
    """Return the first certificate of a file."""
    with open(path, "rb") as file:
        pem = file.read()
    return x509.load_pem_x509_certificate(pem[pem.index(b"-----BEGIN CERT") :])


def association(selector, matching, certificate):
    """Return what a TLSA record says of a certificate."""
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    der = serialization.Encoding.DER
    what = certificate.public_key().public_bytes(der, spki) if selector else certificate.public_bytes(der)
    return hashlib.new(("", "sha256", "sha512")[matching], what).digest() if matching else what


def _name(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _alternative(name):
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(certificate):
    return certificate.public_bytes(serialization.Encoding.PEM)


class Authority:
    """Signs certificates for names and addresses; file is its own certificate, for those who trust it."""

    def __init__(self, directory, name="Test Authority"):
        self.directory = directory
        self._name = _name(name)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._count = 0
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        builder = self._builder(self._name, self._key.public_key()).add_extension(constraints, critical=True)
        self.file = str(directory / f"authority-{name.replace(' ', '-')}.pem")
        with open(self.file, "wb") as file:
            file.write(_pem(builder.sign(self._key, hashes.SHA256())))

    def certificate(self, *names, expired=False, self_signed=False, shows_authority=False, days=1):
        """Return the path of a new certificate with its key, and with the authority's own where that is shown."""
        self._count += 1
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _name(names[0])
        issuer = subject if self_signed else self._name
        builder = self._builder(subject, key.public_key(), expired, issuer, days)
        builder = builder.add_extension(x509.SubjectAlternativeName([_alternative(n) for n in names]), critical=False)
        made = builder.sign(key if self_signed else self._key, hashes.SHA256())
        path = self.directory / f"certificate-{self._name.rfc4514_string()}-{self._count}.pem"
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path.write_bytes(private + _pem(made) + (_pem(read(self.file)) if shows_authority else b""))
        path.chmod(0o600)
        return str(path)

    def _builder(self, subject, key, expired=False, issuer=None, days=1):
        now = datetime.datetime.now(datetime.UTC)
        day = datetime.timedelta(days=1)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer or self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 3 * day)
            .not_valid_after(now - day if expired else now + days * day)
        )
