"""What TLS is asked of a server: levels, versions, and the names of certificates."""

import pytest

from sendmail_py.protocol.tls_policy import (
    Level,
    PolicyEntry,
    TlsPolicy,
    is_named,
    parse_entry,
    parse_level,
    parse_versions,
    policy_keys,
    wanted_names,
)


@pytest.mark.parametrize(
    ("text", "level"),
    [("", Level.NONE), ("none", Level.NONE), ("may", Level.MAY), ("encrypt", Level.ENCRYPT), ("secure", Level.SECURE)],
)
def test_levels_are_postfixs_words(text, level):
    assert parse_level(text) is level


@pytest.mark.parametrize("text", ["dane", "dane-only", "fingerprint", "MAY", "yes", "encrypted"])
def test_a_level_that_is_not_here_is_an_error_and_no_weaker_one(text):
    with pytest.raises(ValueError, match="none, may, encrypt, verify, secure"):
        parse_level(text)


def test_levels_grow():
    assert [TlsPolicy(level).is_required for level in Level] == [False, False, True, True, True]
    assert [TlsPolicy(level).verifies for level in Level] == [False, False, False, True, True]


@pytest.mark.parametrize(
    ("text", "versions"),
    [
        ("", ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")),
        (">=TLSv1.2", ("TLSv1.2", "TLSv1.3")),
        (">=tlsv1.1, <=TLSv1.2", ("TLSv1.1", "TLSv1.2")),
        ("!SSLv2, !SSLv3, !TLSv1, !TLSv1.1", ("TLSv1.2", "TLSv1.3")),
        ("TLSv1.3", ("TLSv1.3",)),
        ("TLSv1 TLSv1.2", ("TLSv1", "TLSv1.2")),
        (">=SSLv3", ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")),
        ("!TLSv1.2:>=TLSv1.1", ("TLSv1.1", "TLSv1.3")),
    ],
)
def test_versions_are_written_as_with_postfix(text, versions):
    assert parse_versions(text) == versions


@pytest.mark.parametrize("text", ["SSLv3", ">=TLSv1.4", "<=SSLv3", "!TLSv1 !TLSv1.1 !TLSv1.2 !TLSv1.3", "=TLSv1.2"])
def test_versions_that_leave_nothing_are_an_error(text):
    with pytest.raises(ValueError):
        parse_versions(text)


def test_the_names_that_are_wanted_come_from_host_and_destination():
    match = ["hostname", "nexthop", "dot-nexthop", "Other.Test."]
    assert wanted_names(match, "mx1.provider.test.", "Example.ORG") == (
        "mx1.provider.test",
        "example.org",
        ".example.org",
        "other.test",
    )


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("mx.example.org", "mx.example.org"),
        ("MX.example.org.", "mx.example.org"),
        ("*.example.org", "mx.example.org"),
        ("mx.example.org", ".example.org"),
        ("a.b.example.org", ".example.org"),
        ("*.example.org", ".example.org"),
        ("192.0.2.1", "192.0.2.1"),
        ("2001:DB8:0:0:0:0:0:1", "2001:db8::1"),
        ("xn--bcher-kva.example", "bücher.example"),
    ],
)
def test_a_certificate_is_for_the_name(name, wanted):
    assert is_named(["other.test", name], wanted_names([wanted], "", ""))


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("example.org", "mx.example.org"),
        ("mx.example.org", "example.org"),
        ("*.example.org", "example.org"),
        ("*.example.org", "a.b.example.org"),
        ("*.org", "example.org"),
        ("*", "example.org"),
        ("m*.example.org", "mx.example.org"),
        ("*.*.org", "mx.example.org"),
        ("example.org", ".example.org"),
        ("badexample.org", ".example.org"),
        ("*.2.0.192", "1.2.0.192"),
        ("*.0.2.1", "192.0.2.1"),
        ("192.0.2.10", "192.0.2.1"),
        ("", "mx.example.org"),
        ("mx.example.org.evil.test", "mx.example.org"),
        ("mx.example.org\0.evil.test", "mx.example.org"),
    ],
)
def test_a_certificate_is_not_for_the_name(name, wanted):
    assert not is_named([name], wanted_names([wanted], "", ""))


def test_nothing_is_wanted_of_nobody():
    assert not is_named(["mx.example.org"], ())
    assert not is_named([], ("mx.example.org",))


@pytest.mark.parametrize(
    ("text", "entry"),
    [
        ("none", PolicyEntry(Level.NONE)),
        ("secure match=a.test:.b.test", PolicyEntry(Level.SECURE, ("a.test", ".b.test"))),
        ("encrypt protocols=TLSv1.3", PolicyEntry(Level.ENCRYPT, None, ("TLSv1.3",))),
    ],
)
def test_a_destination_may_have_a_policy_of_its_own(text, entry):
    assert parse_entry(text) == entry


@pytest.mark.parametrize(
    "text", ["sure", "dane", "secure ciphers=high", "secure match", "match=a.test", "secure protocols=x"]
)
def test_a_policy_that_cannot_be_kept_is_an_error(text):
    with pytest.raises(ValueError):
        parse_entry(text)


def test_a_policy_stands_under_the_destination_or_a_parent_of_its_domain():
    assert policy_keys("A.b.test") == ["a.b.test", ".b.test", ".test"]
    assert policy_keys("[mx.test]:25") == ["[mx.test]:25"]
    assert policy_keys("b.test:26") == ["b.test:26"]
