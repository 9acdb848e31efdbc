"""The interpreter for modes that need a dependency: site-packages are invisible on the fast path.

It is ROOT/.venv/bin/python where that exists (a checkout), else the launcher's own without -S.
Light: imported by the launchers.
"""

import posix
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


def slow_interpreter(root: str) -> str:
    """Return the path of the interpreter that sees the dependencies."""
    in_checkout = f"{root}/.venv/bin/python"
    try:
        posix.stat(in_checkout)
    except OSError:
        return sys.executable
    return in_checkout


def run_slow(root: str, name: str, words: "list[str]") -> "NoReturn":
    """Replace this process by the same command under the interpreter that sees the dependencies."""
    python = slow_interpreter(root)
    posix.execv(python, [python, "-I", f"{root}/sendmail_py/commands/__main__.py", name, *words])
