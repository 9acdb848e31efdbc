"""The recipe of the container, step by step in a Debian root: no engine is needed to know that it works."""

import json
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from callers_machine import CallersMachine, wait_until, what_lacks

from tests.integration.root.machine import ROOT

RECIPE = ROOT / "packaging/container/Containerfile"
CONTEXT = "/var/context"
RUN_INSTALL = "make -s -C"
SETTINGS = {"SENDMAILPY_myhostname": "app.example", "SENDMAILPY_relayhost_FILE": "/run/relayhost"}


class Image(CallersMachine):
    """A machine that becomes what the recipe says; its root comes without our system."""

    begin = re.sub(
        r'make -s -C "\$checkout" install [^\n]*',
        f'mkdir -p .{CONTEXT}; tar -c -C "$checkout" --exclude=./.git --exclude=./.venv . | tar -x -C .{CONTEXT}',
        CallersMachine.begin,
    )

    def build(self) -> None:
        """Follow the recipe; what it would install must be what this root has."""
        self.variables: dict[str, str] = {}
        self.user, self.entry, self.stop_signal = "root", [""], ""
        for line in RECIPE.read_text().splitlines():
            if line and not line.startswith("#"):
                word, _, rest = line.partition(" ")
                getattr(self, f"_{word.lower()}")(rest)

    def _from(self, rest: str) -> None:
        assert rest.startswith("debian:12")

    def _run(self, rest: str) -> None:
        if not rest.startswith("apt-get"):
            self.run("sh", "-c", rest, user="" if self.user == "root" else self.user, **self.variables)
            return
        packages = rest.partition("--no-install-recommends ")[2].partition(" &&")[0].split()
        self.run("dpkg", "--status", *(name for name in packages if name != "make"))

    def _copy(self, rest: str) -> None:
        source, target = rest.split()
        assert source == "."
        self.run("cp", "-a", CONTEXT, target)

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

    def start_container(self, **variables: str) -> "subprocess.Popen[bytes]":
        """Run the entry point as process 1 of a container, as its user; its standard output is the log."""
        clean = [f"{name}={value}" for name, value in (self.variables | SETTINGS | variables).items()]
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
        return self.run(*words, user=self.user, **(self.variables | SETTINGS | more))  # type: ignore[arg-type]

    def end(self, container: "subprocess.Popen[bytes]") -> str:
        """Stop it as an engine does; returns its log."""
        first = self.run("pgrep", "--oldest", "--uid", self.user).stdout.decode().strip()
        self.run("kill", f"-{self.stop_signal}", first)
        log, _ = container.communicate(timeout=60)
        assert container.returncode == 0
        return log.decode()


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    if lacks := what_lacks():
        pytest.skip(f"needs {lacks}")
    with Image() as image:
        if not image.run("which", "make", check=False).stdout:
            copy_make(image)
        image.path("/run/relayhost").write_text("[127.0.0.1]:9\n")
        image.build()
        yield image


def copy_make(image: Image) -> None:
    """Bring in the one program that this root lacks."""
    target = image.path("/usr/bin/make")
    target.write_bytes(Path("/usr/bin/make").read_bytes())
    target.chmod(0o755)


def test_a_container_takes_mail_keeps_it_on_its_volume_and_stops_in_order(image: Image) -> None:
    container = image.start_container()
    try:
        assert image.inside("mailctl", "config", "relayhost").stdout == b"relayhost = [127.0.0.1]:9\n"
        image.inside("/usr/sbin/sendmail", "-i", "someone@remote.example", input=b"Subject: kept\n\nhello\n")
        image.inside("/usr/sbin/sendmail", "-i", "relay", input=b"Subject: for its own user\n\nhello\n")
        wait_until(lambda: b"Connection refused" in image.inside("mailq").stdout, "the relay host was tried")
        swaks = "swaks --server 127.0.0.1:2525 --from a@app.example --to b@remote.example --silent 1"
        image.shell(swaks, "root")
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


def test_what_a_users_program_leaves_behind_does_not_stay_as_a_zombie(image: Image) -> None:
    container = image.start_container()
    try:
        image.path("/mail/instance/aliases").write_text(
            'orphan: "|(exec sleep 0.5 >/dev/null 2>&1 &) ; cat > /mail/got"\n'
        )
        image.inside("/usr/sbin/sendmail", "-i", "orphan", input=b"Subject: x\n\nhello\n")
        wait_until(lambda: image.path("/mail/got").exists(), "the program ran")
        processes = "ps -u relay -o stat=,comm="
        wait_until(lambda: "sleep" in image.script(processes), "its child lives on")
        wait_until(lambda: "sleep" not in image.script(processes), "its child is gone, and collected")
        assert " mailctl" in image.script(processes) or "python" in image.script(processes)
    finally:
        image.end(container)


def test_the_recipe_stops_with_a_signal_that_the_services_know() -> None:
    assert getattr(signal, re.search(r"^STOPSIGNAL (\w+)$", RECIPE.read_text(), re.MULTILINE)[1])  # type: ignore[index]
