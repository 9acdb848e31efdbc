"""SASL's client side: what is chosen, what is sent, and what is never shown."""

import base64

import pytest

from sendmail_py.protocol.sasl import Exchange, Login, check_filter, check_options, choose

LOGIN = Login("user@example.org", "se:cret pässword")


def encoded(text):
    return base64.b64encode(text.encode()).decode()


def test_a_password_may_hold_colons_and_blanks():
    assert Login.parse("user@example.org:se:cret pässword") == LOGIN


@pytest.mark.parametrize("text", ["", "user", ":secret", "us\0er:secret"])
def test_what_is_no_login_is_refused_without_telling_it(text):
    with pytest.raises(ValueError) as caught:
        Login.parse(text)
    assert "secret" not in str(caught.value)


def test_a_login_does_not_show_its_password():
    assert "cret" not in repr(LOGIN)
    assert "cret" not in f"{LOGIN}"


@pytest.mark.parametrize(
    ("offered", "options", "chosen"),
    [
        (["LOGIN", "PLAIN"], ["noanonymous"], "PLAIN"),
        (["login", "xoauth2"], [], "LOGIN"),
        (["PLAIN", "LOGIN"], ["noplaintext", "noanonymous"], ""),
        (["PLAIN"], ["mutual_auth"], ""),
        (["GSSAPI", "CRAM-MD5"], [], ""),
        ([], [], ""),
    ],
)
def test_a_mechanism_is_chosen_where_the_options_allow_it(offered, options, chosen):
    assert choose(offered, options) == chosen


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        (["login"], "LOGIN"),
        (["plain", "login"], "PLAIN"),
        (["!PLAIN", "static:rest"], "LOGIN"),
        (["!plain", "plain", "login"], "LOGIN"),
        (["!plain"], ""),
        (["scram-sha-256"], ""),
        (["static:rest"], "PLAIN"),
    ],
)
def test_the_first_word_that_fits_says_whether_a_mechanism_is_wanted(wanted, chosen):
    assert choose(["PLAIN", "LOGIN"], [], wanted) == chosen


@pytest.mark.parametrize("word", ["/etc/mechanisms", "hash:/etc/mechanisms", "!", "!!plain"])
def test_a_filter_of_mechanisms_holds_names(word):
    check_filter(["PLAIN", "!login", "SCRAM-SHA-256", "static:rest"])
    with pytest.raises(ValueError):
        check_filter([word])


def test_a_word_that_is_no_option_is_refused():
    check_options(["noplaintext", "noanonymous"])
    with pytest.raises(ValueError):
        check_options(["noplain"])


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


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_a_server_that_repeats_the_password_is_not_quoted(mechanism):
    exchange = Exchange(mechanism, LOGIN)
    plain = encoded(f"\0{LOGIN.user}\0{LOGIN.password}")
    for secret in (LOGIN.password, encoded(LOGIN.password), plain, plain.rstrip("=")):
        assert exchange.without_secrets(f"535 {secret} is wrong") == "535 <hidden> is wrong"
