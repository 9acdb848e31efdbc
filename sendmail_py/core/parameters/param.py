"""What a parameter is.

Types: str, raw (macros stay for whoever uses it), int, bool (yes|no), time (suffix s m h d w; without, that of the
default), list (comma or white space), and an enumeration written "a|b|c". Light, as is the whole table: plain data.
"""


class Param:
    """One parameter: its name, type, default as it would stand in main.cf, section and manual text."""

    __slots__ = ("default", "doc", "name", "section", "type")

    def __init__(self, name: str, type: str, default: str, section: str, doc: str) -> None:
        self.name = name
        self.type = type
        self.default = default
        self.section = section
        self.doc = doc
