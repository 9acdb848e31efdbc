"""SASL: which mechanism is chosen, and what is never shown."""

import pytest

from sendmail_py.protocol.sasl import Login, check_filter, check_options, choose

LOGIN = Login("user@example.org", "se:cret pässword")


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
        (["GSSAPI", "NTLM"], [], ""),
        ([], [], ""),
        (["PLAIN", "CRAM-MD5"], ["noanonymous"], "CRAM-MD5"),
        (["PLAIN", "CRAM-MD5"], ["noplaintext", "noanonymous"], "CRAM-MD5"),
        (["PLAIN", "CRAM-MD5"], ["noactive"], ""),
        (["CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256"], ["noplaintext", "noactive"], "SCRAM-SHA-256"),
        (["CRAM-MD5", "SCRAM-SHA-1"], ["mutual_auth"], "SCRAM-SHA-1"),
        (["SCRAM-SHA-256"], ["nodictionary"], ""),
        (["SCRAM-SHA-256-PLUS", "OAUTHBEARER", "XOAUTH2"], [], ""),
    ],
)
def test_a_mechanism_is_chosen_where_the_options_allow_it(offered, options, chosen):
    assert choose(offered, options) == chosen


@pytest.mark.parametrize(
    ("offered", "options", "chosen"),
    [
        (["PLAIN", "XOAUTH2"], ["noanonymous"], "XOAUTH2"),
        (["XOAUTH2", "OAUTHBEARER"], [], "OAUTHBEARER"),
        (["XOAUTH2"], ["noplaintext"], ""),
        (["PLAIN", "SCRAM-SHA-256"], [], ""),
    ],
)
def test_a_token_goes_only_where_tokens_are_taken(offered, options, chosen):
    assert choose(offered, options, with_token=True) == chosen


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
