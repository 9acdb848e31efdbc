"""Programs that get mail: what they see, how they end, and what they cannot do."""

import os
import signal
import stat
from pathlib import Path

import pytest
from local_service import Agent, Tree, wait_until

from sendmail_py.core.delivery import Delivery
from sendmail_py.core.result import DeliveryResult, Outcome

SHELL_SYNTAX = "true;"  # before a command: only a shell understands it


@pytest.fixture
def agent(tree: Tree) -> Agent:
    tree.start(default_privs="daemon", command_time_limit="30s")
    return tree.agents[0]


def script(tree: Tree, text: str, name: str = "program") -> str:
    """Write a shell script that the instance's user may run; returns its path."""
    path = tree.spool.parent / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def writable(tree: Tree, name: str = "out") -> Path:
    """Return a directory where everybody may write."""
    path = tree.spool.parent / name
    path.mkdir(exist_ok=True)
    path.chmod(0o777)
    return path


def pipe_to(agent: Agent, line: str, *messages: Delivery, uid: int = -1) -> DeliveryResult:
    """Deliver to a program; returns the first result."""
    result = agent.deliver("a program", *messages, target="|" + line, uid=uid)[0]
    assert result is not None
    return result


def test_a_program_reads_the_message_with_the_lines_of_a_mailbox_before_it(tree: Tree, agent: Agent) -> None:
    out = writable(tree) / "got"
    result = pipe_to(agent, f"cat >{out}", tree.message(b"Subject: x\n\nFrom here\nno end", "bob+x@example.net"))
    assert (result.outcome, result.reason) == (Outcome.DELIVERED, f"delivered to command: cat >{out}")
    first, _, rest = out.read_bytes().partition(b"\n")
    assert first.startswith(b"From alice@example.org ")
    assert rest == (
        b"Return-Path: <alice@example.org>\nDelivered-To: bob+x@example.net\nSubject: x\n\nFrom here\nno end"
    )


def test_a_message_of_several_megabytes_goes_through_whole(tree: Tree, agent: Agent) -> None:
    out = writable(tree) / "size"
    content = b"Subject: x\n\n" + b"0123456789abcde\n" * 500_000
    assert pipe_to(agent, f"tail -c {len(content)} | cksum >{out}", tree.message(content)).outcome is Outcome.DELIVERED
    assert int(out.read_text().split()[1]) == len(content)


@pytest.mark.parametrize("what", ["true", "head -c 1"])
def test_a_program_that_does_not_read_its_input_still_gets_the_mail(tree: Tree, agent: Agent, what: str) -> None:
    message = tree.message(b"Subject: x\n\n" + b"filler\n" * 300_000)
    assert pipe_to(agent, f"{what} >/dev/null", message).outcome is Outcome.DELIVERED


@pytest.mark.parametrize(
    ("line", "outcome", "status", "reason"),
    [
        ("exit 75", Outcome.DEFERRED, "4.3.0", "temporary failure"),
        ("exit 67", Outcome.FAILED, "5.1.1", "user unknown"),
        ("echo no such box; exit 77", Outcome.FAILED, "5.7.0", "permission denied. Command output: no such box"),
        ("exit 3", Outcome.FAILED, "5.3.0", 'Command died with status 3: "exit 3"'),
        ("kill -9 $$", Outcome.DEFERRED, "4.3.0", 'Command died with signal 9: "kill -9 $$"'),
        ("echo 4.2.2 over quota; exit 1", Outcome.DEFERRED, "4.2.2", "over quota"),
    ],
)
def test_how_a_program_ends_is_the_result(
    tree: Tree, agent: Agent, line: str, outcome: Outcome, status: str, reason: str
) -> None:
    result = pipe_to(agent, line, tree.message())
    assert (result.outcome, result.status, result.reason, result.relay) == (outcome, status, reason, "local")


def test_a_program_that_is_not_there_fails_as_with_a_shell(tree: Tree, agent: Agent) -> None:
    for line in ("/no/such/program -x", "no-such-program-anywhere"):
        result = pipe_to(agent, line, tree.message())
        assert (result.outcome, result.status) == (Outcome.FAILED, "5.3.0")
        assert "status 127" in result.reason and "o" in result.diagnostic.partition("; ")[2]
    path = tree.spool.parent / "not-executable"
    path.write_text("x")
    assert "status 126" in pipe_to(agent, str(path), tree.message()).reason


