"""The fast path stays fast: what sendmail(1) imports is built into the interpreter, or ours and as light."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
LIGHT = [
    *("commands.plain", "commands.sendmail", "commands.sendmail_options", "commands.addresses", "commands.interrupted"),
    *(
        "core.address",
        "core.exitcodes",
        "core.errors",
        "core.mail_error",
        "core.essentials",
        "core.envelope",
        "core.params",
    ),
    *(
        "formats.main_cf",
        "formats.header",
        "formats.address_list",
        "formats.queue_file",
        "formats.queue_text",
        "formats.stdin_lines",
    ),
    *("spool.layout", "spool.maildrop", "spool.blocked", "host.configuration", "host.configuration_file"),
    "host.environment_settings",
    *(f"core.parameters.{name}" for name in ("param", "instance", "submission", "queue", "local", "relay")),
    *(f"core.parameters.{name}" for name in ("smtp_server", "filters", "log")),
    *("core.config", "formats.logical_lines", "core.access_list", "formats.submit_records"),
]
PRINT_NEW_PYTHON_MODULES = """
import sys
before = set(sys.modules)
sys.path.insert(0, sys.argv[1])
__import__("sendmail_py." + sys.argv[2])
for name in sorted(set(sys.modules) - before):
    file = getattr(sys.modules[name], "__file__", None) or ""
    if file.endswith((".py", ".pyc")):
        print(name)
"""
# What an interpreter may have loaded already or loads for a few microseconds.
ALLOWED = {"codecs", "io", "abc"}


def test_the_list_of_light_modules_names_modules_that_exist() -> None:
    assert [name for name in LIGHT if not (ROOT / "sendmail_py" / (name.replace(".", "/") + ".py")).is_file()] == []


@pytest.mark.parametrize("name", LIGHT)
def test_a_light_module_imports_only_c_modules_and_its_like(name: str) -> None:
    command = [sys.executable, "-IS", "-c", PRINT_NEW_PYTHON_MODULES, str(ROOT), name]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.split()
    packages = {"sendmail_py"} | {f"sendmail_py.{light.rpartition('.')[0]}" for light in LIGHT}
    ours = {f"sendmail_py.{light}" for light in LIGHT}
    heavy = [m for m in loaded if m not in ours | packages | ALLOWED and m.partition(".")[0] != "encodings"]
    assert not heavy


def test_the_launcher_itself_loads_nothing_heavy(tmp_path: Path) -> None:
    (tmp_path / "main.cf").write_text(f"queue_directory = {tmp_path}/spool\n")
    launched = python_modules(tmp_path, str(ROOT / "bin" / "sendmail"), "-i", status=64)
    heavy = launched - python_modules(tmp_path, "-c", "pass", status=0) - ALLOWED
    assert not {name for name in heavy if not name.startswith(("sendmail_py", "encodings"))}


def python_modules(tmp_path: Path, *arguments: str, status: int) -> set[str]:
    """Return the modules written in Python that a start of the interpreter imports."""
    command = [sys.executable, "-IS", "-X", "importtime", *arguments]
    environment = {"MAIL_CONFIG": str(tmp_path), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, input="\n", capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == status, done.stderr
    names = [line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {name for name in names if is_python(name)}


def is_python(name: str) -> bool:
    try:
        spec = importlib.util.find_spec(name)
    except (ValueError, ModuleNotFoundError):
        return False
    return bool(spec and spec.origin and spec.origin.endswith(".py"))


def test_master_knows_neither_asyncio_nor_tls_nor_passwords() -> None:
    text = "import sys, sendmail_py.services.master; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, check=True, cwd=ROOT, timeout=60
    )
    heavy = {"asyncio", "ssl", "stringprep", "concurrent.futures", "sendmail_py.services.smtpd_logins"}
    assert not heavy & set(done.stdout.split())
