"""mailctl setup --remove: undoes what setup has made; run again, it finds nothing to do.

Guarantees: no message is removed (a queue that holds any stays as it is, with the users who own
it), nor a main.cf that somebody has changed, nor anything that setup did not make.
"""

import os
import pwd
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from ...core.config import Config
from ...formats.sample import sample_main_cf
from ...host import configuration
from ...host.configuration_file import read_text
from ...spool.layout import BLOCKED, LOCK, MAILDROP, PRIVATE, TRIGGER
from ..ask import NotRunning
from .control import stop
from .installation import PREFIX, SetupError, programs_prefix, remove_names, remove_programs

_UNITS = ("sendmail-py.socket", "sendmail-py.service")
_KEPT = "kept "
NO_HOME = "/nonexistent"


def remove(directory: str, run: Callable[[list[str]], None]) -> Iterator[str]:
    """Undo, in order; yields a line for each thing done, and for each that stays. run() runs a command."""
    config, _ = configuration.load(directory)
    yield from _stop(config)
    yield from remove_names(programs_prefix() or PREFIX)
    kept = list(_messages(config.queue_directory))
    if kept:
        yield f"{_KEPT}{config.queue_directory}: {len(kept)} messages are in it"
    else:
        yield from _remove_state(config)
        for name in dict.fromkeys((config.mail_owner, config.net_owner)):
            yield from _remove_user(name, run)
    yield from _remove_main_cf(directory)
    yield from remove_programs()


def is_done(line: str) -> bool:
    """Say whether a line tells of something done."""
    return not line.startswith(_KEPT)


def _stop(config: Config) -> Iterator[str]:
    if os.path.isdir("/run/systemd/system"):
        subprocess.run(["systemctl", "disable", "--now", "--quiet", *_UNITS], capture_output=True, check=False)
    try:
        stop(config)
    except NotRunning:
        return
    yield "stopped the services"


def _messages(top: str) -> Iterator[str]:
    """Yield the files below the queue that are, or may be, mail."""
    for name in PRIVATE:
        if name != LOCK:
            for where, _, files in os.walk(f"{top}/{name}"):
                yield from (f"{where}/{file}" for file in files)
    if os.path.isdir(f"{top}/{MAILDROP}"):
        yield from (f"{top}/{MAILDROP}/{file}" for file in os.listdir(f"{top}/{MAILDROP}") if file != BLOCKED)


def _remove_state(config: Config) -> Iterator[str]:
    top = config.queue_directory
    if os.path.isdir(top) and not os.path.islink(top):
        for name in (*PRIVATE, MAILDROP):
            _remove_directory(Path(top, name))
        Path(top, TRIGGER).unlink(missing_ok=True)
        os.rmdir(top)
        yield f"removed {top}"
    if os.path.isdir(config.data_directory):
        shutil.rmtree(config.data_directory)
        yield f"removed {config.data_directory}"
    run = Path(config.run_directory)
    if run.is_dir():
        for name in ("master.lock", "next.lock", "once"):
            (run / name).unlink(missing_ok=True)
        run.rmdir()
        yield f"removed {run}"


def _remove_directory(path: Path) -> None:
    """Remove a directory of the queue that holds no mail any more: hash directories, locks, the list of the blocked."""
    if not path.exists() or not stat.S_ISDIR(path.lstat().st_mode):
        return
    for inside in path.iterdir():
        if inside.is_dir() and not inside.is_symlink():
            inside.rmdir()
        elif path.name == LOCK or inside.name == BLOCKED:
            inside.unlink()
    try:
        path.rmdir()
    except OSError as error:
        raise SetupError(f"{path}: {error.strerror}; a message has come meanwhile, try again") from error


def _remove_user(name: str, run: Callable[[list[str]], None]) -> Iterator[str]:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return
    if entry.pw_dir != NO_HOME or entry.pw_uid == 0:
        yield f"{_KEPT}the user {name}, which setup has not made"
        return
    run(["userdel", name])
    yield f"removed user {name}"


def _remove_main_cf(directory: str) -> Iterator[str]:
    path = f"{directory}/main.cf"
    if not os.path.exists(path):
        return
    if read_text(path) != sample_main_cf():
        yield f"{_KEPT}{path}: it has been changed"
        return
    os.unlink(path)
    yield f"removed {path}"
    if not os.listdir(directory):
        os.rmdir(directory)
        yield f"removed {directory}"
