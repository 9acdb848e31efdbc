"""Places and trees that an ordinary user can use, where the tests run as root."""

import contextlib
import os
import tempfile
from pathlib import Path

import pytest

from tests.readable_tree import readable_tree


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
    return readable_tree()
