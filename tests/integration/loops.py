"""Trees for tests of what runs under either event loop: this checkout, and one whose interpreter has uvloop.

The other tests run under asyncio's own loop: `make venv` puts uvloop where only uvloop_tree() finds it.
"""

import os
import shutil
import venv
from pathlib import Path

import pytest

from tests.integration.instance import ROOT

LOOPS = ["asyncio", pytest.param("uvloop", marks=pytest.mark.real())]


def tree_of(loop: str, path: Path) -> Path:
    """Return a tree whose services run under a loop; skips the test where there is no uvloop."""
    return ROOT if loop == "asyncio" else uvloop_tree(path)


def uvloop_tree(path: Path) -> Path:
    """Make a tree at path: the programs, the same package, and an interpreter that finds what .venv has, and uvloop."""
    if not (ROOT / ".venv/uvloop/uvloop").is_dir():
        pytest.skip("make venv found no uvloop for this machine")
    path.mkdir()
    shutil.copytree(ROOT / "bin", path / "bin", symlinks=True)
    os.symlink(ROOT / "sendmail_py", path / "sendmail_py")
    venv.create(path / ".venv", symlinks=True)
    (there,) = (path / ".venv/lib").glob("python3*/site-packages")
    (packages,) = (ROOT / ".venv/lib").glob("python3*/site-packages")
    (there / "tests.pth").write_text(f"{packages}\n{ROOT}/.venv/uvloop\n")
    return path
