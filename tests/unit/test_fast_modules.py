"""The file of byte code that an installed sendmail(1) starts from."""

import dis
import fcntl
import marshal
import shutil
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from types import CodeType
from typing import IO

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
FAST = f"fast.{sys.implementation.cache_tag}"
FIRST = 40000
PLAIN, REST = "sendmail_py.commands.plain", "sendmail_py.commands.sendmail"
NEEDED = [(PLAIN, "-i"), (REST, "-i -N never")]


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """Return the prefix of an installed tree, as `make install` makes one, with this interpreter."""
    tree = tmp_path / "share/sendmail-py"
    shutil.copytree(ROOT / "sendmail_py", tree / "sendmail_py", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "sbin").mkdir()
    text = (ROOT / "bin/sendmail").read_text()
    (tmp_path / "sbin/sendmail").write_text(text)
    script = f"{tree}/sendmail_py/commands/fast_modules.py"
    subprocess.run([sys.executable, "-IS", script, str(tree), "/place"], check=True, timeout=60)
    return tmp_path


def start(
    prefix: Path, *words: str, name: str = "sbin/sendmail", text: str = "hello\n"
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-IS", "-B", "-X", "importtime", str(prefix / name), *words]
    environment = {"MAIL_CONFIG": str(prefix), "PATH": "/usr/bin:/bin"}
    return subprocess.run(command, input=text, capture_output=True, text=True, env=environment, timeout=60)


def imported(done: subprocess.CompletedProcess[str]) -> set[str]:
    """Return our modules that came by the import system, that is, not out of the file."""
    names = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if "import time:" in line}
    return {name for name in names if name.startswith("sendmail_py")}


def spool_of(prefix: Path) -> Path:
    for name in ("queue", "queue/incoming", "queue/maildrop"):
        (prefix / name).mkdir()
    (prefix / "queue/maildrop").chmod(0o3733)
    (prefix / "main.cf").write_text(f"queue_directory = {prefix}/queue\nmessage_size_limit = 1000\n")
    return prefix / "queue/maildrop"


def test_an_installed_sendmail_queues_a_message_and_imports_nothing_one_by_one(installed: Path) -> None:
    maildrop = spool_of(installed)
    done = start(installed, "-i", "-f", "alice@example.org", "bob@example.net")
    assert done.returncode == 0, done.stderr
    assert imported(done) == set()
    (file,) = maildrop.iterdir()
    assert b"to: [ ] <bob@example.net>\n" in file.read_bytes() and file.read_bytes().endswith(b"\n\nhello\n")


def test_a_module_outside_the_file_is_imported_from_the_same_tree(installed: Path) -> None:
    maildrop = spool_of(installed)
    done = start(installed, "-t", "-i", "Bob <bob@example.net>")
    assert done.returncode == 0, done.stderr
    assert "sendmail_py.formats.header" in imported(done)
    assert len(list(maildrop.iterdir())) == 1


def test_what_is_no_plain_submission_comes_out_of_the_second_part(installed: Path) -> None:
    maildrop = spool_of(installed)
    done = start(installed, "-i", "-N", "never", "bob@example.net")
    assert done.returncode == 0, done.stderr
    assert imported(done) == set()
    (file,) = maildrop.iterdir()
    assert b" notify=NEVER\n" in file.read_bytes() and file.read_bytes().endswith(b"\n\nhello\n")


def test_what_has_been_read_of_a_message_is_not_lost_on_the_way_to_the_second_part(installed: Path) -> None:
    maildrop = spool_of(installed)
    (installed / "main.cf").write_text(f"queue_directory = {installed}/queue\n")
    text = "x" * 69 + "\n"
    done = start(installed, "-i", "bob@example.net", text=text * 10000)
    assert done.returncode == 0, done.stderr
    (file,) = maildrop.iterdir()
    assert file.read_bytes().endswith(b"\n\n" + text.encode() * 10000)


def test_no_module_is_made_twice_where_main_cf_needed_more_of_them_before(installed: Path) -> None:
    spool_of(installed)
    (installed / "main.cf").write_text("queue_directory = ${config_directory}/queue\nmessage_size_limit = 3\n")
    done = start(installed, "-i", "bob@example.net")
    errors = [line for line in done.stderr.splitlines() if "import time:" not in line]
    assert done.returncode == 65 and len(errors) == 1 and "message_size_limit" in errors[0]
    assert {"sendmail_py.host", "sendmail_py.core.errors"} <= imported(done)  # before the second part was read
    script = installed / "sbin/sendmail"
    script.write_text(script.read_text().replace("exec(start)", WATCHED))
    done = start(installed, "-i", "bob@example.net")
    assert done.returncode == 65 and "made again" not in done.stderr, done.stderr


WATCHED = """
class Watched(dict):
    def __setitem__(self, name, module):
        if name in self:
            posix.write(2, b"made again: " + name.encode())
        super().__setitem__(name, module)
sys.modules = Watched(sys.modules)
exec(start)
"""


def fast_of(prefix: Path) -> Path:
    return prefix / "share/sendmail-py/sendmail_py" / FAST


def test_the_launcher_reads_each_part_whole(installed: Path) -> None:
    data = fast_of(installed).read_bytes()
    marshal.loads(data[:FIRST])
    assert marshal.loads(data[FIRST:]) and len(data) - FIRST < 131000


