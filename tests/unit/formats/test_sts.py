"""MTA-STS as text: records, policies, and what is kept of them."""

import pytest

from sendmail_py.formats.sts import Kept, StsPolicy, from_json, parse_policy, record_id, to_json

RECORDS = {
    "v=STSv1; id=20160831085700Z;": "20160831085700Z",  # RFC 8461 3.1
    "v=STSv1;id=1": "1",
    "v=STSv1 ; id=1 ;": "1",
    "v=STSv1;\tid=1;x=y": "1",
    "v=STSv1; a.b-c_d=x!/y; id=abc": "abc",
    "v=STSv1; id=1; id=2": "1",
}
BAD_RECORDS = [
    "v=STSv1;",
    "v=STSv1; ",
    "v=STSv1; id=",
    "v=STSv1; id=a-b",
    f"v=STSv1; id={'a' * 33}",
    "v=STSv1; id=1 2",
    "v=STSv1; id=1;;",
    "v=STSv1; =x; id=1",
    "v=STSv1; x=a b; id=1",
    "v=STSv1; ID=1",
    "v=STSv1; xid=1",
]
NO_RECORDS = [
    "v=STSv2; id=1",
    "v=stsv1; id=1",
    " v=STSv1; id=1",
    "id=1; v=STSv1",
    "v=spf1 -all",
    "v=STSv1",
    "v=STSv1x; id=1",
]


@pytest.mark.parametrize("text", RECORDS)
def test_a_record_has_an_id(text):
    assert record_id(["v=spf1 -all", text]) == RECORDS[text]


@pytest.mark.parametrize("text", BAD_RECORDS)
def test_a_record_with_a_mistake_does_not_count(text):
    with pytest.raises(ValueError, match="is no record"):
        record_id([text])


def test_what_begins_in_another_way_is_no_record():
    assert record_id(NO_RECORDS) == ""


def test_two_records_are_as_good_as_none():
    with pytest.raises(ValueError, match="2 records"):
        record_id(["v=STSv1; id=1", "v=STSv1; id=1"])


EXAMPLE = """\
version: STSv1
mode: enforce
mx: mail.example.com
mx: *.example.net
mx: backupmx.example.com
max_age: 604800
"""


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_the_policy_of_the_rfc_is_read_with_either_line_end(end):
    read = parse_policy(EXAMPLE.replace("\n", end).encode())
    assert read == StsPolicy("enforce", ("mail.example.com", "*.example.net", "backupmx.example.com"), 604800)


GOOD = {
    "mode: testing\nmx: a\nmax_age: 1\nversion: STSv1": ("testing", ("a",), 1),
    "version:STSv1\nmode:enforce\t\nmx:\tA.Test. \nmax_age:0\n\n": ("enforce", ("a.test",), 0),
    "version: STSv1\nmode: none\nmax_age: 86400": ("none", (), 86400),
    "version: STSv1\nmode: enforce\nmode: none\nmx: a.test\nmax_age: 5\nmax_age: 9": ("enforce", ("a.test",), 5),
    "version: STSv1\nmode: enforce\nmx: a.test\nmax_age: 9999999999": ("enforce", ("a.test",), 31557600),
    "version: STSv1\nx-more.1: any: thing ü\nmode: enforce\nmx: a.test\nmax_age: 5": ("enforce", ("a.test",), 5),
    "version: STSv1\nmode: enforce\nmx: bücher.test\nmax_age: 5": ("enforce", ("xn--bcher-kva.test",), 5),
    "\ufeffversion: STSv1\nmode: enforce\nmx: a_b.test\nmax_age: 5": ("enforce", ("a_b.test",), 5),
}
BAD = {
    "": "version ''",
    "<html><body>Welcome</body></html>": "is no line",
    "version: STSv2\nmode: enforce\nmx: a\nmax_age: 5": "version 'STSv2'",
    "mode: enforce\nmx: a\nmax_age: 5": "version ''",
    "Version: STSv1\nmode: enforce\nmx: a\nmax_age: 5": "version ''",
    "version: STSv1\nmode: Enforce\nmx: a\nmax_age: 5": "mode 'Enforce'",
    "version: STSv1\nmx: a\nmax_age: 5": "mode ''",
    "version: STSv1\nmode: enforce\nmax_age: 5": "no mx",
    "version: STSv1\nmode: testing\nmax_age: 5": "no mx",
    "version: STSv1\nmode: enforce\nmx: a": "max_age ''",
    "version: STSv1\nmode: enforce\nmx: a\nmax_age: -5": "max_age '-5'",
    "version: STSv1\nmode: enforce\nmx: a\nmax_age: 12345678901": "max_age",
    "version: STSv1\nmode: enforce\nmx: a\nmax_age: \u0665": "max_age",
    "version: STSv1\nmode: enforce\nmx: *\nmax_age: 5": "mx '\\*'",
    "version: STSv1\nmode: enforce\nmx: a.*.test\nmax_age: 5": "mx",
    "version: STSv1\nmode: enforce\nmx: .test\nmax_age: 5": "mx",
    "version: STSv1\nmode: enforce\nmx:\nmax_age: 5": "mx",
    "version: STSv1\nmode: enforce\nmx: a b\nmax_age: 5": "mx",
    "version: STSv1\nmode: enforce\nmx: a\rmax_age: 5": "mx",
    "version: STSv1\nmode: enforce\n mx: a\nmax_age: 5": "is no line",
}


