"""Kills and errors at every system call by which a rotated refresh token is kept: the login works afterwards.

The token server takes an old refresh token until the one that it gave for it has been used.
"""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from sendmail_py.formats.oauth import Account, OAuthError
from sendmail_py.services.oauth_refresh import fresh_account
from sendmail_py.spool.token_store import TokenStore
from tests.faults.tracing import Fault, faults_in, sample, was_hit, with_effects
from tests.integration.instance import ROOT
from tests.servers.oauth_server import CLIENT, SECRET, USER, OAuthServer

pytestmark = pytest.mark.real("strace")
RENEW = """
import sys
sys.path.insert(0, sys.argv[1])
import http.client
from sendmail_py.services.oauth_refresh import fresh_account
from sendmail_py.spool.token_store import TokenStore
store = TokenStore(sys.argv[2])
print(fresh_account(store, "test", sys.argv[3], force=True).access_token)
"""


def renew(store: TokenStore, trace: Path, fault: Fault | None = None) -> tuple[str, list[str]]:
    """Renew the token in a process of its own, under strace; returns what it says and the trace."""
    path = store.path("test", USER)
    paths = {store.directory: "directory", path: "file", f"{path}.new": "new", f"{path}.lock": "lock"}
    command = ["strace", "-f", "-q", "-y", "-o", str(trace)]
    for real, pattern in paths.items():
        if fault is None or pattern == fault.path:
            command += ["-P", real]
    if fault is not None:
        command += ["-e", f"trace={fault.syscall}", "-e", f"inject={fault.syscall}:{fault.effect}:when={fault.ordinal}"]
    command += [sys.executable, "-I", "-c", RENEW, str(ROOT), store.directory, USER]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=60
    )
    return done.stdout.decode().strip(), trace.read_text("utf-8", "replace").splitlines()


def test_a_kill_or_an_error_while_a_refresh_token_is_replaced_leaves_one_that_works(tmp_path: Path) -> None:
    (tmp_path / "oauth").mkdir(mode=0o700)
    store, trace = TokenStore(str(tmp_path / "oauth")), tmp_path / "trace"
    with OAuthServer(rotation="grace") as server:
        first = Account("test", USER, "refresh_token", server.url("/token"), CLIENT, SECRET)
        path = store.path("test", USER)
        paths = {store.directory: "directory", path: "file", f"{path}.new": "new", f"{path}.lock": "lock"}

        def log_in() -> None:
            with store.lock("test", USER, 5):
                before = store.load("test", USER)
            serial = before.serial if before else 0
            store.save(replace(first, refresh_token=server.new_refresh(), serial=serial))

        log_in()
        token, lines = renew(store, trace)
        assert token in server.access
        lines = [line.replace(" <unfinished ...>", ") = ?") for line in lines]  # another thread came between
        sites = [fault for fault in faults_in(lines, "main", paths) if fault.syscall != "exit_group"]
        calls = {(fault.syscall, fault.path) for fault in sites}
        told = "\n".join([*lines, str(calls)])
        assert {("fsync", "new"), ("fsync", "directory"), ("write", "new")} <= calls and "rename" in dict(calls), told
        hit = 0
        for fault in sample(with_effects(sites), 16):
            log_in()
            token, lines = renew(store, trace, fault)
            hit += was_hit(lines)
            assert not token or token in server.access, fault
            try:
                again = fresh_account(store, "test", USER, force=True)
            except OAuthError as error:
                raise AssertionError(f"{fault}: {error}\n" + "\n".join(lines)) from error
            assert again.access_token in server.access, fault
        assert hit > 10
