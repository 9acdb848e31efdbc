"""make install: a tree that runs from where it is put, and that says nothing of where it was built."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="module")
def destination(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install below a scratch directory under a strict umask, twice, as an upgrade does."""
    path = tmp_path_factory.mktemp("destination")
    command = ["make", "-s", "install", f"DESTDIR={path}", "PREFIX=/usr"]
    for _ in range(2):
        subprocess.run(command, cwd=ROOT, check=True, timeout=120, umask=0o077)
        (path / "usr/share/sendmail-py/sendmail_py/left_over.py").touch()
    subprocess.run(command, cwd=ROOT, check=True, timeout=120, umask=0o077)
    return path


@pytest.mark.real("make", "tar")
@pytest.mark.parametrize(
    "program",
    ["bin/sendmail", "sbin/sendmail", "lib/sendmail", "bin/mailq", "bin/newaliases", "bin/rmail", "bin/mailctl"],
)
def test_every_program_is_executable_for_all_and_keeps_its_flags(destination: Path, program: str) -> None:
    path = destination / "usr" / program
    assert path.stat().st_mode & 0o7777 == 0o755
    assert path.read_text().startswith("#!/usr/bin/python3 -IS\n")


@pytest.mark.real("make", "tar")
def test_everybody_can_read_the_installed_package(destination: Path) -> None:
    files = list((destination / "usr/share/sendmail-py").rglob("*"))
    wanted = {True: 0o755, False: 0o644}
    assert not [path for path in files if path.stat().st_mode & 0o7777 != wanted[path.is_dir()]]


@pytest.mark.real("make", "tar")
@pytest.mark.parametrize(
    "page", ["1/mailq", "1/newaliases", "5/aliases", "5/main.cf", "8/sendmail", "8/rmail", "8/mailctl"]
)
def test_every_manual_page_is_there_for_all(destination: Path, page: str) -> None:
    section, name = page.split("/")
    path = destination / f"usr/share/man/man{section}/{name}.{section}"
    assert path.stat().st_mode & 0o7777 == 0o644
    assert path.read_text().startswith(".Dd ")


@pytest.mark.real("make", "tar", "mandoc")
def test_postfixs_verbs_are_there_with_their_manual_where_they_are_asked_for(destination: Path, tmp_path: Path) -> None:
    verbs = ["postconf", "postqueue", "postsuper", "postcat", "postmap", "postalias", "postfix"]
    assert not any((destination / "usr/bin" / verb).exists() for verb in verbs)
    assert not any((destination / f"usr/share/man/man8/{verb}.8").exists() for verb in verbs)
    command = ["make", "-s", "install", f"DESTDIR={tmp_path}", "PREFIX=/usr", "POSTFIX_VERBS=yes"]
    subprocess.run(command, cwd=ROOT, check=True, timeout=120, umask=0o077)
    for verb in verbs:
        assert (tmp_path / "usr/bin" / verb).stat().st_mode & 0o7777 == 0o755
        page = tmp_path / f"usr/share/man/man8/{verb}.8"
        assert page.stat().st_mode & 0o7777 == 0o644
        shown = subprocess.run(["mandoc", page], cwd=tmp_path / "usr/share/man", capture_output=True, check=True)
        assert b"Postfix's names for what mailctl does" in shown.stdout


@pytest.mark.real("make", "tar")
def test_the_unit_starts_the_installed_program(destination: Path) -> None:
    units = destination / "usr/lib/systemd/system"
    assert {path.name for path in units.iterdir()} == {"sendmail-py.service", "sendmail-py.socket"}
    assert "ExecStart=/usr/bin/mailctl start --foreground\n" in (units / "sendmail-py.service").read_text()


@pytest.mark.real("make", "tar", "bash")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["re"], {"reload"}),
        (["queue", "h"], {"hold"}),
        (["-c", "/nowhere", "set"], {"setup"}),
        (["config", "sendmail_"], set()),
        (["config", "relayh"], {"relayhost"}),
    ],
)
def test_bash_completes_verbs_and_the_names_of_parameters(
    destination: Path, words: list[str], expected: set[str]
) -> None:
    script = 'source "$0"; COMP_WORDS=(mailctl "$@"); COMP_CWORD=$#; _mailctl; echo "${COMPREPLY[@]}"'
    completion = destination / "usr/share/bash-completion/completions/mailctl"
    path = f"{destination}/usr/bin:{os.environ['PATH']}"
    environment = {"PATH": path, "MAIL_CONFIG": str(destination)}
    done = subprocess.run(
        ["bash", "-c", script, completion, *words], capture_output=True, text=True, env=environment, timeout=60
    )
    assert set(done.stdout.split()) == expected, done.stderr


@pytest.mark.real("make", "tar")
def test_an_upgrade_leaves_no_file_of_the_old_version(destination: Path) -> None:
    assert not list(destination.rglob("left_over*"))
    assert os.listdir(destination / "usr/share/sendmail-py") == ["sendmail_py"]


@pytest.mark.real("make", "tar")
def test_the_byte_code_bears_the_installed_path_only(destination: Path) -> None:
    compiled = list((destination / "usr/share/sendmail-py").rglob("*.pyc"))
    assert compiled
    assert not [path for path in compiled if str(destination).encode() in path.read_bytes()]


@pytest.mark.real("make", "tar")
def test_the_installed_sendmail_starts_from_its_own_tree(destination: Path, tmp_path: Path) -> None:
    (tmp_path / "main.cf").write_text(f"queue_directory = {tmp_path}/spool\n")
    command = [destination / "usr/sbin/sendmail", "-i"]
    done = subprocess.run(command, input=b"\n", capture_output=True, timeout=60, env={"MAIL_CONFIG": str(tmp_path)})
    assert (done.returncode, done.stderr.count(b"\n")) == (64, 1)


@pytest.mark.real("make", "tar")
def test_mail_is_taken_all_the_time_while_a_new_version_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    command = ["make", "-s", "install", f"DESTDIR={tmp_path}", "PREFIX=/usr"]
    subprocess.run(command, cwd=ROOT, check=True, timeout=120)
    maildrop = tmp_path / "queue/maildrop"
    for path in (maildrop, tmp_path / "queue/incoming"):
        path.mkdir(parents=True)
    maildrop.chmod(0o3733)
    (tmp_path / "main.cf").write_text(f"queue_directory = {tmp_path}/queue\n")
    taken = 0
    submit = [tmp_path / "usr/sbin/sendmail", "-i", "bob@example.net"]
    with subprocess.Popen(command, cwd=ROOT) as upgrade:
        while upgrade.poll() is None:
            done = subprocess.run(
                submit, input=b"x\n", capture_output=True, env={"MAIL_CONFIG": str(tmp_path)}, timeout=60
            )
            assert (done.returncode, done.stderr) == (0, b"")
            taken += 1
    assert upgrade.returncode == 0 and taken > 10
    assert len(list(maildrop.iterdir())) == taken