def test_output_is_kept_up_to_a_limit_and_made_printable(tree: Tree, agent: Agent) -> None:
    line = r"printf 'one\ntwo\t\033[31m \377'; yes | head -c 1000000; exit 70"
    result = pipe_to(agent, line, tree.message())
    assert result.diagnostic.startswith("x-unix; one two _[31m \N{REPLACEMENT CHARACTER}")
    assert len(result.diagnostic) < 4200 and result.diagnostic.isprintable()


def test_a_command_of_any_length_makes_no_line_of_any_length_in_the_log(tree: Tree, agent: Agent) -> None:
    for line in ("true " + "x" * 60_000, "false; " + "x" * 60_000):
        assert len(pipe_to(agent, line, tree.message()).reason) <= 6000
    agent.deliver("x", tree.message(), target="/" + "x" * 60_000)
    assert max(map(len, tree.log.read_text().splitlines())) < 6500


def test_the_environment_is_made_from_nothing(tree: Tree, agent: Agent) -> None:
    out = writable(tree) / "environment"
    message = tree.message(b"\n\n", "list+ext@example.net", sender="al/ice@example.org", extension="ext")
    message.recipients[0].original = "rfc822;team@example.net"
    pipe_to(agent, f"env >{out}", message)
    got = dict(line.split("=", 1) for line in out.read_text().splitlines())
    for name in ("PWD", "SHLVL", "_", "OLDPWD", "TZ"):  # the shell's own, and what is exported
        got.pop(name, None)
    wanted = {
        "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin",
        "SENDER": "al/ice@example.org",
        "RECIPIENT": "list+ext@example.net",
        "LOCAL": "list+ext",
        "DOMAIN": "example.net",
        "EXTENSION": "ext",
        "ORIGINAL_RECIPIENT": "team@example.net",
        "USER": "list",
        "LOGNAME": "list",
    }
    assert wanted.items() <= got.items()
    assert set(got) - set(wanted) <= {"HOME", "SHELL", "LANG", "MAIL_CONFIG"}


@pytest.mark.parametrize("sender", ["$(touch {0})@x", "`touch {0}`@x", "a;touch {0};@x", '" > {0} "@x', "a\ttouch@x"])
def test_no_address_can_make_a_careless_script_do_something(tree: Tree, agent: Agent, sender: str) -> None:
    canary = writable(tree) / "canary"
    careless = script(tree, 'eval "x=$SENDER y=$RECIPIENT z=$EXTENSION"; exit 0')
    address = sender.format(canary)
    message = tree.message(b"\n\n", address, sender=address, extension=address)
    assert pipe_to(agent, SHELL_SYNTAX + careless, message).outcome is Outcome.DELIVERED
    assert not canary.exists()


def test_nothing_of_the_message_is_in_the_command_line(tree: Tree, agent: Agent) -> None:
    out = writable(tree) / "argv"
    line = f"{script(tree, f'cat /proc/$$/cmdline >{out}')} -a b"
    pipe_to(agent, line, tree.message(b"Subject: secret\n\n", sender="secret@x"))
    assert out.read_bytes().split(b"\0")[1:-1] == [str(tree.spool.parent / "program").encode(), b"-a", b"b"]


def test_a_program_inherits_three_descriptors_default_signals_and_modest_limits(tree: Tree, agent: Agent) -> None:
    out = writable(tree) / "inherited"
    pipe_to(agent, f"(ls /proc/self/fd; ulimit -n; grep SigIgn /proc/self/status; umask) >{out}", tree.message())
    lines = out.read_text().split("\n")
    assert lines[:4] == ["0", "1", "2", "3"]  # 3 is the directory that ls reads
    assert lines[4] == "1024"
    assert int(lines[5].split()[1], 16) & (1 << signal.SIGPIPE - 1 | 1 << signal.SIGTERM - 1) == 0
    assert lines[6] == "0077"


def test_the_input_cannot_be_changed_by_the_program(tree: Tree, agent: Agent) -> None:
    assert "status 1" in pipe_to(agent, "echo x 2>/dev/null 1>&0 || exit 1", tree.message()).reason


def test_a_program_that_takes_too_long_is_killed_with_all_it_started(tree: Tree) -> None:
    agent = tree.start(default_privs="daemon", command_time_limit="3s")
    pids = writable(tree) / "pids"
    result = pipe_to(agent, f"sleep 600 & echo $! >{pids}; echo busy; sleep 600", tree.message())
    assert (result.outcome, result.status) == (Outcome.FAILED, "5.3.0")
    assert result.reason.startswith("Command time limit exceeded: ") and result.reason.endswith("Command output: busy")
    wait_until(lambda: not Path(f"/proc/{pids.read_text().strip()}").exists())


