"""What TLS is asked of a server: levels, versions, and the names of certificates."""

import pytest

from sendmail_py.protocol.tls_policy import (
    Level,
    Requirement,
    TlsPolicy,
    cipher_list,
    is_named,
    parse_digests,
    parse_entry,
    parse_level,
    parse_versions,
    policy_keys,
    wanted_names,
)


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("", Level.NONE),
        ("none", Level.NONE),
        ("may", Level.MAY),
        ("encrypt", Level.ENCRYPT),
        ("secure", Level.SECURE),
        ("dane", Level.DANE),
        ("dane-only", Level.DANE_ONLY),
    ],
)
def test_levels_are_postfixs_words(text, level):
    assert parse_level(text) is level


@pytest.mark.parametrize("text", ["halfdane", "dane_only", "DANE", "MAY", "yes", "encrypted"])
def test_a_level_that_is_not_here_is_an_error_and_no_weaker_one(text):
    with pytest.raises(ValueError, match="none, may, encrypt, fingerprint, dane, dane-only, verify, secure"):
        parse_level(text)


def test_levels_grow():
    assert [level for level in Level if TlsPolicy(level).is_required] == list(Level)[2:]
    assert [level for level in Level if TlsPolicy(level).verifies] == [Level.VERIFY, Level.SECURE]


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
        ("none", Requirement(Level.NONE)),
        ("secure match=a.test:.b.test", Requirement(Level.SECURE, ("a.test", ".b.test"))),
        ("encrypt protocols=TLSv1.3", Requirement(Level.ENCRYPT, None, ("TLSv1.3",))),
    ],
)
def test_a_destination_may_have_a_policy_of_its_own(text, entry):
    assert parse_entry(text) == entry


@pytest.mark.parametrize(
    "text",
    [
        "sure",
        "secure ciphers=best",
        "secure exclude=a:!b",
        "secure servername=",
        "secure match",
        "match=a.test",
        "secure protocols=x",
        "fingerprint match=mx.test",
    ],
)
def test_a_policy_that_cannot_be_kept_is_an_error(text):
    with pytest.raises(ValueError):
        parse_entry(text)


def test_a_policy_stands_under_the_destination_or_a_parent_of_its_domain():
    assert policy_keys("A.b.test") == ["a.b.test", ".b.test", ".test"]
    assert policy_keys("[mx.test]:25") == ["[mx.test]:25"]
    assert policy_keys("b.test:26") == ["b.test:26"]


def test_a_policy_may_say_everything_for_one_destination():
    entry = parse_entry(
        "secure match=a.test:.b.test protocols=TLSv1.3 ciphers=high exclude=RC4:kRSA+AES servername=c.test"
    )
    assert entry == Requirement(
        Level.SECURE, ("a.test", ".b.test"), ("TLSv1.3",), "high", ("RC4", "kRSA+AES"), "c.test"
    )


def test_fingerprints_of_a_policy_are_parted_by_bars_and_may_come_twice():
    digest = ":".join(["AB"] * 32)
    entry = parse_entry(f"fingerprint match={digest}|{digest.lower()} match={digest.replace(':', '')}")
    assert entry.match == ("ab" * 32,) * 3


@pytest.mark.parametrize("text", ["", "AB", "zz" * 32, "ab" * 32 + "a", "ab" * 65, "secret"])
def test_what_is_no_fingerprint_is_an_error(text):
    with pytest.raises(ValueError, match="fingerprint"):
        parse_digests([text])


def test_ciphers_are_a_grade_without_some_and_never_anonymous():
    assert cipher_list("high", ["RC4"]) == "HIGH:!RC4:!aNULL:!eNULL:@STRENGTH"
    assert cipher_list("medium") == cipher_list("low") == "HIGH:MEDIUM:!aNULL:!eNULL:@STRENGTH"


@pytest.mark.parametrize(("grade", "exclude"), [("null", []), ("HIGH", []), ("high", ["a b"]), ("high", ["x:ALL"])])
def test_ciphers_that_are_none_are_an_error(grade, exclude):
    with pytest.raises(ValueError):
        cipher_list(grade, exclude)


STS = (
    "secure match=mx.a.test:.b.test servername=hostname policy_type=sts policy_domain=a.test"
    " mx_host_pattern=MX.a.test mx_host_pattern=*.b.test { policy_string = version: STSv1 }"
    " { policy_string = mode: enforce }{policy_string=mx: mx.a.test} { policy_string = max_age: 86400 }"
)


def test_what_postfix_mta_sts_resolver_says_is_understood_with_what_it_has_for_reports():
    wanted = Requirement(Level.SECURE, ("mx.a.test", ".b.test"), servername="hostname", mx=("mx.a.test", "*.b.test"))
    assert parse_entry(STS) == wanted
    assert parse_entry(STS.partition(" policy_type")[0]).mx == ()
    assert parse_entry("secure { policy_failure = sts-policy-invalid }").failure == "sts-policy-invalid"
    assert parse_entry("secure policy_failure=").failure == "unknown"


@pytest.mark.parametrize(
    "text", ["secure { match = a.test", "secure match=a.test }", "secure {{ match=a }}", "secure {}"]
)
def test_braces_that_do_not_fit_are_an_error(text):
    with pytest.raises(ValueError):
        parse_entry(text)
