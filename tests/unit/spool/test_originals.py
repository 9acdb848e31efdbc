"""What counts as an original in maildrop/, and when it goes."""

import os
from pathlib import Path

from sendmail_py.spool.layout import MAILDROP
from sendmail_py.spool.store import Store
from tests.unit.conftest import drop_one


def test_an_original_is_a_finished_file_of_one_name(store: Store) -> None:
    path, queue_id = drop_one(store)
    maildrop = Path(path).parent
    for name, mode in (("unfinished", 0o600), (".hidden", 0o640), ("a name", 0o640), ("twice", 0o640)):
        (maildrop / name).write_bytes(b"x")
        (maildrop / name).chmod(mode)
    os.link(maildrop / "twice", maildrop / "again")
    os.symlink(path, maildrop / "link")
    (maildrop / "directory").mkdir(mode=0o640)
    assert list(store.originals.paths()) == [(queue_id, path)] and list(store.originals.ids()) == [queue_id]


def test_an_original_is_removed_only_while_it_is_the_same_file(store: Store) -> None:
    path = Path(f"{store.top}/{MAILDROP}/name")
    path.write_bytes(b"one")
    status = path.stat()
    key = ("name", status.st_ino, status.st_ctime_ns)
    store.originals.remove(("name", status.st_ino + 1, status.st_ctime_ns))
    store.originals.remove(("name", status.st_ino, status.st_ctime_ns - 1))
    assert path.exists()
    store.originals.remove(key)
    assert not path.exists()
    store.originals.remove(key)
    path.write_bytes(b"another, of this name")
    store.originals.remove(("name", path.stat().st_ino, status.st_ctime_ns))
    assert path.exists()