def test_a_process_left_behind_holds_up_nobody_and_is_ended_at_the_limit_with_a_line_in_the_log(tree: Tree) -> None:
    agent = tree.start(default_privs="daemon", command_time_limit="6s")
    pids = writable(tree) / "pids"
    left = f"(sleep 600 & echo $! >{pids}) ; exit 0"
    assert pipe_to(agent, left, tree.message()).outcome is Outcome.DELIVERED
    pid = int(pids.read_text())
    assert Path(f"/proc/{pid}").exists()
    assert agent.deliver("bin", tree.message())[0].outcome is Outcome.DELIVERED  # type: ignore[union-attr]
    wait_until(lambda: not Path(f"/proc/{pid}").exists())
    wait_until(lambda: "left processes behind" in tree.log.read_text())


@pytest.mark.parametrize("limit", ["0", "1000w"])
def test_a_time_limit_of_nothing_or_of_years_is_none(tree: Tree, limit: str) -> None:
    agent = tree.start(default_privs="daemon", command_time_limit=limit)
    assert pipe_to(agent, "sleep 0.3", tree.message()).outcome is Outcome.DELIVERED


def test_slow_programs_hold_up_neither_mailboxes_nor_other_programs(tree: Tree, agent: Agent) -> None:
    gate = writable(tree) / "gate"
    slow = agent.send(
        "slow", [tree.message() for _ in range(10)], target=f"|while ! test -e {gate}; do sleep 0.1; done"
    )
    assert agent.deliver("bin", tree.message())[0].outcome is Outcome.DELIVERED  # type: ignore[union-attr]
    assert pipe_to(agent, SHELL_SYNTAX, tree.message()).outcome is Outcome.DELIVERED
    assert all(delivery.results == [None] for delivery in slow.deliveries)
    assert slow.number in agent.aside
    gate.touch()
    agent.collect(slow)
    assert {d.results[0] and d.results[0].outcome for d in slow.deliveries} == {Outcome.DELIVERED}


def test_a_user_has_two_programs_at_once_and_the_others_wait(tree: Tree, agent: Agent) -> None:
    running, counts = writable(tree, "running"), writable(tree, "counts")
    line = f"|touch {running}/$$; ls {running} | wc -l >{counts}/$$; sleep 0.3; rm {running}/$$"
    batch = agent.send("few", [tree.message() for _ in range(6)], target=line)
    agent.collect(batch)
    found = [int(path.read_text()) for path in counts.iterdir()]
    assert len(found) == 6 and max(found) <= 2


@pytest.mark.real(root=True)
def test_a_user_with_many_programs_that_hang_leaves_room_for_those_of_others(root_tree: Tree) -> None:
    gate = writable(root_tree) / "gate"
    agent = root_tree.start(default_privs="daemon")
    hang = f"while ! test -e {gate}; do sleep 0.2; done"
    games = [agent.send("x", [root_tree.message()], target=f"|{hang}; : {n}", uid=5) for n in range(25)]
    agent.collect(*games[10:])
    assert {d.results[0] and d.results[0].status for batch in games[10:] for d in batch.deliveries} == {"4.3.0"}
    assert pipe_to(agent, SHELL_SYNTAX, root_tree.message()).outcome is Outcome.DELIVERED
    assert pipe_to(agent, SHELL_SYNTAX, root_tree.message(), uid=2).outcome is Outcome.DELIVERED
    gate.touch()
    agent.collect(*games[:10])
    assert pipe_to(agent, SHELL_SYNTAX, root_tree.message(), uid=5).outcome is Outcome.DELIVERED


@pytest.mark.real(root=True)
def test_large_messages_in_programs_that_hang_leave_room_for_those_of_others(root_tree: Tree) -> None:
    gate = writable(root_tree) / "gate"
    agent = root_tree.start(default_privs="daemon")
    large = b"Subject: large\n\n" + b"0123456789abcde\n" * (70 << 16)
    hang = f"|while ! test -e {gate}; do sleep 0.1; done"
    games = agent.send("x", [root_tree.message(large) for _ in range(2)], target=hang, uid=5)
    for content in (b"Subject: small\n\n", large):
        assert pipe_to(agent, SHELL_SYNTAX, root_tree.message(content), uid=2).outcome is Outcome.DELIVERED
    assert [delivery.results for delivery in games.deliveries] == [[None], [None]]
    gate.touch()
    agent.collect(games)
    assert {d.results[0] and d.results[0].outcome for d in games.deliveries} == {Outcome.DELIVERED}


