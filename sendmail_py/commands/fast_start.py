"""The start of an installed sendmail(1): makes modules of the byte code that fast_modules.py wrote, and runs main.

No module: the launcher runs it in its own name space, where it has read the file of byte code.
"""

# ruff: noqa: F821 - the names declared first are the launcher's
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType

    # What the launcher has: its own directory with a slash, the tree, and each module, after those it imports: its
    # name, that of its package, its file in the tree, its code.
    directory: str
    tree: str
    modules: list[tuple[str, str, str, CodeType]]

sys.path[:0] = tree, directory + ".."
make = type(sys)
for name, package, path, code in modules:
    module = sys.modules[name] = make(name)
    space = module.__dict__
    space["__package__"] = package
    space["__file__"] = file = tree + path
    if package == name:
        space["__path__"] = [file[:-12]]
    exec(code, space)
    parent, _, own = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], own, module)
module.main(sys.argv)
