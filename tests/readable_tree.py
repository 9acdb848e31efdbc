"""A tree of this checkout that services can read when they are no longer root."""

import atexit
import functools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_AS_NOBODY = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups")
_PROBE = 'test -r "$0/bin/sendmail" && "$0/.venv/bin/python" -c "" && ls "$0/sendmail_py/services"'
_TOOLS = shutil.ignore_patterns("mypy*", "ruff*", "hypothesis*", "pytest*", "__pycache__")


@functools.cache
def readable_tree() -> Path:
    """Return the checkout, or a copy of what runs where other users may not read the checkout."""
    if os.getuid():
        return ROOT
    if (
        subprocess.run([*_AS_NOBODY, "/bin/sh", "-c", _PROBE, str(ROOT)], capture_output=True, timeout=60).returncode
        == 0
    ):
        return ROOT
    path = Path(tempfile.mkdtemp(prefix="readable"))
    atexit.register(shutil.rmtree, path)
    path.chmod(0o755)
    for name in ("bin", "sendmail_py", ".venv"):
        shutil.copytree(ROOT / name, path / name, symlinks=True, ignore=_TOOLS)
    return path
