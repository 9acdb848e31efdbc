"""Chains from a server's certificate to a trust anchor, each judged by us and by OpenSSL."""

import datetime
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from sendmail_py.host.trust_anchor import Untrusted, check_path, names_of
from sendmail_py.protocol.tlsa import Tlsa
from tests.servers.certificates import association

NOW = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
DAY = datetime.timedelta(days=1)
HOST = "mx.example.test"


def name(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


class Made:
    """A certificate with its key, by whoever issued it (itself, else)."""

    def __init__(self, subject, issuer=None, *extensions, key=None, digest=None, begin=NOW - DAY, end=NOW + DAY):
        self.key = key or ec.generate_private_key(ec.SECP256R1())
        signer = issuer.key if issuer else self.key
        builder = x509.CertificateBuilder().subject_name(name(subject)).public_key(self.key.public_key())
        builder = builder.issuer_name(issuer.made.subject if issuer else name(subject))
        builder = builder.serial_number(x509.random_serial_number()).not_valid_before(begin).not_valid_after(end)
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        default = None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256()
        self.made = builder.sign(signer, digest or default)
        self.der = self.made.public_bytes(serialization.Encoding.DER)
        self.pem = self.made.public_bytes(serialization.Encoding.PEM)


def ca(length=None, is_ca=True):
    return x509.BasicConstraints(is_ca, length), True


def san(*names):
    return x509.SubjectAlternativeName([x509.DNSName(one) for one in names]), False


def usage(**yes):
    every = (
        "digital_signature content_commitment key_encipherment data_encipherment key_agreement key_cert_sign "
        "crl_sign encipher_only decipher_only"
    )
    return x509.KeyUsage(**{one: one in yes for one in every.split()}), True


def constraints(permitted=None, excluded=None):
    trees = [None if names is None else [x509.DNSName(one) for one in names] for names in (permitted, excluded)]
    return x509.NameConstraints(*trees), True


def leaf(issuer, *extensions, **more):
    return Made("leaf", issuer, san(HOST), *extensions, **more)


PLAIN_CA = ca()
ROOT = Made("root", None, PLAIN_CA)


def chain_of(*middle, **more):
    """Return (leaf, intermediate, root) with what the one in the middle is to have."""
    between = Made("middle", ROOT, *middle, **more)
    return leaf(between), between, ROOT


def under(top):
    """Return a server and who has issued its certificate."""
    return leaf(top), top


def long_way():
    """Return a chain with one more certificate in it than that below the root allows."""
    upper = Made("upper", ROOT, ca(0))
    lower = Made("lower", upper, ca())
    return leaf(lower), lower, upper, ROOT


STRANGER = Made("root", None, ca())  # of the same name
EKU = x509.ExtendedKeyUsage
SERVER, CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH
UNKNOWN = (x509.UnrecognizedExtension(ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00"), True)
RSA = rsa.generate_private_key(65537, 2048)
GOOD = {
    "direct": (leaf(ROOT), ROOT),
    "through another": chain_of(PLAIN_CA),
    "an old root, dates apart": (leaf(ROOT), Made("unrelated"), ROOT),
    "RSA": under(Made("rsa", None, ca(), key=RSA)),
    "Ed25519": under(Made("ed", None, ca(), key=ed25519.Ed25519PrivateKey.generate())),
    "for servers": (leaf(ROOT, (EKU([SERVER, CLIENT]), False)), ROOT),
    "key usage": (leaf(ROOT, usage(digital_signature=True)), ROOT),
    "the way is short enough": chain_of(ca(0)),
    "within the names": chain_of(ca(), constraints(["example.test"], ["other.test"])),
}
BAD = {
    "nobody above": (leaf(ROOT), Made("unrelated")),
    "another of the same name": (leaf(STRANGER), ROOT),
    "expired": (leaf(ROOT, begin=NOW - 3 * DAY, end=NOW - DAY), ROOT),
    "not yet": (leaf(ROOT, begin=NOW + DAY, end=NOW + 2 * DAY), ROOT),
    "expired between": chain_of(PLAIN_CA, begin=NOW - 3 * DAY, end=NOW - DAY),
    "expired anchor": under(Made("old", None, ca(), begin=NOW - 3 * DAY, end=NOW - DAY)),
    "no CA between": chain_of(ca(None, False)),
    "a CA by no word between": chain_of(),
    "a CA that may not sign": chain_of(ca(), usage(crl_sign=True)),
    "the way is too long": long_way(),
    "for clients": (leaf(ROOT, (EKU([CLIENT]), False)), ROOT),
    "for clients, above": chain_of(ca(), (EKU([CLIENT]), False)),
    "key usage": (leaf(ROOT, usage(crl_sign=True)), ROOT),
    "outside of the names": chain_of(ca(), constraints(["other.test"])),
    "excluded name": chain_of(ca(), constraints(None, ["example.test"])),
    "not understood": chain_of(ca(), UNKNOWN),
    "not understood, its own": (leaf(ROOT, UNKNOWN), ROOT),
}


def records(certificate, *kinds):
    return [Tlsa(2, s, m, association(s, m, certificate.made)) for s, m in kinds]


def verdict(chain, anchors):
    try:
        check_path([one.der for one in chain], anchors, NOW)
    except Untrusted as error:
        return str(error)
    return ""


def openssl(tmp_path, chain):
    """Return what OpenSSL says to the same chain with the last as the only anchor."""
    (tmp_path / "leaf").write_bytes(chain[0].pem)
    (tmp_path / "others").write_bytes(b"".join(one.pem for one in chain[1:]))
    (tmp_path / "anchor").write_bytes(chain[-1].pem)
    words = ["-partial_chain", "-purpose", "sslserver", "-no-CApath", "-no-CAstore", "-trusted", tmp_path / "anchor"]
    command = ["openssl", "verify", *words, "-untrusted", tmp_path / "others", tmp_path / "leaf"]
    return subprocess.run(command, capture_output=True, timeout=60, check=False)


@pytest.mark.parametrize("kind", [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)])
@pytest.mark.parametrize("what", GOOD)
def test_a_chain_to_an_anchor_is_trusted(what, kind):
    chain = GOOD[what]
    assert verdict(chain, records(chain[-1], kind)) == ""


@pytest.mark.parametrize("kind", [(0, 0), (0, 1), (1, 1)])
@pytest.mark.parametrize("what", BAD)
def test_a_chain_with_a_fault_is_not(what, kind):
    chain = BAD[what]
    assert verdict(chain, records(chain[-1], kind))


@pytest.mark.real("openssl")
@pytest.mark.parametrize(("what", "is_good"), [*((w, True) for w in GOOD), *((w, False) for w in BAD)])
def test_openssl_judges_alike(tmp_path, what, is_good):
    done = openssl(tmp_path, GOOD[what] if is_good else BAD[what])
    assert (done.returncode == 0) == is_good, done.stderr.decode()


@pytest.mark.parametrize("kind", [(0, 0), (1, 0)])
def test_an_anchor_that_is_in_the_record_need_not_be_shown(kind):
    assert verdict([leaf(ROOT)], records(ROOT, kind)) == ""


@pytest.mark.parametrize("kind", [(0, 1), (1, 1)])
def test_an_anchor_known_by_its_digest_has_to_be_shown(kind):
    assert verdict([leaf(ROOT)], records(ROOT, kind)) == "unable to get issuer certificate"


def test_the_order_in_which_certificates_are_shown_does_not_matter():
    end, middle, top = chain_of(PLAIN_CA)
    assert verdict([end, top, Made("unrelated"), middle], records(top, (0, 1))) == ""


def test_an_intermediate_may_be_the_anchor_and_nothing_above_it_counts():
    end, middle, _ = chain_of(PLAIN_CA)
    assert verdict([end, middle], records(middle, (1, 1))) == ""


@pytest.mark.parametrize("kind", [(0, 0), (0, 1), (1, 1)])
def test_a_server_is_no_anchor_of_its_own(kind):
    own = Made("own", None, san(HOST), ca())
    assert verdict([own], records(own, kind))


def test_records_for_a_server_are_no_anchors():
    assert verdict([leaf(ROOT), ROOT], [Tlsa(3, 0, 1, association(0, 1, ROOT.made))])


def test_weak_signatures_count_for_nothing():
    small = Made("small", None, ca(), key=rsa.generate_private_key(65537, 1024))
    assert verdict([leaf(small), small], records(small, (0, 1)))


def test_what_is_no_certificate_is_an_answer_too():
    assert "cannot be read" in verdict([type("Noise", (), {"der": b"\x30\x03\x02\x01\x05"})], records(ROOT, (0, 1)))
    assert "cannot be read" in verdict([leaf(ROOT), ROOT], [Tlsa(2, 0, 0, b"\x30\x03\x02\x01\x05")])
    assert verdict([], records(ROOT, (0, 1)))


class Changed:
    """A certificate with an octet changed."""

    def __init__(self, made, place):
        self.der = made.der[:place] + bytes([made.der[place] ^ 0x01]) + made.der[place + 1 :]


@pytest.mark.parametrize("which", range(3))
def test_no_octet_of_a_certificate_can_be_changed(which):
    """But for one: the count of unused bits before the signature, which nobody has signed."""
    chain = list(chain_of(PLAIN_CA))
    changed = chain[which]
    for place in range(len(changed.der)):
        chain[which] = Changed(changed, place)
        is_count = place == len(changed.der) - len(changed.made.signature) - 1
        assert is_count or verdict(chain, records(ROOT, (0, 1))), place


def test_a_tangle_of_certificates_is_given_up():
    twins = [Made("root", None, ca()) for _ in range(9)]
    assert verdict([leaf(STRANGER), *twins], records(ROOT, (0, 1)))


def test_names_are_those_of_the_subject_alternative_name_else_the_common_name():
    assert names_of(leaf(ROOT).der) == [HOST]
    assert names_of(Made("mx.old.test").der) == ["mx.old.test"]
