"""DKIM as octets: the relaxed forms, the vectors of RFC 6376 and RFC 8463, and a body cut anywhere."""

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sendmail_py.formats.dkim import (
    BodyHash,
    record,
    relaxed_field,
    signed_field,
    signed_names,
    signed_text,
    tags,
    unsigned_field,
)
from sendmail_py.formats.header import fields


def body_hash(body: bytes, size: int = 0) -> bytes:
    one = BodyHash()
    for at in range(0, len(body), size or len(body) or 1):
        one.update(body[at : at + (size or len(body))])
    return one.digest()


@pytest.mark.parametrize(
    ("body", "relaxed"),
    [
        (b" C \r\nD \t E\r\n\r\n\r\n", b" C\r\nD E\r\n"),  # RFC 6376 3.4.5
        (b"", b""),
        (b"\r\n\r\n", b""),
        (b" \t\r\n  \r\n", b""),
        (b"a\r\n \r\n\t\r\nb", b"a\r\n\r\n\r\nb\r\n"),
        (b"a", b"a\r\n"),
        (b"a \r\n", b"a\r\n"),
        (b"\r\n\r\na\r\n", b"\r\n\r\na\r\n"),
        (b"a" + b"\r\n" * 70000 + b"b\r\n", b"a" + b"\r\n" * 70000 + b"b\r\n"),
    ],
)
@pytest.mark.parametrize("size", [0, 1, 2, 3, 7])
def test_a_body_is_hashed_in_its_relaxed_form_however_it_is_cut(body: bytes, relaxed: bytes, size: int) -> None:
    assert body_hash(body, size) == hashlib.sha256(relaxed).digest()


@given(st.lists(st.sampled_from([b"a", b" ", b"\t", b"\r\n", b".", b"bc"]), max_size=40), st.integers(1, 9))
def test_any_body_is_hashed_as_dkimpy_would(parts: list[bytes], size: int) -> None:
    from dkim.canonicalization import Relaxed

    body = b"".join(parts) + b"\r\n"
    assert body_hash(body, size) == hashlib.sha256(Relaxed.canonicalize_body(body)).digest()


@pytest.mark.parametrize(
    ("raw", "relaxed"),
    [
        (b"A: X\r\n", b"a:X"),
        (b"B : Y\t\r\n\tZ  \r\n", b"b:Y Z"),
        (b"Subject:\r\n x\r\n", b"subject:x"),
        (b"X:\r\n", b"x:"),
    ],
)
def test_a_field_in_its_relaxed_form(raw: bytes, relaxed: bytes) -> None:
    assert relaxed_field(raw) == relaxed


HEADER = b"""From: Joe SixPack <joe@football.example.com>
To: Suzie Q <suzie@shopping.example.net>
Subject: Is dinner ready?
Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)
Message-ID: <20030712040037.46341.5F8J@football.example.com>
"""
BODY = b"Hi.\r\n\r\nWe lost the game.  Are you hungry yet?\r\n\r\nJoe.\r\n"
TEMPLATE = b"""DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=brisbane; t=1528637909; h=from : to :
 subject : date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b="""


def test_the_vector_of_rfc_8463() -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    assert base64.b64encode(body_hash(BODY)) == b"2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8="
    names = b"from to subject date message-id from subject date".split()
    text = signed_text(fields(HEADER.replace(b"\n", b"\r\n")), names, TEMPLATE.replace(b"\n", b"\r\n"))
    key = Ed25519PrivateKey.from_private_bytes(base64.b64decode("nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A="))
    assert base64.b64encode(key.sign(hashlib.sha256(text).digest())) == (
        b"/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11BusFa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw=="
    )


RSA_KEY = (  # the record of s=test in the same RFC
    b"MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91"
    b"y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB"
)
RSA_SIGNATURE = (
    b"F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2Jz"
    b"dA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8="
)


def test_the_rsa_signature_of_rfc_8463_is_good_over_what_we_would_sign() -> None:
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import padding

    names = b"from to subject date message-id from subject date".split()
    field = TEMPLATE.replace(b"ed25519", b"rsa").replace(b"brisbane", b"test").replace(b"\n", b"\r\n")
    text = signed_text(fields(HEADER.replace(b"\n", b"\r\n")), names, field)
    key = serialization.load_der_public_key(base64.b64decode(RSA_KEY))
    key.verify(base64.b64decode(RSA_SIGNATURE), text, padding.PKCS1v15(), hashes.SHA256())  # raises InvalidSignature


def test_from_is_signed_once_more_than_it_is_there_and_what_is_not_there_is_not() -> None:
    assert signed_names([b"to", b"from", b"received", b"to", b"subject"]) == [
        b"from",
        b"to",
        b"to",
        b"subject",
        b"from",
    ]


def test_the_last_of_several_fields_is_signed_first() -> None:
    text = signed_text([(b"to", b"To: 1\r\n"), (b"to", b"To: 2\r\n")], [b"to", b"to", b"to"], b"DKIM-Signature: b=")
    assert text == b"to:2\r\nto:1\r\ndkim-signature:b="


def test_a_signature_field_has_short_lines_and_ends_them_as_queue_files_do() -> None:
    names = signed_names([b"from", b"to", b"subject", b"date", b"message-id", b"mime-version", b"content-type"])
    unsigned = unsigned_field("example.org", "s1", "rsa-sha256", 1, names, b"x" * 32)
    field = signed_field(unsigned, b"y" * 256)
    assert max(map(len, field.split(b"\n"))) <= 78
    assert b"\r" not in field
    assert len(list(fields(field))) == 1
    # What is signed is the field with its value taken out, whatever the folding of the value.
    assert relaxed_field(field.replace(b"\n", b"\r\n")).startswith(relaxed_field(unsigned))


def test_a_record_and_its_tags() -> None:
    assert tags(record("rsa", b"abc")) == {"v": "DKIM1", "k": "rsa", "p": "YWJj"}
    assert tags("v=DKIM1; p= YW\n Jj;") == {"v": "DKIM1", "p": "YWJj"}
