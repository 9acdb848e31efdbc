"""Every warning and error that the code can write into the log, as texts with a gap where a value stands.

Collected from the source itself: the argument of each .warning() and .error() of a log; where that is a name, what is
given to it in the same function; and the texts of functions that return what their callers log.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

GAP = "\0"
SOURCE = Path(__file__).resolve().parent.parent / "sendmail_py"
ROOMS = ("services", "delivery", "spool", "host", "routing")
LEVELS = ("warning", "error")
# Functions that return complaints, which are logged as they are.
COMPLAINING = {"_bind", "bind", "places", "passed_sockets", "password_complaints", "unused_logins"}
COMPLAINING |= {"templates_of", "_learned"}


def log_lines() -> dict[str, str]:
    """Return each text, with the place where it is written."""
    found: dict[str, str] = {}
    for room in ROOMS:
        for path in sorted((SOURCE / room).rglob("*.py")):
            for text, line in _of_file(ast.parse(path.read_text())):
                found.setdefault(text, f"{path.relative_to(SOURCE)}:{line}")
    return found


def _of_file(tree: ast.Module) -> Iterator[tuple[str, int]]:
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        given = {
            target.id: node.value
            for node in ast.walk(function)
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        if function.name in COMPLAINING:
            yield from (
                (text, node.lineno)
                for node in ast.walk(function)
                if isinstance(node, ast.JoinedStr)
                for text in _texts(node)
                if len(text.split()) > 1
            )
        for node in ast.walk(function):
            if isinstance(node, ast.Call) and _is_log(node.func) and node.args:
                argument = node.args[0]
                if isinstance(argument, ast.Name):
                    argument = given.get(argument.id, argument)
                yield from ((text, node.lineno) for text in _texts(argument))


def _is_log(node: ast.expr) -> bool:
    return isinstance(node, ast.Attribute) and node.attr in LEVELS and "log" in ast.unparse(node.value).lower()


def _texts(node: ast.expr) -> Iterator[str]:
    """Yield the texts that an expression may be; none for one that only others know."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        yield "".join(str(part.value) if isinstance(part, ast.Constant) else GAP for part in node.values)
    elif isinstance(node, ast.IfExp):
        yield from _texts(node.body)
        yield from _texts(node.orelse)
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        yield from (left + right for left in _texts(node.left) or (GAP,) for right in _texts(node.right) or (GAP,))
