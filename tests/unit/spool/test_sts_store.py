"""Policies of MTA-STS on disk."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from sendmail_py.formats.sts import Kept, StsPolicy
from sendmail_py.spool.sts_store import StsStore

POLICY = StsPolicy("enforce", ("mx.a.test", "*.b.test"), 86400)
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def store(tmp_path):
    return StsStore(str(tmp_path / "sts"))


def save(store, kept):
    with store.claim(kept.domain, 1) as put:
        put(kept)


def test_what_is_saved_is_there_with_a_private_file_and_nothing_beside_it(store):
    save(store, Kept("a.test", "1", POLICY, 1000))
    assert store.load("a.test") == Kept("a.test", "1", POLICY, 1000)
    assert os.listdir(store.directory) == ["a.test.json"]
    assert os.stat(f"{store.directory}/a.test.json").st_mode & 0o777 == 0o600
    assert os.stat(store.directory).st_mode & 0o777 == 0o700


@pytest.mark.parametrize("domain", ["../../etc/passwd", "a/b", ".", "..", "\u00fc.test", f"{'a.' * 126}x", "A.test"])
def test_any_domain_has_a_file_of_its_own_in_the_directory(store, domain):
    save(store, Kept(domain, "1", POLICY, 1000))
    assert store.load(domain).id == "1"
    (name,) = os.listdir(store.directory)
    assert name.endswith(".json")


def test_a_file_that_is_spoilt_or_of_another_domain_is_as_none(store):
    save(store, Kept("a.test", "1", POLICY, 1000))
    os.rename(store.path("a.test"), store.path("b.test"))
    assert store.load("b.test") is None
    Path(store.path("c.test")).write_text("{")
    assert store.load("c.test") is None
    assert [kept.domain for kept in store.all()] == ["a.test"]


def test_a_claim_that_saves_nothing_leaves_nothing(store):
    with store.claim("a.test", 1):
        pass
    assert os.listdir(store.directory) == []


def test_whoever_waits_for_a_claim_finds_what_the_other_one_saved(store):
    found = []

    def wait():
        with store.claim("a.test", 60):
            found.append(store.load("a.test"))

    with store.claim("a.test", 1) as put:
        threads = [threading.Thread(target=wait) for _ in range(5)]
        for thread in threads:
            thread.start()
        time.sleep(0.2)
        put(Kept("a.test", "1", POLICY, 1000))
    for thread in threads:
        thread.join(60)
    assert found == [Kept("a.test", "1", POLICY, 1000)] * 5
    assert os.listdir(store.directory) == ["a.test.json"]


def test_a_claim_is_not_waited_for_for_ever(store):
    with store.claim("a.test", 1), pytest.raises(TimeoutError, match="somebody else"):
        with store.claim("a.test", 0.1):
            pass


def test_a_writer_that_is_killed_leaves_what_was_there_and_keeps_nobody_out(store):
    save(store, Kept("a.test", "1", POLICY, 1000))
    script = f"""
import os, sys, time
sys.path.insert(0, {str(ROOT)!r})
from sendmail_py.spool.sts_store import StsStore
with StsStore({store.directory!r}).claim("a.test", 1):
    os.write(os.open({store.path("a.test") + ".new"!r}, os.O_WRONLY), b'{{"half":')
    print("in", flush=True)
    time.sleep(60)
"""
    writer = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert writer.stdout.readline() == b"in\n"
    writer.kill()
    writer.wait(60)
    writer.stdout.close()
    assert store.load("a.test").id == "1"
    save(store, Kept("a.test", "2", POLICY, 2000))
    assert store.load("a.test").id == "2"
    assert os.listdir(store.directory) == ["a.test.json"]


def test_that_a_policy_is_renewed_does_not_make_it_used(store):
    save(store, Kept("a.test", "1", POLICY, 1000))
    os.utime(store.path("a.test"), (5, 5))
    save(store, Kept("a.test", "2", POLICY, 2000))
    assert store.used_at("a.test") == 5
    store.use("a.test")
    assert store.used_at("a.test") > 5


def test_all_are_listed_the_oldest_first_and_one_can_be_forgotten(store):
    for n, domain in enumerate(("b.test", "c.test", "a.test")):
        save(store, Kept(domain, "1", POLICY, 1000 + n))
    store.remove("c.test")
    store.remove("never.test")
    assert [kept.domain for kept in store.all()] == ["b.test", "a.test"]
