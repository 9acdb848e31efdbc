"""The recipes of containers, step by step on a Debian that has just been installed, and what is typed to an engine.

No engine is needed for that: what the documents type is done by one that follows the recipe in a root of its own.
"""

import argparse
import json
import re
import shlex
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from debian_machine import DebianMachine, what_lacks
from document_machine import SOURCE
from machine import ROOT, wait_until

from tests.transcript import blocks

RECIPE = ROOT / "packaging/container/Containerfile"
DOCUMENT = ROOT / "docs/container.md"
SETTINGS = {"SENDMAILPY_myhostname": "app.example", "SENDMAILPY_relayhost_FILE": "/run/relayhost"}
_APT_LIMIT = 180.0
_SEND = "import smtplib; smtplib.SMTP('127.0.0.1', 2525).sendmail('a@app.example', ['b@remote.example'], 'x')"
_PROCESSES = """
import os, sys
for pid in sorted(filter(str.isdigit, os.listdir("/proc")), key=int):
    try:
        status = dict(line.split(":", 1) for line in open(f"/proc/{pid}/status"))
    except OSError:
        continue  # it has ended
    if status["Uid"].split()[0] == sys.argv[1]:
        print(pid, status["State"].split()[0], status["Name"].strip())
"""


class Image(DebianMachine):
    """A machine that becomes what a recipe says; what it copies is there already."""

    def build(self, recipe: str) -> None:
        """Follow a recipe."""
        self.variables: dict[str, str] = {}
        self.user, self.entry, self.stop_signal = "root", [""], ""
        for line in re.sub(r"\\\n\s*", "", recipe).splitlines():
            if line and not line.startswith("#"):
                word, _, rest = line.partition(" ")
                getattr(self, f"_{word.lower()}")(rest)

    def _from(self, rest: str) -> None:
        assert rest.startswith("debian:12")

    def _run(self, rest: str) -> None:
        user = "" if self.user == "root" else self.user
        self.run("sh", "-c", rest, user=user, limit=_APT_LIMIT, **self.variables)

    def _copy(self, rest: str) -> None:
        assert rest in (f". {SOURCE}", f"sendmail-py {SOURCE}")

    def _env(self, rest: str) -> None:
        name, _, value = rest.partition("=")
        self.variables[name] = value

    def _user(self, rest: str) -> None:
        self.user = rest

    def _volume(self, rest: str) -> None:
        self.volume = rest

    def _expose(self, rest: str) -> None:
        assert rest == self.variables["SENDMAILPY_smtpd_port"]

    def _stopsignal(self, rest: str) -> None:
        self.stop_signal = rest

    def _entrypoint(self, rest: str) -> None:
        self.entry = json.loads(rest)

    # --- what an engine does ------------------------------------------------------------------

    def start_container(self, settings: dict[str, str] = SETTINGS, **variables: str) -> "subprocess.Popen[bytes]":
        """Run the entry point as process 1 of a container, as its user; its standard output is the log."""
        self.settings = settings | variables
        clean = [f"{name}={value}" for name, value in (self.variables | self.settings).items()]
        words = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "setpriv", f"--reuid={self.user}"]
        words += [
            f"--regid={self.user}",
            "--clear-groups",
            "env",
            "-i",
            "PATH=/usr/sbin:/usr/bin:/bin",
            *clean,
            *self.entry,
        ]
        container = subprocess.Popen(self.command(words), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=2)
        wait_until(lambda: self.inside("mailctl", "status", check=False).returncode == 0, "the container serves")
        return container

    def inside(self, *words: str, **more: object) -> "subprocess.CompletedProcess[bytes]":
        """Run a command as a program in the container does."""
        return self.run(*words, user=self.user, **(self.variables | self.settings | more))  # type: ignore[arg-type]

    def processes(self) -> list[str]:
        """Return pid, state and name of what runs as the container's user."""
        uid = self.run("id", "-u", self.user).stdout.decode().strip()
        return self.python(_PROCESSES, uid).splitlines()

    def end(self, container: "subprocess.Popen[bytes]") -> str:
        """Stop it as an engine does; returns its log."""
        first = self.processes()[0].split()[0]
        self.script(f"kill -s {self.stop_signal.removeprefix('SIG')} {first}")
        log, _ = container.communicate(timeout=60)
        assert container.returncode == 0
        return log.decode()


