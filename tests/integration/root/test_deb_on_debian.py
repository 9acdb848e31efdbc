"""docs/packaging.md on Debian: the package is built on one host, and installed with apt-get on another, both fresh."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from debian_machine import DebianMachine, what_lacks
from document_machine import SOURCE
from machine import ROOT

from tests.transcript import Step, blocks, steps_of

DOCUMENT = ROOT / "docs/packaging.md"
BUILD, INSTALL = (steps_of(block) for block in blocks(DOCUMENT) if block.kind == "console")


def typed(host: DebianMachine, command: str, as_root: bool = True) -> str:
    """Type a command that has to succeed."""
    status, output = host.typed(Step("the package", 0, as_root, command))
    assert status == 0, f"{command}\n{output}"
    return output


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one host has built as the document says."""
    if lacks := what_lacks():
        pytest.skip(f"needs {lacks}")
    kept = tmp_path_factory.mktemp("built")
    with DebianMachine() as builder:
        typed(builder, "apt-get update")
        for step in BUILD:
            builder.shown(step)
        for package in builder.path(f"{SOURCE}/dist").glob("*.deb"):
            shutil.copy(package, kept)
    return kept


@pytest.fixture(scope="module")
def host(built: Path) -> Iterator[DebianMachine]:
    """Another host, on which that lies."""
    with DebianMachine() as host:
        typed(host, "apt-get update")
        host.script(f"mkdir {SOURCE}/dist")
        for package in built.iterdir():
            shutil.copy(package, host.path(f"{SOURCE}/dist"))
        yield host


def test_one_package_is_built(built: Path) -> None:
    (package,) = built.iterdir()
    assert package.name.startswith("sendmail-py_")


def test_the_package_takes_the_place_of_exim_and_brings_all_that_it_needs(host: DebianMachine) -> None:
    typed(host, "apt-get install exim4-daemon-light")
    for step in INSTALL:
        said = host.shown(step)
    assert "exim4-daemon-light" in said.partition("REMOVED")[2]
    for package in ("ca-certificates", "logrotate"):  # recommended
        assert typed(host, f"dpkg-query -W -f '${{db:Status-Status}}' {package}") == "installed"
    assert typed(host, "dpkg --audit") == ""
    typed(host, "mailctl start")
    typed(host, "printf 'Subject: x\\n\\nby the package\\n' | sendmail -odi bob", as_root=False)
    host.wait_for_mail("bob", "by the package")
    typed(host, "mailctl setup --root-alias alice")
    assert typed(host, "mailctl check --json || test $? = 1").count('"error"') == 0


def test_purged_with_an_empty_queue_nothing_of_it_stays(host: DebianMachine) -> None:
    typed(host, "apt-get purge sendmail-py")
    places = f"find / /var/spool /run -xdev -name 'sendmail-py*' ! -path '{SOURCE}*'"
    assert host.script(places).split() == ["/var/log/sendmail-py.log"]
