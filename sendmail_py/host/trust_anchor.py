"""Whether a chain of certificates leads from a server's to a trust anchor that TLSA records name.

This is RFC 5280 6 as far as RFC 7671 5.2 needs it. The module ssl can only trust whole certificates that it knows
before the handshake, so the path is walked here. Guarantees: each signature, date and constraint on the way
has been checked; what is not understood is refused.
"""

import datetime
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..protocol.tlsa import CERTIFICATE, PUBLIC_KEY, TRUST_ANCHOR, Tlsa

if TYPE_CHECKING:
    from cryptography import x509

_LONGEST = 10
_TRIES = 100  # signatures: a chain may not keep us busy
_SMALLEST_RSA = 2048
_WEAK = ("md5", "sha1")
_WHOLE = 0


class Untrusted(Exception):
    """There is no path; the text says why, as the log of mail servers does: "unable to get issuer certificate"."""


def names_of(certificate: bytes) -> list[str]:
    """Return the names of a server: DNS names, its common name where there are none; raises ValueError, ImportError."""
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    read = x509.load_der_x509_certificate(certificate)
    try:
        names = read.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        found = []
    else:
        found = names.get_values_for_type(x509.DNSName)
    return found or [str(part.value) for part in read.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]


def check_path(chain: Sequence[bytes], records: Sequence[Tlsa], now: datetime.datetime) -> None:
    """Raise Untrusted unless the first of the certificates (DER) leads to an anchor; ImportError without it."""
    from cryptography import x509

    anchors = [record for record in records if record.usage == TRUST_ANCHOR]
    try:
        given = [x509.load_der_x509_certificate(one) for one in chain[:_LONGEST]]
        whole = [r.data for r in anchors if r.matching == _WHOLE and r.selector == CERTIFICATE]
        known = [x509.load_der_x509_certificate(one) for one in whole]
        _Walk(given[1:] + known, anchors, now).begin(given[0])
    except Untrusted:
        raise
    except Exception as error:  # octets of strangers: whatever they break, they prove nothing
        raise Untrusted(f"a certificate cannot be read: {error or type(error).__name__}") from error


class _Walk:
    """Looks for a path through the certificates that are at hand, the server's first."""

    def __init__(self, issuers: list["x509.Certificate"], anchors: list[Tlsa], now: datetime.datetime) -> None:
        self._issuers = issuers
        self._anchors = anchors
        self._now = now
        self._tries = _TRIES
        self._trouble = "unable to get issuer certificate"

    def begin(self, leaf: "x509.Certificate") -> None:
        """Raise Untrusted when there is no path from a certificate."""
        if not (self._is_fit(leaf, None) and self._leads_on([leaf])):
            raise Untrusted(self._trouble)

    def _leads_on(self, path: list["x509.Certificate"]) -> bool:
        """Say whether the last of a path, which is fit, is signed by an anchor, or by who leads to one."""
        if any(self._is_signed_by_key(path[-1], anchor) for anchor in self._anchors):
            return True
        for issuer in self._issuers if len(path) < _LONGEST else ():
            if (
                issuer in path
                or issuer.subject != path[-1].issuer
                or not self._is_signed(path[-1], issuer.public_key())
            ):
                continue
            if self._is_fit(issuer, path) and (self._is_anchor(issuer) or self._leads_on([*path, issuer])):
                return True
        return False

    def _is_anchor(self, certificate: "x509.Certificate") -> bool:
        from cryptography.hazmat.primitives.serialization import Encoding

        whole, key = certificate.public_bytes(Encoding.DER), _key_of(certificate)
        return any(anchor.matches(whole, key) for anchor in self._anchors)

    def _is_signed_by_key(self, certificate: "x509.Certificate", anchor: Tlsa) -> bool:
        """Say whether a record that is a public key is the one that has signed a certificate."""
        from cryptography.hazmat.primitives.serialization import load_der_public_key

        if anchor.selector != PUBLIC_KEY or anchor.matching != _WHOLE:
            return False
        return self._is_signed(certificate, load_der_public_key(anchor.data))

    def _is_signed(self, certificate: "x509.Certificate", key: Any) -> bool:
        self._tries -= 1
        return self._tries >= 0 and _is_signed(certificate, key)

    def _is_fit(self, certificate: "x509.Certificate", below: "list[x509.Certificate] | None") -> bool:
        """Say whether a certificate may be in its place: a server's own (below is None), or above others."""
        trouble = _out_of_time(certificate, self._now) or _unfit(certificate, below)
        if trouble:
            self._trouble = trouble
        return not trouble


