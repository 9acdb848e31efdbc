"""Programs, files and .forward in an instance of one ordinary user, where all is done as that user."""

import os
import pwd
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.instance import DOMAIN, Instance, wait_until


@pytest.fixture
def instance(tmp_path_factory, request) -> Iterator[Instance]:
    """An instance of whoever runs the tests, or of nobody where that is root."""
    settings = {"recipient_delimiter": "+", "minimal_backoff_time": "1s", "queue_run_delay": "1s"}
    if os.getuid() == 0:
        place, tree = request.getfixturevalue("place"), request.getfixturevalue("tree")
        made = Instance(place / "i", user="nobody", tree=tree, **settings)
    else:
        made = Instance(tmp_path_factory.mktemp("forward") / "i", **settings)
    with made as instance:
        instance.configure(forward_path=f"{instance.path}/.forward+$extension, {instance.path}/.forward")
        instance.start()
        yield instance


def owner(instance: Instance) -> str:
    return instance.user or pwd.getpwuid(os.getuid()).pw_name


def write(instance: Instance, name: str, text: str) -> Path:
    path = instance.path / name
    path.write_text(text)
    path.chmod(0o600)
    account = pwd.getpwnam(owner(instance))
    os.chown(path, account.pw_uid, account.pw_gid)
    return path


def content(path: Path, containing: str) -> str:
    """Wait until a file holds a text; returns all of it."""
    wait_until(lambda: path.exists() and containing in path.read_text(), f"{containing!r} in {path}")
    return path.read_text()


def test_an_alias_runs_a_program_and_writes_a_file_as_the_user(instance):
    (instance.path / "aliases").write_text(
        f'robot: "|id -un >{instance.path}/robot; cat >>{instance.path}/robot"\narchive: {instance.path}/archive\n'
    )
    instance.submit(b"Subject: two ways\n\nx\n", "robot", "archive")
    text = content(instance.path / "robot", "two ways")
    assert text.startswith(owner(instance) + "\nFrom ")
    assert f"Delivered-To: archive@{DOMAIN}" in content(instance.path / "archive", "two ways")
    instance.wait_empty()
    assert {(instance.path / n).stat().st_uid for n in ("robot", "archive")} == {instance.path.stat().st_uid}


def test_the_forward_of_the_user_counts_and_nobody_elses(instance):
    write(instance, ".forward", f"\\{owner(instance)}, {instance.path}/copy\n")
    instance.submit(b"Subject: kept and copied\n\nx\n", owner(instance), "daemon")
    content(instance.path / "copy", "kept and copied")
    instance.wait_for_mail(owner(instance), b"kept and copied")
    instance.wait_for_mail("daemon", b"kept and copied")
    instance.wait_empty()
    assert (instance.path / "copy").read_text().count("Subject: kept and copied") == 1


def test_a_user_named_with_and_without_a_backslash_gets_one_copy_unless_a_forward_parts_the_two(instance):
    user = owner(instance)
    (instance.path / "aliases").write_text(f"both: {user}, \\{user}\n")
    instance.submit(b"Subject: once to the mailbox\n\nx\n", "both")
    instance.wait_for_mail(user, b"once to the mailbox")
    instance.wait_empty()
    write(instance, ".forward", f"{instance.path}/copy\n")
    instance.submit(b"Subject: to the mailbox and the file\n\nx\n", "both")
    instance.wait_for_mail(user, b"to the mailbox and the file")
    content(instance.path / "copy", "to the mailbox and the file")
    instance.wait_empty()
    box = instance.mailbox(user)
    for subject in (b"once to the mailbox", b"to the mailbox and the file"):
        assert box.count(b"Subject: " + subject) == 1
    assert (instance.path / "copy").read_text().count("Subject: ") == 1


def test_an_extension_has_its_own_forward(instance):
    write(instance, ".forward+news", f'"|cat >{instance.path}/news"\n')
    instance.submit(b"Subject: the news\n\nx\n", f"{owner(instance)}+news")
    assert f"Delivered-To: {owner(instance)}+news@{DOMAIN}" in content(instance.path / "news", "the news")
    instance.submit(b"Subject: no news\n\nx\n", f"{owner(instance)}+other")
    instance.wait_for_mail(owner(instance), b"no news")


def test_a_reload_with_a_program_running_neither_ends_nor_repeats_it(instance):
    gate = instance.path / "gate"
    (instance.path / "aliases").write_text(
        f'slow: "|cat >>{instance.path}/slow; while ! test -e {gate}; do sleep 0.1; done"\n'
    )
    instance.submit(b"Subject: takes its time\n\nx\n", "slow")
    content(instance.path / "slow", "takes its time")
    instance.configure(mailbox_command=f"cat >{instance.path}/by-command-$USER")
    instance.reload()
    instance.submit(b"Subject: after the reload\n\nx\n", owner(instance))
    content(instance.path / f"by-command-{owner(instance)}", "after the reload")
    gate.touch()
    instance.wait_empty()
    assert (instance.path / "slow").read_text().count("Subject: takes its time") == 1
    assert "may be repeated" not in instance.log()


def test_programs_that_hang_hold_up_no_mailbox_however_many_they_are(instance):
    gate = instance.path / "gate"
    hang = f"while ! test -e {gate}; do sleep 0.2; done"
    (instance.path / "aliases").write_text("".join(f'hang{n}: "|{hang}; : {n}"\n' for n in range(30)))
    for n in range(30):
        instance.submit(b"Subject: hangs\n\nx\n", f"hang{n}")
    instance.wait_for(lambda: instance.count() == 30, "30 messages with programs")
    instance.submit(b"Subject: goes past them\n\nx\n", owner(instance))
    instance.wait_for_mail(owner(instance), b"goes past them")
    gate.touch()
    instance.wait_empty()
    assert len(instance.wait_for_log("status=sent .delivered to command: while", count=30)) == 30


def test_a_stop_ends_a_program_in_time_and_the_next_start_delivers(instance):
    (instance.path / "aliases").write_text(f'slow: "|test -e {instance.path}/go || sleep 600"\n')
    instance.configure(stop_timeout="2s")
    instance.reload()
    instance.submit(b"Subject: in vain\n\nx\n", "slow")
    instance.wait_for(lambda: instance.pid_of("local"), "the agent is there")
    instance.wait_for(lambda: instance.count() == 1, "the program runs")
    instance.stop()
    (instance.path / "go").touch()
    instance.start()
    instance.wait_empty()
    assert "status=sent (delivered to command" in instance.log()
