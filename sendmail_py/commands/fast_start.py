"""The start of an installed sendmail(1): makes modules of the byte code that fast_modules.py wrote, and runs main.

No module: the launcher runs it in its own name space, where it has read the first part of the byte code. The second is
read when the submission was no plain one.
"""

# ruff: noqa: F821 - the names declared first are the launcher's
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import marshal
    import posix
    from types import ModuleType
    from typing import Any

    # What the launcher has: its own directory with a slash, the tree, the file, open, and what is in its first part:
    # for each module, after those it imports, its name, that of its package, its file in the tree, its code.
    directory: str
    tree: str
    descriptor: int
    modules: list[Any]


def make(modules: "list[Any]") -> "ModuleType":
    """Make the modules that are not there yet, which main.cf may have made necessary, and return the last."""
    kind = type(sys)
    values = iter(modules)
    for name in values:
        package, path, code = next(values), next(values), next(values)
        if name in sys.modules:
            continue
        module = sys.modules[name] = kind(name)
        space = module.__dict__
        space["__package__"] = package
        space["__file__"] = file = tree + path
        if package == name:
            space["__path__"] = [file[:-12]]
        exec(code, space)
        parent, _, own = name.rpartition(".")
        if parent in sys.modules:
            setattr(sys.modules[parent], own, module)
    return sys.modules[name]


sys.path[:0] = tree, directory + ".."
low = []
while descriptor < 3:  # the caller closed that: it is no place for the file, or it would be the message
    low.append(descriptor)
    descriptor = posix.dup(descriptor)
for number in low:
    posix.close(number)
begun = make(modules).main(sys.argv)
try:
    modules = marshal.loads(posix.pread(descriptor, 131000, 40000))
    posix.close(descriptor)
except Exception:
    from sendmail_py.commands.sendmail import main
else:
    main = make(modules).main
main(sys.argv, begun)