@pytest.mark.parametrize(("main", "words"), NEEDED)
def test_without_the_file_everything_is_imported_as_always(installed: Path, main: str, words: str) -> None:
    fast_of(installed).unlink()
    spool_of(installed)
    done = start(installed, *words.split(), "bob@example.net")
    assert done.returncode == 0, done.stderr
    assert main in imported(done)


@pytest.mark.parametrize("length", [0, 100, FIRST, -100])
def test_where_the_file_is_not_whole_everything_is_imported_too(installed: Path, length: int) -> None:
    file = fast_of(installed)
    file.write_bytes(file.read_bytes()[:length])
    maildrop = spool_of(installed)
    for number, (main, words) in enumerate(NEEDED):
        done = start(installed, *words.split(), "bob@example.net")
        assert done.returncode == 0, done.stderr
        if main == REST or 0 <= length < FIRST:
            assert main in imported(done)
        assert len(list(maildrop.iterdir())) == number + 1
    assert all(message.read_bytes().endswith(b"\n\nhello\n") for message in maildrop.iterdir())


def test_an_upgrade_while_the_message_comes_mixes_no_old_code_with_new(installed: Path) -> None:
    maildrop = spool_of(installed)
    (installed / "main.cf").write_text(f"queue_directory = {installed}/queue\nmessage_size_limit = 100\n")
    command = [sys.executable, "-IS", "-B", str(installed / "sbin/sendmail"), "-i", "bob@example.net"]
    environment = {"MAIL_CONFIG": str(installed), "PATH": "/usr/bin:/bin"}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as old:
        assert old.stdin and old.stderr
        old.stdin.write(b"x" * 70)
        old.stdin.flush()
        assert _is_drained(old.stdin)
        tree = installed / "share/sendmail-py"
        newer = tree / "sendmail_py/commands/sendmail.py"
        newer.write_text("import posix\nmain = lambda *arguments: posix._exit(99)\n")
        write = [sys.executable, "-IS", f"{tree}/sendmail_py/commands/fast_modules.py", str(tree), str(tree)]
        subprocess.run(write, check=True, timeout=60)
        old.stdin.write(b"x" * 70)  # more than the limit: what is to be said of that is in the second part
        old.stdin.close()
        said = old.stderr.read()
    assert old.returncode == 65 and b"message_size_limit" in said
    assert start(installed, "-i", "-N", "never", "bob@example.net").returncode == 99
    assert list(maildrop.iterdir()) == []


def _is_drained(pipe: IO[bytes]) -> bool:
    """Wait until all that was written into a pipe has been read."""
    for _ in range(3000):
        if not int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder):
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("words", ["-i", "-i -N never"])
def test_with_standard_input_closed_the_code_is_not_taken_for_the_message(installed: Path, words: str) -> None:
    maildrop = spool_of(installed)
    program = f"{sys.executable} -IS -B {installed}/sbin/sendmail {words} bob@example.net"
    environment = {"MAIL_CONFIG": str(installed), "PATH": "/usr/bin:/bin"}
    for closed in ("0<&-", "0<&- 1>&- 2>&-"):
        assert subprocess.run(["sh", "-c", f"exec {program} {closed}"], env=environment, timeout=60).returncode == 0
    for message in maildrop.iterdir():
        assert b"size: 0000000000\n\n" in message.read_bytes()


def test_a_checkout_has_no_such_file() -> None:
    assert not list((ROOT / "sendmail_py").glob("fast.*"))


def test_the_file_holds_nothing_that_only_people_and_checkers_read(installed: Path) -> None:
    tree = installed / "share/sendmail-py/sendmail_py"
    start, values = marshal.loads((tree / FAST).read_bytes())
    values += marshal.loads((tree / FAST).read_bytes()[FIRST:])
    codes = [code for value in (start, *values) if isinstance(value, CodeType) for code in nested(value)]
    assert len(codes) > 50
    assert not {"TYPE_CHECKING", "__annotations__"} & {name for code in codes for name in code.co_names}
    makers = [i for code in codes for i in dis.get_instructions(code) if i.opname in MAKERS]
    assert makers and not [i for i in makers if i.arg and i.arg & HAS_ANNOTATIONS]
    assert not [code for code in codes if code.co_linetable or code.co_flags & HAS_DOCSTRING]


MAKERS, HAS_ANNOTATIONS, HAS_DOCSTRING = ("MAKE_FUNCTION", "SET_FUNCTION_ATTRIBUTE"), 4, 0x4000000


def nested(code: CodeType) -> Iterator[CodeType]:
    """Yield a code object and all within it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from nested(constant)


def test_links_to_the_launcher_lead_to_its_tree_and_its_mode(installed: Path) -> None:
    spool_of(installed)
    (installed / "lib").mkdir()
    (installed / "lib/sendmail").symlink_to("../sbin/sendmail")
    (installed / "lib/mailq.sendmail-py").symlink_to(installed / "lib/sendmail")
    done = start(installed, name="lib/mailq.sendmail-py")
    assert "mailq" in done.stderr or "empty" in done.stdout
    assert "sendmail_py.commands.other_modes" in imported(done)


def test_an_error_from_code_without_line_numbers_is_still_one_clear_line(installed: Path) -> None:
    spool_of(installed).rmdir()
    done = start(installed, "-i", "bob@example.net")
    assert done.returncode == 75
    errors = [line for line in done.stderr.splitlines() if "import time:" not in line]
    assert len(errors) == 1 and "No such file or directory" in errors[0]
