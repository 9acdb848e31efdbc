"""Places and trees that an ordinary user can use, where the tests run as root."""

import contextlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.integration.instance import ROOT, as_user


@contextlib.contextmanager
def public_directory():
    """Make a directory that other users can reach, which tmp_path is not."""
    with tempfile.TemporaryDirectory(prefix="ordinary") as path:
        os.chmod(path, 0o755)
        yield Path(path)


@pytest.fixture
def place():
    """A directory that other users can reach."""
    with public_directory() as path:
        yield path


@pytest.fixture(scope="session")
def tree():
    """The checkout, or a copy of what runs where other users may not read the checkout."""
    probe = ["/bin/sh", "-c", 'test -r "$0/bin/sendmail" && "$0/.venv/bin/python" -c ""', str(ROOT)]
    if os.getuid() != 0 or subprocess.run(as_user("nobody", probe), capture_output=True, timeout=30).returncode == 0:
        yield ROOT
        return
    with public_directory() as path:
        for name in ("bin", "sendmail_py", ".venv"):
            shutil.copytree(ROOT / name, path / name, symlinks=True)
        yield path
