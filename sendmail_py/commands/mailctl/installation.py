"""What `mailctl setup` puts in place after `pip install`, and the names in /usr by which programs call sendmail.

pip rewrites the first line of every script and so takes its flags away; therefore the wheel carries
the launchers, manual pages and units as data, and from here they go where `make install` puts
them. Guarantees: the package is copied, so nothing that happens to the environment of pip breaks
sendmail(1) half-way; what setup did not put there is neither replaced nor removed.
"""

import compileall
import contextlib
import hashlib
import importlib.metadata
import io
import os
import py_compile
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from ...core.errors import MailError
from ...core.exitcodes import EX_CANTCREAT

PREFIX = Path("/usr/local")
_MARK = "from-wheel"  # in the private directory: what was installed, then each path
_TREE = Path(__file__).resolve().parents[3]
_NAMES = {
    "/usr/sbin/sendmail": "sbin/sendmail",
    "/usr/lib/sendmail": "lib/sendmail",
    "/usr/bin/mailq": "bin/mailq",
    "/usr/bin/newaliases": "bin/newaliases",
}
_LINKS = {"mailq": "sendmail", "newaliases": "sendmail", "rmail": "sendmail"}
_PLACES = {
    "completion/_mailctl": "share/zsh/site-functions/_mailctl",
    "completion/mailctl.bash": "share/bash-completion/completions/mailctl",
    "units/sendmail-py.service.in": "lib/systemd/system/sendmail-py.service",
    "units/sendmail-py.socket": "lib/systemd/system/sendmail-py.socket",
}
_DEPENDENCIES = "import cryptography, daemon, dns, filelock"


class SetupError(MailError):
    """The programs cannot be put in place."""

    exit_code = EX_CANTCREAT


def installed_prefix() -> Path | None:
    """Return the prefix below which this program is installed; None for a checkout, and for pip's copy of it."""
    prefix = _TREE.parent.parent
    is_installed = _TREE.parts[-2:] == ("share", "sendmail-py") and (prefix / "bin/sendmail").exists()
    return prefix if is_installed else None


def programs_prefix() -> Path | None:
    """Return the prefix below which the programs are, whether this package is the one among them or pip's."""
    return installed_prefix() or (PREFIX if _marked(PREFIX / "share/sendmail-py") else None)


def put_programs() -> Iterator[str]:
    """Install the programs of the wheel that this package came in, unless they are there; yields what was done."""
    wheel = _wheel()
    if not wheel or installed_prefix():
        return
    share = PREFIX / "share/sendmail-py"
    version = _version()
    if (share / "sendmail_py").exists() and not (share / _MARK).exists():
        raise SetupError(f"{share} is of `make install` or a package; remove that installation first")
    if _marked(share)[:1] == [version] and all(os.path.lexists(path) for path in _marked(share)[1:]):
        return
    python = _base_interpreter()
    _check_environment()
    placed = [*_put_files(wheel, PREFIX, python), *_put_links(PREFIX)]
    _put_package(share, python)
    (share / _MARK).write_text("\n".join([version, *placed]) + "\n")
    _check_dependencies(share, python)
    reload_units()
    yield f"installed the programs of {version.partition(' ')[0]} in {PREFIX}"


def _wheel() -> Path | None:
    """Return the directory of the data that came with the wheel."""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        for file in importlib.metadata.distribution("sendmail-py").files or ():
            if file.parts[-2:] == ("programs", "sendmail"):
                path = Path(os.path.abspath(str(file.locate())))
                return path.parent.parent if path.exists() else None
    return None


def _version() -> str:
    distribution = importlib.metadata.distribution("sendmail-py")
    record = distribution.read_text("RECORD") or ""
    digest = hashlib.sha256((record + sys.prefix + sys.version).encode()).hexdigest()
    return f"{distribution.version} {digest[:16]}"


def _marked(share: Path) -> list[str]:
    try:
        return (share / _MARK).read_text().splitlines()
    except FileNotFoundError:
        return []


def _base_interpreter() -> str:
    """Return the interpreter for the launchers, outside of any virtual environment."""
    base: str = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
    return "/usr/bin/python3" if os.path.realpath("/usr/bin/python3") == base else base


def _check_environment() -> None:
    """Refuse an environment that others can change: root will run what is in it."""
    for path in (Path(sys.prefix).resolve(), *Path(sys.prefix).resolve().parents):
        status = path.stat()
        if status.st_uid or (status.st_mode & 0o022 and not status.st_mode & 0o1000):
            raise SetupError(f"{path} can be changed by others than root, and root is to run what is in {sys.prefix}")


