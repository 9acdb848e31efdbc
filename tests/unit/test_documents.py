"""The documents are true of the source: links, quoted lines of the log, records, and an example of the queue file."""

import ast
import os
import pwd
import re
import textwrap
from collections import deque
from pathlib import Path

import pytest

from sendmail_py.core.address import Address
from sendmail_py.core.complaints import complaints
from sendmail_py.core.delivery import Delivery
from sendmail_py.core.envelope import Envelope, Recipient, Submitter
from sendmail_py.core.params import BY_NAME
from sendmail_py.core.result import delivered
from sendmail_py.formats.advice import ADVICE, advice
from sendmail_py.formats.batch import Batch, HandBack, Report, encode_aside, encode_batch, encode_hosts, encode_reports
from sendmail_py.formats.queue_file import FLAGS, render
from sendmail_py.formats.queue_reader import parse, read_history
from sendmail_py.host.configuration import load
from sendmail_py.routing.schedule import Schedule
from sendmail_py.services.deferred_index import DeferredIndex
from sendmail_py.services.requests import Requests
from sendmail_py.services.whole_config import check_config
from sendmail_py.spool.store import Store
from tests.log_lines import GAP, log_lines
from tests.transcript import blocks

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = {str(path.relative_to(ROOT)): path for path in (ROOT / "README.md", ROOT / "CHANGELOG.md", *DOCS.rglob("*.md"))}
SOURCES = sorted((ROOT / "sendmail_py").rglob("*.py"))
QUOTED_GAPS = r"\.\.\.|maildrop/|corrupt/|Permission denied|Connection refused"  # what is put in, as a table shows it


# --- links ---------------------------------------------------------------------------------------


def anchors(path: Path) -> set[str]:
    """Return the anchors of a page's headings, as web sites make them."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", PAGES)
def test_every_link_leads_somewhere(name: str) -> None:
    page = PAGES[name]
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        place, _, anchor = target.partition("#")
        if "://" in place:
            continue
        path = page.parent / place if place else page
        assert path.exists(), target
        assert not anchor or anchor in anchors(path), target


def test_the_index_names_every_page() -> None:
    named = set(re.findall(r"\]\(([^)#]+)\)", (DOCS / "index.md").read_text()))
    assert {path.name for path in DOCS.glob("*.md")} - named == {"index.md"}


@pytest.mark.parametrize("name", [name for name in PAGES if name != "CHANGELOG.md"])
def test_every_file_of_the_source_that_a_page_names_is_there(name: str) -> None:
    known = [
        str(path.relative_to(ROOT)) for path in [*SOURCES, *(ROOT / "tests").rglob("*"), *(ROOT / "demo").rglob("*")]
    ]
    for named in re.findall(r"`([\w/.-]+\.py)`", PAGES[name].read_text()):
        assert any(path == named or path.endswith(f"/{named}") for path in known) or (ROOT / named).exists(), named


@pytest.mark.parametrize("name", PAGES)
def test_what_is_typed_or_written_into_main_cf_stands_in_a_fence_that_says_so(name: str) -> None:
    """What is only indented no test would type or read."""
    fenced = {line for block in blocks(PAGES[name]) for line in block.lines}
    indented = [
        line.split() for line in PAGES[name].read_text().splitlines() if line[:4] == "    " and line not in fenced
    ]
    ours = {path.name for path in (ROOT / "bin").iterdir()}
    assert [words for words in indented if words[0] in ours or (words[0] in BY_NAME and words[1:2] == ["="])] == []


# --- main.cf -------------------------------------------------------------------------------------


CONFIGURATIONS = [
    pytest.param(block.text, id=f"{name}, {block.section}")
    for name, path in PAGES.items()
    for block in blocks(path)
    if block.kind == "main.cf"
]


@pytest.mark.parametrize("text", CONFIGURATIONS)
def test_every_main_cf_that_is_shown_can_be_used_and_nothing_in_it_is_odd(text: str, tmp_path: Path) -> None:
    user = pwd.getpwuid(os.getuid()).pw_name  # the users of the system's instance need not be here
    (tmp_path / "main.cf").write_text(f"mail_owner = {user}\nnet_owner = {user}\n{text}")
    config, odd = load(str(tmp_path))
    assert [*odd, *complaints(config.settings)] == []
    check_config(config)
    names = re.findall(r"^(\w+) *=", text, re.MULTILINE)
    assert names and set(names) <= set(config.settings)


# --- quoted texts --------------------------------------------------------------------------------


def literals() -> list[str]:
    """Return the texts of the source, with a gap where a value is put in."""
    found = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                parts = [part.value if isinstance(part, ast.Constant) else GAP for part in node.values]
                found.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return found


def rows(page: str) -> list[list[str]]:
    """Return the rows of a page's tables."""
    lines = (DOCS / page).read_text().splitlines()
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if line.startswith("| `")]