def _key_of(certificate: "x509.Certificate") -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _out_of_time(certificate: "x509.Certificate", now: datetime.datetime) -> str:
    if hasattr(certificate, "not_valid_after_utc"):  # from cryptography 42 on
        begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    else:
        begin = certificate.not_valid_before.replace(tzinfo=datetime.UTC)
        end = certificate.not_valid_after.replace(tzinfo=datetime.UTC)
    return "certificate is not yet valid" if now < begin else "certificate has expired" if now > end else ""


def _unfit(certificate: "x509.Certificate", below: "list[x509.Certificate] | None") -> str:
    """Return what its extensions have against the place of a certificate."""
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID as Usage

    ca, purposes, key_usage = None, None, None
    for extension in certificate.extensions:
        value = extension.value
        if isinstance(value, x509.BasicConstraints):
            ca = value
        elif isinstance(value, x509.ExtendedKeyUsage):
            purposes = value
        elif isinstance(value, x509.KeyUsage):
            key_usage = value
        elif isinstance(value, x509.NameConstraints):
            if below and not _permits(value, below[0]):
                return "permitted subtree violation"
        elif extension.critical and not isinstance(value, x509.SubjectAlternativeName | x509.CertificatePolicies):
            return "unhandled critical extension"
    if purposes and not {Usage.SERVER_AUTH, Usage.ANY_EXTENDED_KEY_USAGE} & set(purposes):
        return "unsuitable certificate purpose"
    if below is None:
        uses = key_usage and (key_usage.digital_signature or key_usage.key_encipherment or key_usage.key_agreement)
        return "" if key_usage is None or uses else "unsuitable certificate purpose"
    if ca is None or not ca.ca or (key_usage and not key_usage.key_cert_sign):
        return "invalid CA certificate"
    between = sum(one.subject != one.issuer for one in below[1:])
    return "path length constraint exceeded" if ca.path_length is not None and between > ca.path_length else ""


def _permits(constraints: "x509.NameConstraints", leaf: "x509.Certificate") -> bool:
    """Say whether the names of a server are within constraints; of those, DNS names alone are understood."""
    from cryptography import x509

    permitted, excluded = constraints.permitted_subtrees or [], constraints.excluded_subtrees or []
    if any(isinstance(tree, x509.DirectoryName) for tree in [*permitted, *excluded]):
        return False
    try:
        names = list(leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return False  # its common name counts, which constraints do not speak of
    for name in names:
        allowing = [tree for tree in permitted if isinstance(tree, type(name))]
        refusing = [tree for tree in excluded if isinstance(tree, type(name))]
        if not isinstance(name, x509.DNSName):
            if allowing or refusing:
                return False
            continue
        is_allowed = not allowing or any(_is_below(name.value, tree.value) for tree in allowing)
        if not is_allowed or any(_is_below(name.value, tree.value) for tree in refusing):
            return False
    return True


def _is_below(name: str, tree: str) -> bool:
    name, tree = name.lower(), tree.lower()
    return not tree or name == tree or name.endswith(tree if tree[0] == "." else f".{tree}")


def _is_signed(certificate: "x509.Certificate", key: Any) -> bool:
    """Say whether a key has signed a certificate, in a way that counts today."""
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa

    signature, text = certificate.signature, certificate.tbs_certificate_bytes
    try:
        digest = certificate.signature_hash_algorithm
        if digest is not None and digest.name in _WEAK:
            return False
        if isinstance(key, rsa.RSAPublicKey) and digest is not None:
            if key.key_size < _SMALLEST_RSA:
                return False
            key.verify(signature, text, padding.PKCS1v15(), digest)
        elif isinstance(key, ec.EllipticCurvePublicKey) and digest is not None:
            key.verify(signature, text, ec.ECDSA(digest))
        elif isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
            key.verify(signature, text)
        else:
            return False
    except (InvalidSignature, UnsupportedAlgorithm):
        return False
    return True
