"""Instances for these tests: an unprivileged one, and root's."""

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from local_service import Tree


def _tree(user: str) -> Iterator[Tree]:
    # not tmp_path: another user must be able to reach it
    with tempfile.TemporaryDirectory(prefix="local") as path:
        os.chmod(path, 0o755)
        tree = Tree(Path(path), user)
        try:
            yield tree
        finally:
            for agent in tree.agents:
                agent.stop()


@pytest.fixture
def tree() -> Iterator[Tree]:
    """An unprivileged instance: as root it is run by nobody."""
    for tree in _tree("nobody" if os.getuid() == 0 else ""):
        if os.getuid() == 0:
            os.chown(tree.spool, 65534, 65534)
        yield tree


@pytest.fixture
def root_tree() -> Iterator[Tree]:
    """A root instance with Debian's mail spool (root:mail, mode 2775); for tests marked real(root=True)."""
    for tree in _tree(""):
        os.chown(tree.spool, 0, 8)
        tree.spool.chmod(0o2775)
        yield tree
