"""sqlite_table(5): the query that a key becomes."""

import pytest

from sendmail_py.formats.sql_query import SqlQuery

BASE = "dbpath = /var/db\n"


def statement(text: str, key: str) -> str | None:
    return SqlQuery(BASE + text, "/etc/x.cf").statement(key)


def test_the_key_stands_where_the_query_wants_it() -> None:
    assert statement("query = SELECT a FROM t WHERE n = '%s'\n", "bob") == "SELECT a FROM t WHERE n = 'bob'"
    assert statement("query = x '%u' '%d' '%1' '%2' %%\n", "bob@mx.example") == "x 'bob' 'mx.example' 'example' 'mx' %"


def test_quotes_in_a_key_cannot_end_the_string_they_stand_in() -> None:
    assert statement("query = n = '%s'\n", "o'; DROP TABLE t; --") == "n = 'o''; DROP TABLE t; --'"


def test_a_query_that_wants_a_part_which_is_not_there_is_not_asked() -> None:
    assert statement("query = '%d'\n", "bob") is None
    assert statement("query = '%3'\n", "bob@example.org") is None
    assert statement("query = '%s'\n", "") is None


def test_only_keys_of_the_domains_that_are_named_are_asked_for() -> None:
    text = "query = '%s'\ndomain = example.org, example.net\n"
    assert statement(text, "bob@Example.ORG") == "'bob@Example.ORG'"
    assert statement(text, "bob@example.com") is None and statement(text, "bob") is None


def test_the_old_form_is_a_query_too() -> None:
    text = "table = t\nselect_field = a\nwhere_field = n\nadditional_conditions = AND x = 1\n"
    assert statement(text, "bob") == "SELECT a FROM t WHERE n = 'bob' AND x = 1"


def test_the_format_of_a_result_may_add_to_it() -> None:
    assert SqlQuery(BASE + "query = q\n", "f").result("bob") == "bob"
    assert SqlQuery(BASE + "query = q\nresult_format = %u@lists\n", "f").result("bob@x") == "bob@lists"


@pytest.mark.parametrize(
    "text", ["query = x\n", "dbpath = relative\nquery = x\n", "dbpath = /x\n", "dbpath = /x\nnonsense\n"]
)
def test_a_file_that_says_too_little_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        SqlQuery(text, "/etc/x.cf")
