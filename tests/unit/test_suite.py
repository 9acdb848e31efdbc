"""The tests' own machinery: a test that hangs ends, and what is said to take long is there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.longest import FIRST

ROOT = Path(__file__).resolve().parents[2]
HANGING = """
import asyncio, subprocess, threading, pytest

def test_event():
    threading.Event().wait()

def test_loop():
    try:
        asyncio.run(asyncio.sleep(600))
    except Exception:
        pass

@pytest.fixture
def process():
    yield
    with subprocess.Popen(["sleep", "600"]) as child:
        try:
            child.wait()
        finally:
            child.kill()

def test_end(process):
    pass

def test_after():
    pass
"""


def test_a_test_that_hangs_fails_with_its_name_and_its_stack_and_those_after_it_run(tmp_path: Path) -> None:
    (tmp_path / "test_hanging.py").write_text(HANGING)
    words = ["-p", "tests.limits", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", tmp_path, "-rA", tmp_path]
    environment = os.environ | {"TEST_LIMIT": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "pytest", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert "2 failed, 2 passed, 1 error" in done.stdout
    for name in ("event", "loop", "end"):
        assert f"test_hanging.py::test_{name} has not ended after 1 s" in done.stdout
    assert "in test_event" in done.stdout, "where it hangs"


@pytest.mark.parametrize("name", FIRST)
def test_what_begins_first_is_there(name: str) -> None:
    assert (ROOT / name).exists()
