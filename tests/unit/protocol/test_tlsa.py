"""TLSA records: which are of use between mail servers, and which certificate they are for."""

import hashlib

import pytest

from sendmail_py.protocol.tls_policy import Level, TlsPolicy
from sendmail_py.protocol.tlsa import Tlsa, usable

CERTIFICATE = b"\x30\x03\x02\x01\x05"  # DER enough: a sequence
KEY = b"\x30\x03\x02\x01\x07"
OF_KEY = hashlib.sha256(KEY).digest()
STRONG = hashlib.sha512(KEY).digest()


@pytest.mark.parametrize(
    ("selector", "matching", "data"),
    [
        (0, 0, CERTIFICATE),
        (0, 1, hashlib.sha256(CERTIFICATE).digest()),
        (0, 2, hashlib.sha512(CERTIFICATE).digest()),
        (1, 0, KEY),
        (1, 1, OF_KEY),
        (1, 2, STRONG),
    ],
)
@pytest.mark.parametrize("usage", [2, 3])
def test_a_record_is_for_the_certificate_or_key_that_it_describes(usage, selector, matching, data):
    (record,) = usable([(usage, selector, matching, data)])
    assert record.matches(CERTIFICATE, KEY)
    assert not record.matches(CERTIFICATE[:-1] + b"x", KEY[:-1] + b"x")


def test_a_selector_says_which_of_the_two_is_meant():
    (record,) = usable([(3, 0, 1, OF_KEY)])
    assert not record.matches(CERTIFICATE, KEY)
    assert record.matches(KEY, CERTIFICATE)


@pytest.mark.parametrize(
    "record",
    [
        (0, 1, 1, OF_KEY),  # PKIX-TA and PKIX-EE: RFC 7672 3.1.3
        (1, 1, 1, OF_KEY),
        (4, 1, 1, OF_KEY),
        (255, 1, 1, OF_KEY),
        (3, 2, 1, OF_KEY),
        (3, 255, 1, OF_KEY),
        (3, 1, 3, OF_KEY),
        (3, 1, 255, OF_KEY),
        (3, 1, 1, OF_KEY[:-1]),
        (3, 1, 1, STRONG),
        (3, 1, 2, OF_KEY),
        (3, 1, 1, b""),
        (3, 0, 0, b""),
        (3, 0, 0, b"\x30"),
        (3, 0, 0, CERTIFICATE[:-1]),
        (3, 0, 0, CERTIFICATE + b"x"),
        (2, 1, 0, b"\x30\x82\x01"),
        (2, 1, 0, b"\x30\x80" + b"x" * 128),
        (2, 1, 0, b"\x02\x01\x05"),
    ],
)
def test_what_cannot_be_used_is_left_out_and_spoils_nothing(record):
    assert usable([record]) == ()
    assert usable([record, (3, 1, 1, OF_KEY)]) == (Tlsa(3, 1, 1, OF_KEY),)


def test_the_examples_of_rfc_6698_are_for_web_servers():
    """Section 2.3: usages 0 and 1, which lean on authorities that mail servers do not agree on."""
    of_authority = bytes.fromhex("d2abde240d7cd3ee6b4b28c54df034b97983a1d16e8a410e4561cb106618e971")
    of_server = bytes.fromhex(
        "92003ba34942dc74152e2f2c408d29eca5a520e7f2e06bb944f4dca346baf63c"
        "1b177615d466f6c4b71c216a50292bd58c9ebdd2f74e38fe51ffd48c43326cbc"
    )
    assert usable([(0, 0, 1, of_authority), (1, 1, 2, of_server)]) == ()
    assert len(usable([(2, 0, 1, of_authority), (3, 1, 2, of_server)])) == 2


def test_a_long_certificate_is_one_too():
    data = b"\x30\x82\x01\x00" + b"x" * 256
    assert usable([(2, 0, 0, data)]) == (Tlsa(2, 0, 0, data),)


def test_of_digests_the_strongest_of_each_usage_and_selector_counts():
    """RFC 7671 9: an attacker who can break the weaker one gains nothing."""
    weak, strong = (3, 1, 1, OF_KEY), (3, 1, 2, STRONG)
    of_anchor, whole = (2, 1, 1, OF_KEY), (3, 1, 0, KEY)
    assert set(usable([weak, strong, of_anchor, whole])) == {Tlsa(*strong), Tlsa(*of_anchor), Tlsa(*whole)}
    assert usable([weak, (3, 1, 2, b"short")]) == (Tlsa(*weak),)


def test_the_order_of_the_answer_makes_no_other_policy():
    records = [(3, 1, 1, OF_KEY), (2, 0, 1, OF_KEY), (3, 1, 1, OF_KEY), (3, 1, 0, KEY)]
    assert usable(records) == usable(records[::-1])
    assert len(usable(records)) == 3


def test_the_log_has_what_was_asked_and_what_it_came_to():
    dane = TlsPolicy(Level.DANE, asked=Level.DANE)
    half = TlsPolicy(Level.HALFDANE, asked=Level.DANE)
    unusable = TlsPolicy(Level.ENCRYPT, asked=Level.DANE)
    assert [p.word_with_tls for p in (dane, half, unusable)] == ["dane", "dane:halfdane", "dane:encrypt"]
    assert {p.word for p in (dane, half, unusable)} == {"dane"}
    assert [p.trust for p in (dane, half, unusable)] == ["Verified", "Trusted", "Untrusted"]
    assert TlsPolicy(Level.DANE_ONLY).word == "dane-only"
