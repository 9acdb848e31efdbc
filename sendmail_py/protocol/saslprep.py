"""SASLprep (RFC 4013): user names and passwords in the one form in which they are compared."""


def saslprep(text: str) -> str:
    """Return the prepared form of a text; raises ValueError for one that has none."""
    if text.isascii():
        if not text.isprintable():
            raise ValueError("a control character")
        return text
    import stringprep  # only here: few names need its tables
    import unicodedata

    mapped = "".join(" " if stringprep.in_table_c12(c) else c for c in text if not stringprep.in_table_b1(c))
    prepared = unicodedata.ucd_3_2_0.normalize("NFKC", mapped)
    if any(_is_prohibited(c) for c in prepared):
        raise ValueError("a character that cannot stand in a name or password")
    _check_direction(prepared)
    return prepared


def _is_prohibited(c: str) -> bool:
    """Say whether a character is in one of the tables of RFC 4013 2.3, or unassigned (2.5)."""
    import stringprep as s

    controls = s.in_table_c21_c22(c) or s.in_table_c3(c) or s.in_table_c4(c) or s.in_table_c5(c) or s.in_table_c6(c)
    return controls or s.in_table_c12(c) or s.in_table_c7(c) or s.in_table_c8(c) or s.in_table_c9(c) or s.in_table_a1(c)


def _check_direction(text: str) -> None:
    """Text from right to left must be so from its first to its last character, with nothing of the other kind."""
    import stringprep

    if not any(map(stringprep.in_table_d1, text)):
        return
    ends = stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1])
    if not ends or any(map(stringprep.in_table_d2, text)):
        raise ValueError("text of both directions")