@pytest.mark.real(root=True)
def test_a_user_whose_programs_leave_ever_more_behind_loses_the_oldest_and_no_descriptor_leaks(root_tree: Tree) -> None:
    pids = writable(root_tree) / "pids"
    agent = root_tree.start(default_privs="daemon")
    descriptors = Path(f"/proc/{agent.process.pid}/fd")
    before = len(list(descriptors.iterdir()))
    for _ in range(14):
        left = pipe_to(agent, f"(sleep 600 & echo $! >>{pids}) ; exit 0", root_tree.message(), uid=5)
        assert left.outcome is Outcome.DELIVERED
    found = [Path(f"/proc/{pid}") for pid in pids.read_text().split()]
    wait_until(lambda: [path.exists() for path in found] == [False] * 4 + [True] * 10)
    assert root_tree.log.read_text().count("left processes behind that are too many of one user") == 4
    assert len(list(descriptors.iterdir())) <= before + 2 * 10
    for path in found[4:]:
        os.kill(int(path.name), signal.SIGKILL)
    wait_until(lambda: len(list(descriptors.iterdir())) <= before)
    children = Path(f"/proc/{agent.process.pid}/task/{agent.process.pid}/children")
    wait_until(lambda: children.read_text() == "")


def test_a_program_that_never_stops_talking_keeps_nobody_waiting(tree: Tree) -> None:
    agent = tree.start(default_privs="daemon", command_time_limit="6s")
    talks = agent.send("talks", [tree.message()], target="|yes & yes & yes")
    assert agent.deliver("bin", tree.message())[0].outcome is Outcome.DELIVERED  # type: ignore[union-attr]
    assert talks.number in agent.aside and talks.deliveries[0].results == [None]
    agent.collect(talks)
    assert talks.deliveries[0].results[0] and "time limit" in talks.deliveries[0].results[0].reason


def test_a_stop_lets_a_program_finish_and_defers_those_that_wait(tree: Tree, agent: Agent) -> None:
    gate = writable(tree) / "gate"
    line = f"|while ! test -e {gate}; do sleep 0.1; done"
    batch = agent.send("slow", [tree.message() for _ in range(4)], target=line)
    agent.deliver("bin", tree.message())
    agent.tell("stop")
    gate.touch()
    agent.collect(batch)
    assert sorted(str(d.results[0] and d.results[0].status) for d in batch.deliveries) == [
        *["2.0.0"] * 2,
        *["4.3.2"] * 2,
    ]
    assert agent.process.wait(60) == 0


def test_without_a_queue_manager_programs_are_asked_to_end(tree: Tree, agent: Agent) -> None:
    out = writable(tree)
    line = f"|trap 'echo >{out}/asked; exit' TERM; echo >{out}/on; while :; do sleep 0.1; done"
    agent.send("slow", [tree.message()], target=line)
    wait_until((out / "on").exists)
    agent.channel.close()
    wait_until((out / "asked").exists)
    assert agent.process.wait(60) == 0


def test_a_forwarding_loop_ends_before_the_program(tree: Tree, agent: Agent) -> None:
    out = writable(tree) / "got"
    message = tree.message(b"Delivered-To: bob@example.net\n\nx\n", "bob@example.net")
    assert pipe_to(agent, f"cat >{out}", message).status == "5.4.6"
    assert not out.exists()


def test_mailbox_command_takes_the_mail_instead_of_the_mailbox(tree: Tree) -> None:
    out = writable(tree)
    agent = tree.start(mailbox_command=f'cat >{out}/$USER-"$EXTENSION"')
    assert agent.deliver("daemon", tree.message(extension="x"))[0].outcome is Outcome.DELIVERED  # type: ignore[union-attr]
    (path,) = out.iterdir()
    assert path.name == "daemon-x" and b"Subject: x" in path.read_bytes()
    assert not list(tree.spool.iterdir())


@pytest.mark.real(root=True)
@pytest.mark.parametrize(("uid", "user"), [(-1, "daemon"), (0, "daemon"), (5, "games")])
def test_a_program_runs_with_the_rights_that_apply_and_never_as_root(root_tree: Tree, uid: int, user: str) -> None:
    agent = root_tree.start(default_privs="daemon")
    out = writable(root_tree) / "id"
    assert (
        pipe_to(agent, f"(id -un; id -run; id -gn; id -Gn; pwd) >{out}", root_tree.message(), uid=uid).status == "2.0.0"
    )
    name, real, group, groups, directory = out.read_text().splitlines()
    assert (name, real, group, groups) == (user, user, user, user)
    assert directory == ("/usr/games" if user == "games" and os.path.isdir("/usr/games") else "/")
    assert stat.S_IMODE(out.stat().st_mode) == 0o600