def quoted(page: str) -> list[str]:
    """Return the texts that a page quotes in the first column of its tables."""
    return [text for row in rows(page) for text in re.findall(r"`([^`]+)`", row[0])]


@pytest.mark.parametrize("text", quoted("troubleshooting.md"))
def test_what_troubleshooting_quotes_is_written_by_the_source(text: str) -> None:
    pieces = [piece.strip(" :;()") for piece in re.split(QUOTED_GAPS, text) if len(piece.strip(" :;()")) > 2]
    assert pieces
    pattern = re.compile(".*".join(map(re.escape, pieces)), re.DOTALL)
    assert any(pattern.search(literal) for literal in TEXTS), pieces


TEXTS = literals()


@pytest.mark.parametrize("name", ["README.md", "docs/troubleshooting.md", "docs/security.md", "docs/ten-faults.md"])
def test_every_parameter_that_a_page_names_is_one(name: str) -> None:
    named = set(re.findall(r"`(?:[a-z0-9]+_)+[a-z0-9]+`", PAGES[name].read_text()))
    assert {text.strip("`") for text in named} - set(BY_NAME) - {"one_user", "sasl_passwd"} == set()


def test_troubleshooting_has_a_row_for_what_trace_explains() -> None:
    said = "\n".join(quoted("troubleshooting.md"))
    for words in {words for _, words, _ in ADVICE if words}:
        assert words in said or words in ("not yet valid", "has expired"), words


@pytest.mark.parametrize(
    ("status", "reason", "says"),
    [
        ("4.7.8", "SASL authentication failed; server x said: 535 no", "correct smtp_sasl_password_maps"),
        ("4.7.5", "Server certificate not trusted: certificate is not yet valid", "The clock of this host"),
        ("5.4.6", "mail for here.test loops back to myself", "`mailctl check`"),
        ("5.4.6", "mail forwarding loop for a@here.test", "`mailctl test-delivery`"),
        ("4.4.3", "Name service error", "/etc/resolv.conf"),
        ("4.0.0", "whatever", ""),
    ],
)
def test_advice_goes_by_status_and_words(status: str, reason: str, says: str) -> None:
    assert says in advice(status, reason) and bool(says) == bool(advice(status, reason))


# --- records -------------------------------------------------------------------------------------


def documented(heading: str) -> set[str]:
    """Return the names in the first column of the table of services.md with such a heading."""
    text = (DOCS / "services.md").read_text()
    table = text.partition(f"| {heading} |")[2].partition("\n\n")[0]
    return {name for line in table.splitlines()[2:] for name in re.findall(r"`([\w-]+)`", line.split(" | ")[0])}


def in_services(pattern: str) -> set[str]:
    """Return what a pattern finds in the sources of the services."""
    text = "\n".join(path.read_text() for path in SOURCES if path.parent.name == "services")
    return set(re.findall(pattern, text))


def test_what_master_says_and_hears_is_documented() -> None:
    assert documented("to a service: `do`") == in_services(r'"do": "([\w-]+)"')
    assert documented("to master") == in_services(r'(?:service|self)\.tell\(\{"(\w+)":')
    started = in_services(r'"(settings|user|one_user|descriptors)":')
    assert started == {"settings", "user", "one_user", "descriptors"}
    assert all(f"`{name}`" in (DOCS / "services.md").read_text() for name in started)


def test_what_agents_are_told_and_answer_is_documented() -> None:
    delivery = Delivery("ID", 0, 0, 0, Address("", ""), [Recipient(Address("a", "b"))])
    batch, _ = encode_batch(Batch(1, "smtp", "b", [delivery]))
    assert documented("batch") == set(batch)
    report = Report(0, 0, delivered("2.0.0", "ok"))
    answers = [encode_reports(1, [report], True)[0], encode_aside(1), encode_hosts(1, [])]
    assert documented("answer") == {key for record in answers for key in record} | {"notice"}
    assert in_services(r'"(notice)" in received') == {"notice"}
    text = (DOCS / "services.md").read_text()
    assert all(f"`{back.value}`" in text for back in HandBack)
    names = next(row for row in rows("services.md") if row[0] == "`jobs`")[1].partition(": ")[2].split(", ")
    assert len(batch["jobs"][0]) == len(names) + 1  # "offset and size" are two
    names = next(row for row in rows("services.md") if row[0] == "`results`")[1].split(", ")
    assert len(answers[0]["results"][0]) == len(names)


