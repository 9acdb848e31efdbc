"""The packages, built once on a machine of their own, in two versions; `make test-packages`."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent), str(ROOT / "tests/integration/root")]

from package_machine import BUILT, PackageMachine, what_lacks  # noqa: E402

VERSION, NEXT = "0.1.0", "0.1.1"
NEWER = "Of the newer version:"  # in its files below /etc
_BUILD = f"""
cd {BUILT}/tree
make -s -j2 rpm deb
make -s -j2 -C {BUILT}/next rpm-el10 deb
mkdir -p {BUILT}/stubs {BUILT}/repository
cp dist/*.rpm dist/*.deb {BUILT}/next/dist/*.deb {BUILT}
cp dist/*.el10.*.rpm {BUILT}/next/dist/*.rpm {BUILT}/repository
rpmbuild -bb --quiet --nodeps --define "_topdir {BUILT}/stubs" {BUILT}/tree/packaging/tests/stubs.spec
cp {BUILT}/stubs/RPMS/noarch/*.rpm {BUILT}/repository
createrepo_c -q {BUILT}/repository
"""


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory with the packages of this version and of one after it, the stubs, and dnf's metadata."""
    if os.getuid() or (lacks := what_lacks()):
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"needs {'root' if os.getuid() else lacks}")
    if "PACKAGES_BUILT" in os.environ:  # those of a run before, to try the tests alone
        yield Path(os.environ["PACKAGES_BUILT"])
        return
    directory = tmp_path_factory.mktemp("built")
    for name, version in (("tree", VERSION), ("next", NEXT)):
        leave = shutil.ignore_patterns(".git", ".venv*", ".*_cache", ".hypothesis", "__pycache__", "*.rpm", "*.deb")
        shutil.copytree(ROOT, directory / name, ignore=leave, symlinks=True)
        (directory / name / ".venv").mkdir()
        (directory / name / ".venv/made").touch()  # what make would fetch from the network is in dist/bundled
        (directory / name / "sendmail_py/__init__.py").write_text(f'"""A version."""\n\n__version__ = "{version}"\n')
        if version == NEXT:  # with other defaults, in a file that is changed and in one that nobody changes
            for path, text in (("sendmail_py/formats/sample.py", "# main.cf: "), ("packaging/logrotate", "# Only ")):
                file = directory / name / path
                file.write_text(file.read_text().replace(text, f"# {NEWER} {text[2:]}", 1))
        subprocess.run(["find", directory / name / "dist/bundled", "-exec", "touch", "{}", "+"], check=True)
        (directory / name / "dist/bundled/made").touch()
    with PackageMachine(directory, "ln -s python3.11 usr/bin/python3.12") as machine:
        done = subprocess.run(machine.command(["sh", "-euc", _BUILD]), capture_output=True, timeout=300)
        assert done.returncode == 0, (done.stdout + done.stderr).decode()[-4000:]
    yield directory
