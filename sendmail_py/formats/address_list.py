"""Address lists (RFC 5322 3.4 with 4.4), read as mailers meet them: in header fields, and on command lines.

Read are display names, quoted strings, nested comments, groups, routes, domain literals, bare
words and raw UTF-8. Every address is either understood or refused by name; none is dropped.
Light: imported by sendmail(1).
"""

from ..core.address import Address

_SPECIALS = frozenset("<>,:;@.)]")
_ENDS_ATOM = _SPECIALS | frozenset(' \t"([')
NOT_IN_DOMAINS = frozenset(' \t"<>()[]:,\\')  # an SMTP command could not hold them there
_NOT_IN_REMARKS = frozenset(',;:@<>)"\\')
_ATOM, _QUOTED, _LITERAL = "atom", "quoted", "literal"
_WORDS = (_ATOM, _QUOTED)


class Mailbox:
    """An address with its display name and its place, text[start:end], in the list it was read from."""

    __slots__ = ("address", "display", "end", "start")

    def __init__(self, display: str, address: Address, start: int, end: int) -> None:
        self.display = display
        self.address = address
        self.start = start
        self.end = end


class RealUser(Address):
    """The address of a recipient that was written \\name: his mailbox, past aliases and .forward, where he is local."""

    __slots__ = ()


class _Token:
    """A lexical unit: kind is atom, quoted, literal or the special character itself; value is without quoting."""

    __slots__ = ("end", "kind", "start", "value")

    def __init__(self, kind: str, value: str, start: int, end: int) -> None:
        self.kind = kind
        self.value = value
        self.start = start
        self.end = end


def parse_address_list(text: str, lenient: bool = False) -> "list[Mailbox]":
    """Read an address list; the null address <> is a Mailbox too.

    With lenient, as where recipients are named, commas may be missing, as for Postfix: bare words
    that a blank parts are addresses of their own, and so is what follows a >. And undisclosed
    recipients may lack their ; where nobody follows. And a bare address may have a > behind it, or
    a ( that nothing closes, if no other could be in it. Raises ValueError, naming the address, for
    one that cannot be read and for a control character in the text.
    """
    if not text.isprintable():
        refuse_controls(text)
    mailboxes = []
    for element in _elements(_tokens(text, lenient)):
        if lenient and _is_nobody(element):
            continue
        for part in _parts(element) if lenient else [element]:
            mailboxes.append(_mailbox(part, text))
    return mailboxes


def recipient(mailbox: Mailbox, text: str) -> Address:
    """Return the address of a recipient that was read from a text."""
    if text[mailbox.start : mailbox.start + 1] != "\\":
        return mailbox.address
    return RealUser(mailbox.address.local_part, mailbox.address.domain)


def refuse_controls(text: str) -> None:
    """Raise ValueError for a control character in a text that is to be an address."""
    for c in text:
        if (c < " " and c != "\t") or c == "\x7f":
            name = "a line break" if c in "\r\n" else "a control character"
            raise ValueError(f"{name} in the address {text[:80]!a}")


def _tokens(text: str, lenient: bool = False) -> "list[_Token]":
    tokens: list[_Token] = []
    position = 0
    while position < len(text):
        c = text[position]
        start = position
        if c in " \t":
            position += 1
        elif c == "(":
            position = len(text) if lenient and _is_last_remark(text, start) else _after_comment(text, start)
        elif c == '"':
            position, value = _delimited(text, start, '"')
            tokens.append(_Token(_QUOTED, value, start, position))
        elif c == "[":
            position, value = _delimited(text, start, "]")
            tokens.append(_Token(_LITERAL, f"[{value.strip()}]", start, position))
        elif c in _SPECIALS:
            position += 1
            tokens.append(_Token(c, c, start, position))
        else:
            position, value = _atom(text, start)
            tokens.append(_Token(_ATOM, value, start, position))
    return tokens


def _atom(text: str, start: int) -> "tuple[int, str]":
    position = start
    while position < len(text) and text[position] not in _ENDS_ATOM:
        position += 2 if text[position] == "\\" else 1
    position = min(position, len(text))
    value = text[start:position]
    return position, unescape(value) if "\\" in value else value


def _delimited(text: str, start: int, closing: str) -> "tuple[int, str]":
    position = start + 1
    while position < len(text) and text[position] != closing:
        position += 2 if text[position] == "\\" else 1
    if position >= len(text):
        raise ValueError(f"{text[start]} without its {closing} in the address {text[start : start + 80]!a}")
    value = text[start + 1 : position]
    return position + 1, unescape(value) if "\\" in value else value


def unescape(text: str) -> str:
    """Remove the backslash of each quoted-pair; a last one that quotes nothing stays."""
    out = []
    rest = text
    while rest:
        before, backslash, rest = rest.partition("\\")
        out.append(before + rest[:1] if rest else before + backslash)
        rest = rest[1:]
    return "".join(out)


def _is_last_remark(text: str, start: int) -> bool:
    """Say whether a ( behind something begins a comment that nothing closes and that hides no recipient."""
    return bool(text[:start].strip()) and _NOT_IN_REMARKS.isdisjoint(text[start:])


def _after_comment(text: str, start: int) -> int:
    depth = 0
    position = start
    while position < len(text):
        c = text[position]
        if c == "\\":
            position += 1
        depth += (c == "(") - (c == ")")
        position += 1
        if not depth:
            return position
    raise ValueError(f"( without its ) in the address {text[start : start + 80]!a}")


