"""The house rules of imports: only downward, never between rooms of a floor, one door per dependency."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = "sendmail_py"
SOURCE = Path(__file__).resolve().parent.parent.parent / PACKAGE
ROOMS = ["core", "formats protocol", "spool host", "routing delivery", "services", "commands"]
FLOOR = {room: number for number, rooms in enumerate(ROOMS) for room in rooms.split()}
DOORS = {
    "dns": {"host/dns.py"},
    "filelock": {"spool/lock.py"},
    "cryptography": {"host/certs.py", "host/dkim_keys.py", "host/trust_anchor.py"},
    "daemon": {"host/daemon.py"},
    "uvloop": {"host/loop.py"},
}
PURE = {"core", "formats", "protocol", "routing"}
IMPURE = {"asyncio", "fcntl", "posix", "pwd", "secrets", "select", "selectors", "socket", "subprocess"}
CLOCKS = {"time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "sleep", "now", "utcnow", "today"}
FILES = sorted(SOURCE.rglob("*.py"))


def imports(path: Path, everywhere: bool = True) -> Iterator[str]:
    """Yield the dotted names that a file imports; everywhere=False: only when it is itself imported."""
    tree = ast.parse(path.read_text())
    package = (PACKAGE, *path.relative_to(SOURCE).parent.parts)
    todo = list(tree.body)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(filter(None, (base, node.module)))
            yield from (f"{module}.{alias.name}" for alias in node.names)
        elif everywhere or not (isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or is_type_checking(node)):
            todo.extend(ast.iter_child_nodes(node))


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def is_impure(node: ast.AST) -> bool:
    """Say whether a node reads a clock, or randomness that was not passed in."""
    if not (isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)):
        return False
    if node.value.id == "random":
        return node.attr != "Random"
    return node.value.id in ("time", "datetime", "date") and node.attr in CLOCKS


def file_of(name: str) -> Path | None:
    """Return the file of this package that a dotted name lies in."""
    path = SOURCE.parent.joinpath(*name.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py", path.parent.with_suffix(".py")):
        if name.startswith(PACKAGE) and candidate.is_file():
            return candidate
    return None


def short(path: Path) -> str:
    return str(path.relative_to(SOURCE))


@pytest.mark.parametrize("path", FILES, ids=short)
def test_a_file_imports_only_from_lower_floors_and_its_own_room(path: Path) -> None:
    room = short(path).partition("/")[0]
    if room not in FLOOR:
        return
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == PACKAGE and parts[1] in FLOOR:
            assert parts[1] == room or FLOOR[parts[1]] < FLOOR[room], f"{short(path)} imports {name}"


@pytest.mark.parametrize("path", FILES, ids=short)
def test_a_dependency_is_imported_by_its_one_door_and_nowhere_else(path: Path) -> None:
    for name in imports(path):
        top = name.partition(".")[0]
        if top != PACKAGE and top not in sys.stdlib_module_names:
            assert short(path) in DOORS.get(top, ()), f"{short(path)} imports {name}"


def test_ssl_has_one_door_too() -> None:
    assert [short(path) for path in FILES if "ssl" in {n.partition(".")[0] for n in imports(path)}] == ["host/tls.py"]


@pytest.mark.parametrize("path", [p for p in FILES if short(p).partition("/")[0] in PURE], ids=short)
def test_the_deciding_rooms_do_no_io_and_read_no_clock(path: Path) -> None:
    assert not IMPURE & {name.partition(".")[0] for name in imports(path)}
    assert not [f"line {node.lineno}" for node in ast.walk(ast.parse(path.read_text())) if is_impure(node)]


def test_no_module_imports_itself_in_a_circle() -> None:
    wanted = {p: {f for n in imports(p, everywhere=False) if (f := file_of(n)) and f != p} for p in FILES}
    while free := [path for path, others in wanted.items() if not others & wanted.keys()]:
        for path in free:
            del wanted[path]
    assert not wanted, sorted(map(short, wanted))