def test_the_verbs_of_the_sockets_are_documented(tmp_path: Path) -> None:
    requests = Requests(Store(str(tmp_path)), DeferredIndex(Schedule(1, 2, 3, 4)), deque(), {})
    text = (DOCS / "services.md").read_text()
    control, public = (part.partition("\n## ")[0] for part in text.split("## The socket ")[1:3])
    verbs = [set(re.findall(r"`([\w-]+)`", line.split(" | ")[0])) for line in public.splitlines() if line[:3] == "| `"]
    assert set().union(*verbs) - {"verb"} == set(requests.handlers)
    source = (ROOT / "sendmail_py/services/control.py").read_text()
    assert set(re.findall(r"^\| `(\w+)` \| (?!answer)", control, re.MULTILINE)) == set(
        re.findall(r'verb == "(\w+)"', source)
    )


# --- the queue file ------------------------------------------------------------------------------


def test_the_example_of_the_queue_file_is_one() -> None:
    text = (DOCS / "queue-format.md").read_text()
    indented = re.search(r"(?:    .*\n|\n)+", text[text.index("    sendmail-py-queue 1") :])
    assert indented
    head, _, rest = textwrap.dedent(indented[0]).rstrip("\n").partition("\n\n")
    content, history = (f"{line}\n" for line in rest.splitlines())
    head = re.sub(r"size: \d{10}", f"size: {len(content):010}", head)
    envelope = parse(f"{head}\n\n".encode())
    assert envelope.size == len(content)
    bob, carol, dan = (str(r.forward_path) for r in envelope.recipients)
    assert (bob, carol, dan) == ("bob@example.net", "carol@example.com", "dan@example.org")
    assert envelope.recipients[2].target == "|/usr/bin/vacation dan"
    assert [str(r.forward_path) for r in envelope.pending()] == [bob, dan]
    ((_, address, outcome, status, _, reason),) = read_history(history.encode())
    assert (str(address), outcome, status, reason) == ("bob@example.net", "deferred", "4.4.1", "Connection timed out")
    assert all(f"] {flag}" in head for flag in FLAGS)


def test_the_grammar_of_the_queue_file_names_its_lines_in_the_order_they_are_written() -> None:
    text = (DOCS / "queue-format.md").read_text().partition("file       = ")[2].partition("```")[0]
    listed = text.partition("line       = ")[2].partition("id         = ")[0].replace("/", " ").split()
    envelope = Envelope("660EE6B8F4E4051A2B3", 1, Address("a", "b"), [Recipient(Address("c", "d"))], Submitter(0))
    envelope.body, envelope.smtputf8, envelope.envid, envelope.ret = "8BITMIME", True, "e", "FULL"
    envelope.maildrop, envelope.parent, envelope.visited = ("m", 1, 2), ("660EE6B8F4E4051A2B3", 3), ("v",)
    envelope.controlling_uid, envelope.client, envelope.origin = 1, "c", "o"
    envelope.refused, envelope.full_name, envelope.unknown = "5.0.0 r", "f", ["unknown: u"]
    envelope.size = 0
    written = [line.partition(": ")[0] for line in render(envelope).decode().splitlines()[1:-1]]
    assert written == listed
    for name in listed:
        assert re.search(rf'^{name} += (?:"{name}: |name)', text, re.MULTILINE), name
    assert {part.partition(":")[0] for part in render(envelope).decode().split("\n") if ": " in part} == set(listed)


# --- the log -------------------------------------------------------------------------------------


def documented_lines() -> list[re.Pattern[str]]:
    """Return what troubleshooting quotes, as expressions that find it in what the source can write."""
    found = []
    for text in quoted("troubleshooting.md"):
        pieces = [piece.strip(" :;()") for piece in re.split(QUOTED_GAPS, text) if len(piece.strip(" :;()")) > 2]
        found.append(re.compile(".*".join(map(re.escape, pieces)), re.DOTALL))
    return found


def test_every_warning_and_error_of_the_log_has_a_row_in_troubleshooting() -> None:
    written = log_lines()
    assert len(written) > 70
    telling = {text: place for text, place in written.items() if len(re.findall("[a-z]", text)) > 2}
    rows = documented_lines()
    missing = [f"{place}: {text.replace(GAP, '...')}" for text, place in telling.items() if not has_row(text, rows)]
    assert missing == []


def has_row(text: str, rows: list[re.Pattern[str]]) -> bool:
    return any(row.search(text) for row in rows)


def test_a_new_warning_would_be_missed() -> None:
    assert not has_row(f"{GAP}: nobody has written of this: {GAP}", documented_lines())
