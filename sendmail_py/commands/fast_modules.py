"""A file with the byte code of all that sendmail(1) imports: written by `make install`, read by the launcher.

The launcher, bin/sendmail, is `#!/usr/bin/python3 -IS`, which keeps site-packages and the caller's
environment out. It looks for its tree, `../` (a checkout) or `../share/sendmail-py` (installed), seen
from the file itself: symbolic links are resolved. It is brief, since it is compiled at every start.

Twenty imports cost 200 system calls and more than 2 ms, beside 5 ms for the interpreter's own
start; out of one file they cost a fourth of that. Its name bears the interpreter's cache tag: a
checkout has no such file, a new interpreter finds none, and both import as always, as does every
module that is not in it, and all of them where it cannot be read whole. Its first part holds the code of
fast_start.py, which the launcher runs, and of what a plain submission needs (plain.py); the second, the packages and
the rest of sendmail.py's modules. The first makes so few objects that the garbage collector, which takes longer than
most of it, never runs. Both are read from one descriptor, so that an upgrade meanwhile mixes no old code with new.
Neither holds what only people and checkers read: docstrings, annotations, line numbers.
Run as a script this writes them: `fast_modules.py TREE PLACE`, PLACE being where TREE will stand.
"""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ast
    from _frozen_importlib import ModuleSpec
    from types import CodeType, ModuleType

    Row = tuple[str, str, str, CodeType]

_PLAIN, _REST = "sendmail_py.commands.plain", "sendmail_py.commands.sendmail"
_NO_DOCSTRINGS = 2
_FIRST = 40000  # octets that the launcher reads; fast_start.py reads from there on


class _Recorder:
    """Lets the import system work, and notes our modules in the order in which they are complete."""

    def __init__(self) -> None:
        self.complete: list[str] = []

    def find_spec(self, name: str, path: "list[str] | None" = None, target: object = None) -> "ModuleSpec | None":
        from _frozen_importlib_external import PathFinder

        spec = PathFinder.find_spec(name, path)
        if spec is None or spec.loader is None or name.partition(".")[0] != "sendmail_py":
            return None
        run = spec.loader.exec_module

        def exec_module(module: "ModuleType") -> None:
            run(module)
            self.complete.append(name)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def write(tree: str, place: str) -> None:
    """Write the file into a tree that will be installed at place."""
    import marshal
    import posix

    recorder = _Recorder()
    sys.path.insert(0, tree)
    sys.dont_write_bytecode = True
    sys.meta_path.insert(0, recorder)  # type: ignore[arg-type]
    start = "/sendmail_py/commands/fast_start.py"
    code = _compiled(tree + start, place + start)
    plain, packages = _rows(recorder, _PLAIN, tree, place)
    rest, more_packages = _rows(recorder, _REST, tree, place)
    fast = f"{tree}/sendmail_py/fast.{sys.implementation.cache_tag}"
    first = marshal.dumps((code, _flat(plain)))
    assert len(first) <= _FIRST
    with open(fast + ".new", "wb") as file:
        file.write(first.ljust(_FIRST, b"\0") + marshal.dumps(_flat(packages + more_packages + rest)))
    posix.rename(fast + ".new", fast)


def _rows(recorder: _Recorder, main: str, tree: str, place: str) -> "tuple[list[Row], list[Row]]":
    """Import a module, and return it and those that came with it, as fast_start.py makes them, and their packages.

    A module whose package is not there finds the others all the same: they are.
    """
    recorder.complete.clear()
    __import__(main)
    rows: list[Row] = []
    packages: list[Row] = []
    for name in recorder.complete:
        module = sys.modules[name]
        path, package = str(module.__file__).removeprefix(tree), str(module.__package__)
        row = name, package, path, _compiled(tree + path, place + path)
        (packages if name == package else rows).append(row)
    return rows, packages


def _flat(rows: "list[Row]") -> "list[str | CodeType]":
    """Return rows as one list: a tuple for each would be made at every start."""
    return [value for row in rows for value in row]


def _compiled(path: str, shown: str) -> "CodeType":
    import ast

    with open(path, encoding="utf-8") as file:
        tree = _without_annotations(ast.parse(file.read()))
    return _without_lines(compile(tree, shown, "exec", dont_inherit=True, optimize=_NO_DOCSTRINGS))


def _without_annotations(tree: "ast.Module") -> "ast.Module":
    """Leave out annotations, which a function would be made with, and what is for type checkers only."""
    import ast

    class Plain(ast.NodeTransformer):
        def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
            node.returns = None
            return self.generic_visit(node)

        def visit_arg(self, node: ast.arg) -> ast.AST:
            node.annotation = None
            return node

        def visit_AnnAssign(self, node: ast.AnnAssign) -> "ast.AST | None":
            return ast.copy_location(ast.Assign([node.target], node.value), node) if node.value else None

        def visit_Assign(self, node: ast.Assign) -> "ast.AST | None":
            return None if _is_for_checkers(node.targets[0]) else self.generic_visit(node)

        def visit_If(self, node: ast.If) -> "ast.AST | None":
            return None if _is_for_checkers(node.test) else self.generic_visit(node)

    plain: ast.Module = ast.fix_missing_locations(Plain().visit(tree))
    return plain


def _is_for_checkers(node: "ast.expr") -> bool:
    import ast

    return isinstance(node, ast.Name) and node.id == "TYPE_CHECKING"


def _without_lines(code: "CodeType") -> "CodeType":
    """Leave out the tables of line numbers, a fifth of the file: sendmail(1) shows no traceback."""
    constants = (_without_lines(c) if isinstance(c, type(code)) else c for c in code.co_consts)
    return code.replace(co_linetable=b"", co_consts=tuple(constants))


if __name__ == "__main__":
    write(sys.argv[1], sys.argv[2])
