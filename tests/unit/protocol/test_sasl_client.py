"""What the mechanisms of SASL say as a client: the RFCs' examples, servers that lie, and what is never shown."""

import base64
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sendmail_py.protocol.sasl import Login
from sendmail_py.protocol.sasl_client import Exchange
from sendmail_py.protocol.scram import prepared

LOGIN = Login("user@example.org", "se:cret pässword")
TOKEN = Login("user@example.com", "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==", "microsoft")
JSON = '{"status":"invalid_token","scope":"mail","openid-configuration":"https://example.com/.well-known"}'


def encoded(text):
    return base64.b64encode(text.encode()).decode()


def decoded(text):
    return base64.b64decode(text).decode()


def test_plain_says_all_at_once():
    exchange = Exchange("PLAIN", LOGIN)
    assert base64.b64decode(exchange.initial).split(b"\0") == [b"", b"user@example.org", "se:cret pässword".encode()]
    assert exchange.answer() == "*"


def test_what_is_too_long_for_the_command_line_waits_for_the_question():
    exchange = Exchange("PLAIN", Login("user", "x" * 400))
    assert exchange.initial == ""
    assert base64.b64decode(exchange.answer()) == b"\0user\0" + b"x" * 400
    assert exchange.answer() == "*"


def test_login_answers_two_questions():
    exchange = Exchange("LOGIN", LOGIN)
    assert exchange.initial == ""
    assert [exchange.answer() for _ in range(3)] == [encoded("user@example.org"), encoded(LOGIN.password), "*"]


def test_cram_md5_answers_as_rfc_2195_has_it():
    exchange = Exchange("CRAM-MD5", Login("tim", "tanstaaftanstaaf"))
    assert exchange.initial == ""
    answer = exchange.answer(encoded("<1896.697170952@postoffice.reston.mci.net>"))
    assert decoded(answer) == "tim b913a602c7eda7a495b4e6e7334d3890"
    assert exchange.answer() == "*"


def test_cram_md5_without_a_challenge_gives_up():
    exchange = Exchange("CRAM-MD5", LOGIN)
    assert exchange.answer("") == "*"
    assert "no challenge" in exchange.fault


SCRAM = {
    "SCRAM-SHA-1": (
        "fyko+d2lbbFgONRv9qkxdawL",
        "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
        "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
        "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
    ),
    "SCRAM-SHA-256": (
        "rOprNGfwEbeRWgbNEkqO",
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
    ),
}


@pytest.mark.parametrize("mechanism", SCRAM)
def test_scram_goes_as_rfc_5802_and_7677_have_it(mechanism):
    nonce, first, final, proof = SCRAM[mechanism]
    exchange = Exchange(mechanism, Login("user", "pencil"), nonce)
    assert decoded(exchange.initial) == f"n,,n=user,r={nonce}"
    assert decoded(exchange.answer(encoded(first))) == final
    assert not exchange.is_proven
    assert exchange.answer(encoded(proof)) == ""
    assert exchange.is_proven


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("v=AAAAAAAAAAAAAAAAAAAAAAAAAAA=", "did not prove"),
        ("", "did not prove"),
        ("e=unknown-user", "it says: unknown-user"),
        ("e=invalid-proof,v=rmF9pqV8S7suAoZWja4dJRkFsKQ=", "it says: invalid-proof"),
    ],
)
def test_a_server_that_does_not_know_the_password_is_not_believed(said, why):
    nonce, first, _, _ = SCRAM["SCRAM-SHA-1"]
    exchange = Exchange("SCRAM-SHA-1", Login("user", "pencil"), nonce)
    exchange.answer(encoded(first))
    assert exchange.answer(encoded(said)) == "*"
    assert not exchange.is_proven
    assert why in exchange.fault


@pytest.mark.parametrize(
    "first",
    [
        "",
        "r=nonce,s=QSXCR+Q6sek8bf92,i=4096",
        "r=another,s=QSXCR+Q6sek8bf92,i=4096",
        "r=nonceX,s=QSXCR+Q6sek8bf92,i=1",
        "r=nonceX,s=QSXCR+Q6sek8bf92,i=999999999",
        "r=nonceX,s=QSXCR+Q6sek8bf92,i=-4096",
        "r=nonceX,s=QSXCR+Q6sek8bf92",
        "r=nonceX,s=***,i=4096",
        "m=new,r=nonceX,s=QSXCR+Q6sek8bf92,i=4096",
    ],
)
def test_scram_gives_up_on_a_server_that_does_not_keep_to_it(first):
    exchange = Exchange("SCRAM-SHA-1", Login("user", "pencil"), "nonce")
    assert exchange.answer(encoded(first)) == "*"
    assert exchange.fault.startswith("the server cannot be trusted") and not exchange.is_proven