def _elements(tokens: "list[_Token]") -> "list[list[_Token]]":
    """Part the tokens at commas and at the borders of groups; empty elements are allowed (RFC 5322 4.4)."""
    elements: list[list[_Token]] = [[]]
    in_brackets = False
    last_group_end = max((i for i, token in enumerate(tokens) if token.kind == ";"), default=-1)
    for i, token in enumerate(tokens):
        if in_brackets:
            in_brackets = token.kind != ">"
        elif token.kind in (",", ";"):
            elements.append([])
            continue
        elif token.kind == ":" and elements[-1] and i < last_group_end:
            # What stood before it is the name of a group. Without a ; it is a part of a display
            # name, or a fault: to take it for a group would drop half of an address.
            elements[-1] = []
            continue
        elif token.kind == "<":
            in_brackets = True
        elements[-1].append(token)
    return [element for element in elements if element]


def _is_nobody(element: "list[_Token]") -> bool:
    """Say whether an element is "undisclosed-recipients:", as some write it.

    Any other name before a colon could be a recipient, and the colon that of a field that was
    indented by mistake.
    """
    return element[-1].kind == ":" and element[0].value.lower().startswith("undisclosed")


def _parts(element: "list[_Token]") -> "list[list[_Token]]":
    """Part what stands between two commas where one is missing: after <address>, and at blanks between bare words."""
    found: list[list[_Token]] = []
    start = opened = 0
    for i, token in enumerate(element):
        if token.kind == "<":
            opened = i + 1
        elif token.kind == ">" and opened:
            found.append(element[start : i + 1])
            start, opened = i + 1, 0
    if opened:
        found.append(element[start:])
    elif start < len(element):
        rest = element[start:]
        found += _at_blanks(rest[:-1] if rest[-1].kind == ">" and rest[:-1] else rest)
    return found


def _at_blanks(words: "list[_Token]") -> "list[list[_Token]]":
    before = words[0]
    parts = [[before]]
    for token in words[1:]:
        if token.start > before.end and before.kind not in (".", "@") and token.kind not in (".", "@"):
            parts.append([])
        parts[-1].append(token)
        before = token
    return parts


def _mailbox(element: "list[_Token]", text: str) -> Mailbox:
    kinds = [token.kind for token in element]
    source = text[element[0].start : element[-1].end]
    if "<" not in kinds:
        return _addr_spec("", element, source)
    opening = kinds.index("<")
    if kinds[-1] != ">":
        raise _unreadable(source, "text after the >" if ">" in kinds else "< without its >")
    display = text[element[0].start : element[opening].start].strip()
    inner = element[opening + 1 : -1]
    if not inner:
        return Mailbox(display, Address(""), element[opening].end, element[opening].end)
    if inner[0].kind == "@":
        inner = _without_route(inner, source)
    return _addr_spec(display, inner, source)


def _without_route(inner: "list[_Token]", source: str) -> "list[_Token]":
    """Drop the source route of <@a,@b:c@d>, as RFC 5321 appendix C asks."""
    for i, token in enumerate(inner):
        if token.kind == ":" and inner[i + 1 :]:
            return inner[i + 1 :]
    raise _unreadable(source, "a route without an address")


def _addr_spec(display: str, tokens: "list[_Token]", source: str) -> Mailbox:
    at = next((i for i, token in enumerate(tokens) if token.kind == "@"), len(tokens))
    local_part = _local_part(tokens[:at], source)
    domain = _domain(tokens[at + 1 :], source) if at < len(tokens) else ""
    return Mailbox(display, Address(local_part, domain), tokens[0].start, tokens[-1].end)


def _local_part(tokens: "list[_Token]", source: str) -> str:
    """Join words and dots; dots may stand anywhere, as they do in addresses that are in use."""
    if not any(token.kind in _WORDS for token in tokens):
        raise _unreadable(source, "no local part")
    before = ""
    for token in tokens:
        if token.kind not in _WORDS and token.kind != ".":
            raise _unreadable(source, f"{token.value} in the local part")
        if token.kind in _WORDS and before in _WORDS:
            raise _unreadable(source, "words without a dot or a comma between them")
        before = token.kind
    local_part = "".join(token.value for token in tokens)
    if not local_part:
        raise _unreadable(source, "an empty local part")
    return local_part


def _domain(tokens: "list[_Token]", source: str) -> str:
    if len(tokens) == 1 and tokens[0].kind == _LITERAL:
        return tokens[0].value
    # The dot that ends an absolute domain name is not part of a mail domain (RFC 5321 2.3.5).
    labels = tokens[:-1] if tokens and tokens[-1].kind == "." else tokens
    if not labels:
        raise _unreadable(source, "no domain after the @")
    for i, token in enumerate(labels):
        if token.kind != (_ATOM, ".")[i % 2] or not NOT_IN_DOMAINS.isdisjoint(token.value):
            raise _unreadable(source, f"{token.value} in the domain")
    if len(labels) % 2 == 0:
        raise _unreadable(source, "an empty label in the domain")
    return "".join(token.value for token in labels)


def _unreadable(source: str, why: str) -> ValueError:
    return ValueError(f"cannot read the address {source[:80]!a}: {why}")
