"""The commands of benchmarks/harness-adapter.json, as a harness runs them, on an instance of its own.

Only the paths are other ones: those of an installed system stand in the file.
"""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.instance import ROOT
from tests.integration.smtp_server import Served

ADAPTER = json.loads((ROOT / "benchmarks" / "harness-adapter.json").read_text())


class Harness:
    """An instance that is configured, released and asked by the adapter's commands alone."""

    def __init__(self, instance: Served) -> None:
        self.instance = instance
        self.base = (instance.path / "main.cf").read_text()

    def command(self, name: str, mode: str) -> None:
        """Run one of the adapter's commands, by /bin/sh with $MODE."""
        path = self.instance.path
        text = ADAPTER[name].replace("/etc/sendmail-py/main.cf", f"{path}/adapter.cf")
        text = text.replace("/var/spool/sendmail-py", f"{path}/queue").replace("/run/sendmail-py", f"{path}/run")
        text = re.sub(r"/usr/local/bin/mailctl", f"{ROOT}/bin/mailctl -c {path}", text)
        environment = self.instance.environment | {"MODE": mode, "MAILDIR": "0"}
        done = self.instance.run("/bin/sh", "-c", text, env=environment)
        assert done.returncode == 0, f"{name}: {done.stderr!r}\n{self.instance.log()}"

    def begin(self, mode: str) -> None:
        """Configure and start; where the instance lies, and its ports, are its own."""
        self.command("configure", mode)
        said = (self.instance.path / "adapter.cf").read_text()
        (self.instance.path / "main.cf").write_text(f"{self.base}{said}inet_interfaces = loopback-only\n")
        complaints = self.instance.mailctl("config", "-n").stderr
        assert complaints == b""
        self.instance.start()

    def queued(self) -> list[str]:
        """Return what the harness counts."""
        top = self.instance.path / "queue"
        places = [top / directory.rpartition("/")[2] for directory in ADAPTER["queue_dirs"]]
        names = [name for place in places for _, _, files in os.walk(place) for name in files]
        return [name for name in names if re.search(ADAPTER["match_re"], name)]

    def send(self, count: int) -> None:
        """Hand over as many messages by SMTP, and one more by the command."""
        with self.instance.client() as client:
            for number in range(count):
                client.sendmail("alice@test.example", ["root@test.example"], f"Subject: {number}\n\nsmtp\n")
        words = [word.replace("%s", "root@test.example") for word in ADAPTER["submit"][1:]]
        self.instance.submit(b"Subject: piped\n\npiped\n", *words)


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[Harness]:
    with Served(tmp_path / "i") as instance:
        yield Harness(instance)


@pytest.mark.parametrize("mode", ["hold", "defer"])
def test_what_is_held_back_is_counted_and_waits_for_the_kick(harness: Harness, mode: str) -> None:
    harness.begin(mode)
    harness.send(3)
    harness.instance.wait_for(lambda: len(harness.queued()) == 4, "all are queued")
    harness.command("release", mode)
    assert len(harness.queued()) == 4 and harness.instance.mailbox("root") == b""
    harness.command("kick", mode)
    harness.instance.wait_for_mail("root", count=4)
    harness.instance.wait_for(lambda: not harness.queued(), "the queue is empty")


def test_mail_that_is_not_held_back_is_delivered_and_wipe_leaves_nothing(harness: Harness) -> None:
    harness.begin("live")
    harness.send(2)
    harness.instance.wait_for_mail("root", count=3)
    harness.command("stop", "live")
    assert not harness.instance.master_pid()
    (harness.instance.path / "queue" / "hold" / "0123456789AB").write_text("")
    harness.command("wipe", "live")
    assert harness.queued() == []
