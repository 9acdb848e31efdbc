"""Certificates of our own making and of others, and signatures for tokens: the one door to cryptography.

What we make keeps listeners out, and proves nothing: nobody can verify it. Its key never leaves the file.
"""

import datetime
import hashlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cryptography import x509

_YEARS = 10


def self_signed(name: str) -> bytes:
    """Return a new key with a certificate for a host, as PEM; raises ImportError without cryptography."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=365 * _YEARS))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    )
    encoding = serialization.Encoding.PEM
    private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return private + builder.sign(key, hashes.SHA256()).public_bytes(encoding)


def ends(chain: bytes) -> list[float]:
    """Return when each certificate of a PEM file ends, in seconds since the epoch; raises ValueError, ImportError."""
    from cryptography import x509

    parts = [b"-----BEGIN CERTIFICATE" + part for part in chain.split(b"-----BEGIN CERTIFICATE")[1:]]
    return _ends([x509.load_pem_x509_certificate(part) for part in parts])


def _ends(certificates: "list[x509.Certificate]") -> list[float]:
    if certificates and hasattr(certificates[0], "not_valid_after_utc"):  # from cryptography 42 on
        return [c.not_valid_after_utc.timestamp() for c in certificates]
    return [c.not_valid_after.replace(tzinfo=datetime.UTC).timestamp() for c in certificates]


def sign_rs256(key: str, text: bytes) -> bytes:
    """Sign as JWTs are signed (RFC 7518 3.3); raises ValueError for a key that is none, which does not tell it."""
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import padding, rsa

    try:
        private = serialization.load_pem_private_key(key.encode(), None)
    except (ValueError, TypeError):
        raise ValueError("the private key cannot be read") from None
    if not isinstance(private, rsa.RSAPrivateKey):
        raise ValueError("the private key is not RSA")
    return private.sign(text, padding.PKCS1v15(), hashes.SHA256())


def public_key_of(certificate: bytes) -> bytes:
    """Return the public key of a certificate, both as DER; raises ValueError, and ImportError without cryptography."""
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization

    key = x509.load_der_x509_certificate(certificate).public_key()
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def described(certificate: bytes) -> dict[str, Any]:
    """Return names, issuer and end of a certificate (DER) for people; raises ValueError, ImportError."""
    from cryptography import x509

    read = x509.load_der_x509_certificate(certificate)
    try:
        alternative = read.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = [str(name.value) for name in alternative if isinstance(name, x509.DNSName | x509.IPAddress)]
    except x509.ExtensionNotFound:
        names = []
    (end,) = _ends([read])
    subject, issuer = (name.rfc4514_string() for name in (read.subject, read.issuer))
    digest = hashlib.sha256(certificate).hexdigest()
    return {"names": names, "subject": subject, "issuer": issuer, "ends_at": int(end), "sha256": digest}