def test_scram_escapes_names_and_prepares_what_is_not_ascii():
    exchange = Exchange("SCRAM-SHA-1", Login("a=b,c", "pencil"), "nonce")
    assert decoded(exchange.initial) == "n,,n=a=3Db=2Cc,r=nonce"
    assert [prepared(text) for text in ("I\u00adX", "\u00aa", "\u2168", "a\u00a0b")] == ["IX", "a", "IX", "a b"]


def test_xoauth2_goes_as_google_and_microsoft_have_it():
    token = "ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg"
    exchange = Exchange("XOAUTH2", Login("someuser@example.com", token, "google"))
    assert exchange.initial == (
        "dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB5YTI5LnZGOWRmdDRxbVRjMk52YjNSbGNrQmhkSFJoZG1semRHRXVZMjl0"
        "Q2cBAQ=="
    )


def test_oauthbearer_goes_as_rfc_7628_has_it():
    exchange = Exchange("OAUTHBEARER", TOKEN, host="server.example.com", port=143)
    assert exchange.initial == (
        "bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9MTQzAWF1dGg9QmVhcmVyIHZGOWRmdDRxbVRjMk52"
        "YjNSbGNrQmhiSFJoZG1semRHRXVZMjl0Q2c9PQEB"
    )


def test_a_name_with_a_comma_or_equals_sign_is_escaped_in_oauthbearer():
    exchange = Exchange("OAUTHBEARER", Login("a=b,c@example.com", "token", "x"))
    assert decoded(exchange.initial).startswith("n,a=a=3Db=2Cc@example.com,\1")


@pytest.mark.parametrize(("mechanism", "answer"), [("XOAUTH2", ""), ("OAUTHBEARER", "AQ==")])
@pytest.mark.parametrize(
    ("said", "complaint"), [(encoded(JSON), "invalid_token"), ("", ""), ("no base64", ""), (encoded("[]"), "")]
)
def test_a_token_that_is_refused_is_answered_so_that_the_server_can_say_no(mechanism, answer, said, complaint):
    exchange = Exchange(mechanism, TOKEN)
    assert exchange.answer(said) == answer
    assert exchange.complaint == complaint
    assert exchange.answer(said) == "*"


def test_a_long_token_waits_for_the_question():
    exchange = Exchange("XOAUTH2", Login("me", "x" * 2000, "microsoft"))
    assert exchange.initial == ""
    assert decoded(exchange.answer("")) == f"user=me\1auth=Bearer {'x' * 2000}\1\1"
    assert exchange.answer(encoded(JSON)) == ""


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_a_server_that_repeats_the_password_is_not_quoted(mechanism):
    exchange = Exchange(mechanism, LOGIN)
    plain = encoded(f"\0{LOGIN.user}\0{LOGIN.password}")
    for secret in (LOGIN.password, encoded(LOGIN.password), plain, plain.rstrip("=")):
        assert exchange.without_secrets(f"535 {secret} is wrong") == "535 <hidden> is wrong"


@pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])
def test_a_server_that_repeats_the_token_is_not_quoted(mechanism):
    exchange = Exchange(mechanism, TOKEN)
    for secret in (TOKEN.password, encoded(TOKEN.password), exchange.initial, exchange.initial.rstrip("=")):
        assert exchange.without_secrets(f"535 {secret} is wrong") == "535 <hidden> is wrong"


def test_an_unknown_mechanism_is_no_exchange():
    with pytest.raises(ValueError):
        Exchange("GSSAPI", LOGIN)


MECHANISMS = ["SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5", "PLAIN", "LOGIN", "OAUTHBEARER", "XOAUTH2"]
FIELDS = st.sampled_from(
    ["r=nonce", "r=nonceX", "s=QUJD", "i=4096", "i=1", "v=AAAA", "e=no", "m=x", "", "=", ",", "\0"]
)
QUESTIONS = st.one_of(
    st.text(max_size=40),
    st.binary(max_size=60).map(lambda octets: base64.b64encode(octets).decode()),
    st.lists(FIELDS, max_size=4).map(lambda fields: encoded(",".join(fields))),
    st.just(encoded("[" * 9000)),
    st.just("=" * 12000),
)


@given(st.sampled_from(MECHANISMS), st.lists(QUESTIONS, max_size=5))
def test_whatever_a_server_asks_the_answer_is_one_line_and_no_proof_is_taken_for_given(mechanism, questions):
    exchange = Exchange(mechanism, LOGIN, "nonce")
    answers = [exchange.answer(question) for question in questions]
    assert all(re.fullmatch(r"[A-Za-z0-9+/]*={0,2}|\*", answer) for answer in answers)
    assert not (mechanism.startswith("SCRAM") and exchange.is_proven)