@pytest.mark.real(root=True)
def test_default_privs_of_root_runs_nothing(root_tree: Tree) -> None:
    agent = root_tree.start(default_privs="root")
    out = writable(root_tree) / "id"
    result = pipe_to(agent, f"id >{out}", root_tree.message())
    assert (result.outcome, result.status) == (Outcome.DEFERRED, "4.3.5")
    assert not out.exists()


@pytest.mark.real(root=True)
def test_a_uid_without_a_user_defers(root_tree: Tree) -> None:
    result = pipe_to(root_tree.start(), "true", root_tree.message(), uid=2_000_000_011)
    assert (result.outcome, result.status) == (Outcome.DEFERRED, "4.3.5")


@pytest.mark.real(root=True)
def test_a_program_cannot_become_root_again_and_sees_nothing_of_the_agent(root_tree: Tree) -> None:
    agent = root_tree.start(default_privs="daemon")
    line = "cat /proc/$PPID/environ /proc/$PPID/mem /etc/shadow && exit 0; exit 67"
    assert pipe_to(agent, line, root_tree.message()).status == "5.1.1"


@pytest.mark.real(root=True)
def test_root_has_a_mailbox_whatever_mailbox_command_and_home_mailbox_say(root_tree: Tree) -> None:
    out = writable(root_tree)
    agent = root_tree.start(mailbox_command=f"cat >{out}/got", home_mailbox="Maildir/")
    assert agent.deliver("root", root_tree.message())[0].outcome is Outcome.DELIVERED  # type: ignore[union-attr]
    assert not list(out.iterdir()) and (root_tree.spool / "root").stat().st_uid == 0


def test_a_shell_that_is_named_gets_every_command_line(tree: Tree) -> None:
    shell = script(tree, f'echo "$@" >{writable(tree)}/words; cat >/dev/null', "shell")
    agent = tree.start(default_privs="daemon", local_command_shell=f"{shell} -r -c")
    assert pipe_to(agent, "plain words", tree.message()).outcome is Outcome.DELIVERED
    assert (writable(tree) / "words").read_text() == "-r -c plain words\n"


@pytest.mark.parametrize("name", ["there", "missing"])
def test_programs_run_in_the_directory_that_is_named_or_wait_for_it(tree: Tree, name: str) -> None:
    place = writable(tree, "there")
    agent = tree.start(default_privs="daemon", command_execution_directory=str(place.parent / name))
    result = pipe_to(agent, f"pwd >{place}/pwd", tree.message())
    if name == "missing":
        assert (result.outcome, result.status) == (Outcome.DEFERRED, "4.3.0")
        assert not list(place.iterdir())
    else:
        assert result.outcome is Outcome.DELIVERED and (place / "pwd").read_text() == f"{place}\n"


def test_a_user_may_have_a_mailbox_command_of_his_own(tree: Tree) -> None:
    out = writable(tree)
    table = tree.spool.parent / "commands"
    table.write_text(f"games\tcat >{out}/of-games\n")
    agent = tree.start(mailbox_command=f"cat >{out}/of-$USER", mailbox_command_maps=f"hash:{table}")
    for user in ("games", "news"):
        (result,) = agent.deliver(user, tree.message())
        assert result and result.outcome is Outcome.DELIVERED
    assert sorted(os.listdir(out)) == ["of-games", "of-news"]
    table.unlink()
    (result,) = agent.deliver("games", tree.message())
    assert result and (result.outcome, result.status) == (Outcome.DEFERRED, "4.3.0")


@pytest.mark.real(root=True)
def test_a_root_instance_reads_the_commands_of_users_as_mail_owner(root_tree: Tree) -> None:
    out = writable(root_tree)
    table = root_tree.spool.parent / "commands"
    table.write_text(f"games id -un >{out}/who\nroot touch {out}/as-root\n")
    agent = root_tree.start(mailbox_command_maps=f"hash:{table}", mail_owner="daemon")
    (result,) = agent.deliver("games", root_tree.message())
    assert result and result.outcome is Outcome.DELIVERED
    assert (out / "who").read_text() == "games\n"
    (result,) = agent.deliver("root", root_tree.message())
    assert result and result.reason == "delivered to mailbox" and not (out / "as-root").exists()
    table.write_text("games true\n")
    table.chmod(0o600)
    (result,) = agent.deliver("games", root_tree.message())
    assert result and result.outcome is Outcome.DEFERRED