@pytest.mark.parametrize("text", GOOD)
def test_a_policy_is_read(text):
    assert parse_policy(text.encode()) == StsPolicy(*GOOD[text])


@pytest.mark.parametrize("text", BAD)
def test_what_is_no_policy_is_refused_and_said_why(text):
    with pytest.raises(ValueError, match=BAD[text]):
        parse_policy(text.encode())


def test_octets_that_are_no_text_are_no_policy():
    with pytest.raises(ValueError, match="is no line"):
        parse_policy(b"\xff\xd8\xff\xe0\0\x10JFIF")


@pytest.mark.parametrize(
    "host, allowed",
    [
        ("mail.example.com", True),
        ("MAIL.example.com.", True),
        ("mx1.example.net", True),
        ("example.net", False),
        ("a.mx1.example.net", False),
        ("mail.example.com.evil.test", False),
        ("xmail.example.com", False),
        ("", False),
    ],
)
def test_a_star_stands_for_one_label_on_the_left(host, allowed):
    assert StsPolicy("enforce", ("mail.example.com", "*.example.net"), 5).allows(host) is allowed


POLICY = StsPolicy("enforce", ("a.test",), 86400)


def test_what_is_kept_comes_back_from_its_file():
    for kept in (Kept("a.test", "1", POLICY, 1000), Kept("ü.test", failed_id="2", failed_at=5, trouble="no \n route")):
        assert from_json(to_json(kept)) == kept


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"policy": 1}', '{"policy": null}', '{"policy": {"mode": "enforce"}, "domain": "a"}']
    + [to_json(Kept("a.test", "1", POLICY, 1000)).replace("1000", '"x"'), to_json(Kept("a.test"))[:-9]],
)
def test_a_file_that_is_spoilt_is_an_error(text):
    with pytest.raises(ValueError):
        from_json(text)


def test_a_policy_counts_for_its_max_age_and_at_least_a_minute():
    kept = Kept("a.test", "1", POLICY, 1000)
    assert [kept.is_in_force(now) for now in (1000, 87399, 87400)] == [True, True, False]
    assert Kept("a.test", "1", StsPolicy("enforce", ("a",), 0), 1000).is_in_force(1059)
    assert not Kept("a.test").is_in_force(0)


def test_it_is_renewed_after_a_day_or_half_of_its_age():
    assert [Kept("a.test", "1", POLICY, 1000).is_old(now) for now in (1000, 44199, 44200)] == [False, False, True]
    year = Kept("a.test", "1", StsPolicy("enforce", ("a",), 31557600), 1000)
    assert [year.is_old(now) for now in (87399, 87400)] == [False, True]


def test_a_version_that_failed_is_left_alone_for_five_minutes_and_longer_where_its_policy_counts():
    kept = Kept("a.test", "1", POLICY, 1000, failed_id="2", failed_at=2000)
    assert [kept.has_failed("2", now) for now in (1999, 2000, 2299, 2300)] == [False, True, True, False]
    assert not kept.has_failed("3", 2000)
    renewing = Kept("a.test", "1", POLICY, 1000, failed_id="1", failed_at=2000)
    assert [renewing.has_failed("1", now) for now in (5599, 5600)] == [True, False]


def test_what_neither_counts_nor_failed_of_late_is_useless():
    failed = Kept("a.test", failed_id="1", failed_at=1000)
    assert [failed.is_useless(now) for now in (1000, 87399, 87400)] == [False, False, True]
    assert [Kept("a.test", "1", POLICY, 1000).is_useless(now) for now in (87399, 87400)] == [False, True]
