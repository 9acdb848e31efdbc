"""One file with the byte code of all that sendmail(1) imports: written by `make install`, run by the launcher.

Twenty imports cost 200 system calls and more than 2 ms, beside 5 ms for the interpreter's own
start; out of one file they cost a third of that. Its name bears the interpreter's cache tag: a
checkout has no such file, a new interpreter finds none, and both import as always, as does every
module that is not in it. Run as a script it writes the file: `fast_modules.py TREE PLACE`, PLACE
being where TREE will stand. Light: the launcher runs it.
"""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _frozen_importlib import ModuleSpec
    from collections.abc import Callable
    from types import CodeType, ModuleType

    Module = tuple[str, str, CodeType]  # name, path in the tree, code

_MAIN = "sendmail_py.commands.sendmail"
_NO_DOCSTRINGS = 2


def install(modules: "list[Module]", tree: str) -> "Callable[[list[str]], None]":
    """Make the modules, each after those it imports; returns the main function of sendmail(1)."""
    known = sys.modules
    make = type(sys)
    for name, path, code in modules:
        module = known[name] = make(name)
        space = module.__dict__
        space["__file__"] = file = tree + path
        parent, _, own = name.rpartition(".")
        space["__package__"] = parent
        if file[-12:] == "/__init__.py":
            space["__package__"] = name
            space["__path__"] = [file[:-12]]
        exec(code, space)
        if parent:
            setattr(known[parent], own, module)
    return known[_MAIN].main  # type: ignore[no-any-return]


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

    recorder = _Recorder()
    sys.path.insert(0, tree)
    sys.dont_write_bytecode = True
    sys.meta_path.insert(0, recorder)  # type: ignore[arg-type]
    __import__(_MAIN)
    modules = []
    for name in recorder.complete:
        path = str(sys.modules[name].__file__).removeprefix(tree)
        modules.append((name, path, _compiled(tree + path, place + path)))
    loader = _compiled(__file__, place + "/sendmail_py/commands/fast_modules.py")
    with open(f"{tree}/sendmail_py/fast.{sys.implementation.cache_tag}", "wb") as file:
        file.write(marshal.dumps((loader, modules)))


def _compiled(path: str, shown: str) -> "CodeType":
    with open(path, encoding="utf-8") as file:
        return _without_lines(compile(file.read(), shown, "exec", dont_inherit=True, optimize=_NO_DOCSTRINGS))


def _without_lines(code: "CodeType") -> "CodeType":
    """Leave out the tables of line numbers, a fifth of the file: sendmail(1) shows no traceback."""
    constants = (_without_lines(c) if isinstance(c, type(code)) else c for c in code.co_consts)
    return code.replace(co_linetable=b"", co_consts=tuple(constants))


if __name__ == "__main__":
    write(sys.argv[1], sys.argv[2])
