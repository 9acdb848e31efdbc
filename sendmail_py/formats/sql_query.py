"""sqlite_table(5): the file that says which database to ask, and how.

Pure. The key goes into the query with every quote doubled, as it must stand within the quotes
that the query has around it; a query that wants a part of the key which is not there is not asked.
"""

from .main_cf import parse

_DEFAULT_FORMAT = "%s"


class _Missing(Exception):
    """The key has not the part that is wanted."""


class SqlQuery:
    """One such file; database is its dbpath. Raises ValueError for a file that says too little."""

    def __init__(self, text: str, path: str) -> None:
        settings, complaints = parse(text, path)
        if complaints:
            raise ValueError(complaints[0])
        values = {name: setting.text for name, setting in settings.items()}
        self.database = values.get("dbpath", "")
        self._query = values.get("query", "") or _old_form(values)
        self._format = values.get("result_format", _DEFAULT_FORMAT)
        self._domains = frozenset(values.get("domain", "").replace(",", " ").lower().split())
        if not self.database.startswith("/"):
            raise ValueError(f"{path}: dbpath must be the path of a database")
        if not self._query:
            raise ValueError(f"{path}: there is no query")

    def statement(self, key: str) -> str | None:
        """Return the query for a key; None when there is nothing to ask."""
        if self._domains and key.rpartition("@")[2].lower() not in self._domains:
            return None
        try:
            return _replaced(self._query, key.replace("'", "''"))
        except _Missing:
            return None

    def result(self, value: str) -> str:
        """Return what result_format makes of one value that was found."""
        try:
            return _replaced(self._format, value)
        except _Missing:
            return ""


def _old_form(values: dict[str, str]) -> str:
    """Return the query that table, select_field, where_field and additional_conditions stand for."""
    if not all(values.get(name) for name in ("table", "select_field", "where_field")):
        return ""
    more = values.get("additional_conditions", "")
    return f"SELECT {values['select_field']} FROM {values['table']} WHERE {values['where_field']} = '%s' {more}"


def _replaced(text: str, key: str) -> str:
    """Replace %s, %u, %d and %1 to %9 (the labels of the domain, from its end) with their parts of the key."""
    local_part, at, domain = key.rpartition("@")
    parts = {"s": key, "u": local_part if at else key, "d": domain if at else "", "%": "%"}
    labels = domain.split(".")[::-1] if at else []
    parts |= {str(number): label for number, label in enumerate(labels[:9], 1)}
    out = []
    rest = text
    while rest:
        before, percent, rest = rest.partition("%")
        out.append(before)
        if not percent:
            break
        letter, rest = rest[:1], rest[1:]
        letter = letter.lower() if letter in "SUD" else letter
        if not parts.get(letter):
            raise _Missing(letter)
        out.append(parts[letter])
    return "".join(out)