def _put_files(wheel: Path, prefix: Path, python: str) -> Iterator[str]:
    for name in ("bin/mailctl", "bin/sendmail", "sbin/sendmail"):
        text = (wheel / "programs" / Path(name).name).read_text()
        first, _, rest = text.partition("\n")
        yield _write(prefix / name, f"{first.replace('/usr/bin/python3', python)}\n{rest}", 0o755)
    for name, place in _PLACES.items():
        yield _write(prefix / place, (wheel / name).read_text().replace("@bindir@", f"{prefix}/bin"))
    for page in sorted((wheel / "man").glob("*.[158]")):
        yield _write(prefix / f"share/man/man{page.suffix[1:]}" / page.name, page.read_text())
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        runpy.run_path(str(wheel / "man/main_cf.py"), run_name="__main__")
    yield _write(prefix / "share/man/man5/main.cf.5", printed.getvalue())


def _write(path: Path, text: str, mode: int = 0o644) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    new.write_text(text)
    new.chmod(mode)
    new.rename(path)
    return str(path)


def _put_links(prefix: Path) -> Iterator[str]:
    for name, target in {**{f"bin/{k}": v for k, v in _LINKS.items()}, "lib/sendmail": "../sbin/sendmail"}.items():
        path = prefix / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.symlink_to(target)
        yield str(path)


def _put_package(share: Path, python: str) -> None:
    """Copy the package as a whole with its byte code, and the way to the environment with the dependencies."""
    new = share / "new"
    shutil.rmtree(new, ignore_errors=True)
    shutil.copytree(_TREE / "sendmail_py", new / "sendmail_py", ignore=shutil.ignore_patterns("__pycache__", "fast.*"))
    for path in (new, *new.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    timestamp = py_compile.PycInvalidationMode.TIMESTAMP
    compileall.compile_dir(new, quiet=1, stripdir=str(new), prependdir=str(share), invalidation_mode=timestamp)
    writer = new / "sendmail_py/commands/fast_modules.py"
    subprocess.run([python, "-IS", "-X", "no_debug_ranges", writer, new, share], check=True, umask=0o022)
    shutil.rmtree(share / "sendmail_py", ignore_errors=True)
    (new / "sendmail_py").rename(share / "sendmail_py")
    new.rmdir()
    (share / ".venv").unlink(missing_ok=True)
    if sys.prefix != sys.base_prefix:
        (share / ".venv").symlink_to(sys.prefix)


def _check_dependencies(share: Path, python: str) -> None:
    interpreter = share / ".venv/bin/python"
    command = [interpreter if interpreter.exists() else python, "-I", "-c", _DEPENDENCIES]
    if subprocess.run(command, capture_output=True).returncode:
        raise SetupError(f"`{python} -I` does not see the dependencies; install in a virtual environment of root's")


def remove_programs() -> Iterator[str]:
    """Remove what put_programs() has put there."""
    share = PREFIX / "share/sendmail-py"
    paths = _marked(share)[1:]
    if not paths:
        return
    for path in paths:
        Path(path).unlink(missing_ok=True)
    shutil.rmtree(share)
    reload_units()
    yield f"removed the programs in {PREFIX}"


def put_names(prefix: Path) -> Iterator[str]:
    """Make the names by which programs call sendmail, where nothing has them; yields what was done."""
    if str(prefix) == "/usr":
        return
    for name, place in _NAMES.items():
        if _leads_to(name, prefix):
            continue
        if os.path.lexists(name):
            print(f"mailctl setup: warning: {name} is of another mail system; it stays", file=sys.stderr)
            continue
        os.symlink(prefix / place, name)
        yield f"created {name}"


def remove_names(prefix: Path) -> Iterator[str]:
    """Remove the names that lead to our programs."""
    for name in _NAMES:
        if str(prefix) != "/usr" and _leads_to(name, prefix):
            os.unlink(name)
            yield f"removed {name}"


def _leads_to(name: str, prefix: Path) -> bool:
    return os.path.islink(name) and os.readlink(name) == str(prefix / _NAMES[name])


def reload_units() -> None:
    """Tell systemd, where it runs, that units have changed."""
    if os.path.isdir("/run/systemd/system"):
        subprocess.run(["systemctl", "daemon-reload"], stdin=subprocess.DEVNULL, check=False)