class Engine:
    """The commands of podman that the documents type, done by the image."""

    def __init__(self, image: Image) -> None:
        self.image = image
        self.container: subprocess.Popen[bytes] | None = None
        self.name = self.tag = ""

    def typed(self, command: str) -> None:
        """Do what a command says; what is not known here fails."""
        podman, verb, *words = shlex.split(command)
        assert podman == "podman"
        getattr(self, f"_{verb}")(words)

    def _build(self, words: list[str]) -> None:
        option, recipe, tag, self.tag, place = words
        assert (option, ROOT / recipe, tag, place) == ("-f", RECIPE, "-t", ".")  # the image is made of it already

    def _run(self, words: list[str]) -> None:
        parser = argparse.ArgumentParser(exit_on_error=False)
        parser.add_argument("-d", action="store_true", required=True)
        for letter in ("--name", "-v", "-p"):
            parser.add_argument(letter, required=True)
        parser.add_argument("-e", action="append", default=[])
        parser.add_argument("image")
        options = parser.parse_args(words)
        self.name = options.name
        assert options.image == self.tag
        assert options.v.partition(":")[2] == self.image.volume
        assert options.p.rpartition(":")[2] == self.image.variables["SENDMAILPY_smtpd_port"]
        self.container = self.image.start_container(dict(setting.split("=", 1) for setting in options.e))

    def _exec(self, words: list[str]) -> None:
        assert words[0] == self.name
        self.image.inside(*words[1:])


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    if lacks := what_lacks():
        pytest.skip(f"needs {lacks}")
    with Image() as image:
        image.path("/run/relayhost").write_text("[127.0.0.1]:9\n")
        image.build(RECIPE.read_text())
        yield image


def test_a_container_takes_mail_keeps_it_on_its_volume_and_stops_in_order(image: Image) -> None:
    container = image.start_container()
    try:
        assert image.inside("mailctl", "config", "relayhost").stdout == b"relayhost = [127.0.0.1]:9\n"
        image.inside("/usr/sbin/sendmail", "-i", "someone@remote.example", input=b"Subject: kept\n\nhello\n")
        image.inside("/usr/sbin/sendmail", "-i", "relay", input=b"Subject: for its own user\n\nhello\n")
        wait_until(lambda: b"Connection refused" in image.inside("mailq").stdout, "the relay host was tried")
        image.python(_SEND)
    finally:
        log = image.end(container)
    assert "status=deferred" in log and "status=sent (delivered to mailbox)" in log and "stopped" in log
    container = image.start_container(SENDMAILPY_log_format="json")
    try:
        listed = image.inside("mailq").stdout.decode()
        assert "someone@remote.example" in listed and "b@remote.example" in listed
        image.inside("mailctl", "flush")
    finally:
        log = image.end(container)
    assert all(json.loads(line)["host"] for line in log.splitlines())


@pytest.mark.parametrize("document", [ROOT / "README.md", DOCUMENT], ids=["README", "container"])
def test_what_the_documents_type_to_an_engine_works(image: Image, document: Path) -> None:
    (block,) = (block for block in blocks(document) if "podman" in block.text)
    engine = Engine(image)
    try:
        for command in re.sub(r"\\\n\s*", "", block.text).splitlines():
            engine.typed(command)
        shown = image.inside("mailctl", "config", "-h", "relayhost", "myhostname", "mynetworks").stdout.decode()
        assert shown.splitlines() == ["[smtp.example.net]:587", "app.example.org", "127.0.0.0/8,10.88.0.0/16"]
    finally:
        if engine.container:
            image.end(engine.container)


def test_what_a_users_program_leaves_behind_does_not_stay_as_a_zombie(image: Image) -> None:
    container = image.start_container()
    try:
        image.path("/mail/instance/aliases").write_text(
            'orphan: "|(exec sleep 0.5 >/dev/null 2>&1 &) ; cat > /mail/got"\n'
        )
        image.inside("/usr/sbin/sendmail", "-i", "orphan", input=b"Subject: x\n\nhello\n")
        wait_until(lambda: image.path("/mail/got").exists(), "the program ran")
        wait_until(lambda: "sleep" in str(image.processes()), "its child lives on")
        wait_until(lambda: "sleep" not in str(image.processes()), "its child is gone, and collected")
        assert re.search("mailctl|python", str(image.processes()))
    finally:
        image.end(container)


def test_the_recipe_stops_with_a_signal_that_the_services_know() -> None:
    assert getattr(signal, re.search(r"^STOPSIGNAL (\w+)$", RECIPE.read_text(), re.MULTILINE)[1])  # type: ignore[index]


def test_an_applications_container_has_a_sendmail() -> None:
    (recipe,) = (block.text for block in blocks(DOCUMENT) if block.kind == "dockerfile")
    if lacks := what_lacks():
        pytest.skip(f"needs {lacks}")
    with Image() as application:
        application.build(recipe)
        application.start()
        application.run("/usr/sbin/sendmail", "bob", user="alice", input=b"Subject: x\n\nof the application\n")
        application.wait_for_mail("bob", "of the application")
        assert application.run("mailctl", "check", check=False).returncode < 2
