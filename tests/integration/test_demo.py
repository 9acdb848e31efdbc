"""The demo from a checkout and a temporary directory with names that are long and full of blanks."""

import os
import shutil
import subprocess

from tests.integration.instance import PATH, ROOT


def test_the_demo_works_in_places_with_blanks_and_long_names(tmp_path):
    tree = tmp_path / "a check out" / ("long" * 30)
    scratch = tmp_path / "scratch space" / ("deep" * 30)
    tree.mkdir(parents=True)
    scratch.mkdir(parents=True)
    for name in ("bin", "sendmail_py", "demo", "tests/servers"):
        shutil.copytree(ROOT / name, tree / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    (tree / ".venv").symlink_to(ROOT / ".venv")
    done = subprocess.run(
        [tree / ".venv/bin/python", tree / "demo/demo.py"],
        env={"TMPDIR": str(scratch), "PATH": PATH},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Both messages arrived" in done.stdout
    assert done.stdout.count("status=sent") == 3
    assert os.listdir(scratch) == []
