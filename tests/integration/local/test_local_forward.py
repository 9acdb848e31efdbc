"""A user's .forward: what is believed, what is ignored, and what comes back to the queue manager."""

import os
import pwd
import re
from pathlib import Path

import pytest
from local_service import Agent, Tree

from sendmail_py.core.envelope import MAILBOX
from sendmail_py.core.result import Outcome
from sendmail_py.formats.batch import HandBack

USER = "nobody" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name


@pytest.fixture
def home(tree: Tree) -> Path:
    """The directory where the user's .forward files are."""
    path = tree.spool.parent / "home"
    path.mkdir(0o700)
    give(path, USER)
    return path


def give(path: Path, user: str) -> None:
    if os.getuid() == 0:
        entry = pwd.getpwnam(user)
        os.chown(path, entry.pw_uid, entry.pw_gid, follow_symlinks=False)


def start(tree: Tree, home: Path, **settings: str) -> Agent:
    paths = f"{home}/.forward${{recipient_delimiter}}${{extension}}, {home}/.forward"
    return tree.start(forward_path=paths, **settings)


def write(home: Path, text: str | bytes, name: str = ".forward", mode: int = 0o600) -> Path:
    path = home / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(mode)
    give(path, USER)
    return path


def deliver(agent: Agent, tree: Tree, *recipient: str, **more: str) -> Outcome | None:
    """Deliver one message; None when it was handed back."""
    (result,) = agent.deliver(USER, tree.message(b"Subject: x\n\nhello\n", *recipient, **more))
    return result.outcome if result else None


def is_ignored(agent: Agent, tree: Tree, reason: str) -> bool:
    """Say whether mail goes to the mailbox, and the log says why."""
    assert deliver(agent, tree) is Outcome.DELIVERED
    assert not agent.handed_back
    assert re.search(rf"\.forward.* of user {USER} is ignored: .*{reason}", tree.log.read_text()), tree.log.read_text()
    return (tree.spool / USER).stat().st_size > 0


def test_all_kinds_of_targets_come_back_as_an_expansion_with_the_users_uid(tree: Tree, home: Path) -> None:
    agent = start(tree, home)
    program = '"|/bin/filter \\"a b\\" c\\\\d"'
    write(home, f"# mine\n\\{USER}, carol@example.org (Carol)\n{program}, /var/box\n/var/dir/\nbob\n")
    assert deliver(agent, tree) is None
    (report,) = agent.handed_back
    assert (report.back, report.uid) == (HandBack.FORWARD, pwd.getpwnam(USER).pw_uid)
    assert agent.forwarded() == [
        f"\\{USER}", "carol@example.org", program, '"/var/box"', '"/var/dir/"', "bob",
    ]  # fmt: skip
    assert not (tree.spool / USER).exists()


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n", f"\\{USER}", f"{USER}\n", f"\\{USER}, {USER}"])
def test_an_empty_file_or_just_the_user_means_the_mailbox(tree: Tree, home: Path, text: str) -> None:
    write(home, text)
    assert deliver(start(tree, home), tree) is Outcome.DELIVERED
    assert (tree.spool / USER).stat().st_size > 0


def test_no_file_and_no_home_mean_the_mailbox(tree: Tree, home: Path) -> None:
    agent = start(tree, home)
    assert deliver(agent, tree) is Outcome.DELIVERED
    home.rmdir()
    assert deliver(agent, tree) is Outcome.DELIVERED
    assert "warning" not in tree.log.read_text()


def test_mail_for_the_mailbox_alone_does_not_look_at_the_file(tree: Tree, home: Path) -> None:
    write(home, "carol@example.org\n")
    agent = start(tree, home)
    (result,) = agent.deliver(USER, tree.message(), target=MAILBOX)
    assert result and result.outcome is Outcome.DELIVERED


def test_the_file_for_an_extension_comes_first_and_the_plain_one_is_for_the_rest(tree: Tree, home: Path) -> None:
    write(home, "plain@example.org\n")
    write(home, "list@example.org\n", ".forward+list")
    agent = start(tree, home)
    for extension, wanted in (("list", "list@example.org"), ("other", "plain@example.org"), ("", "plain@example.org")):
        local = f"{USER}+{extension}" if extension else USER
        assert deliver(agent, tree, f"{local}@here", extension=extension) is None
        assert agent.forwarded() == [wanted]


@pytest.mark.parametrize("extension", ["../secret", "a/../../secret", "$home", "x y"])
def test_an_extension_leads_to_no_file_elsewhere(tree: Tree, home: Path, extension: str) -> None:
    write(home, "secret@example.org\n", "secret")
    (home / ".forward+a").mkdir()
    give(home / ".forward+a", USER)
    assert deliver(start(tree, home), tree, f'"{USER}+{extension}"@here', extension=extension) is Outcome.DELIVERED


def test_an_address_in_forward_path_leads_into_no_other_directory(tree: Tree, home: Path) -> None:
    write(home, "secret@example.org\n", "secret")
    (home / "by-address").mkdir()
    give(home / "by-address", USER)
    agent = tree.start(forward_path=f"{home}/by-address/$local")
    recipient = f'"{USER}+/../../secret"@here'
    assert deliver(agent, tree, recipient, extension="/../../secret") is Outcome.DELIVERED
    write(home, "carol@example.org\n", f"by-address/{USER}")
    assert deliver(agent, tree, f"{USER}@here") is None
    assert agent.forwarded() == ["carol@example.org"]


def test_messages_of_one_batch_each_follow_their_own_extension(tree: Tree, home: Path) -> None:
    write(home, "list@example.org\n", ".forward+list")
    agent = start(tree, home)
    messages = [tree.message(b"\n\n", f"{USER}+list@here", extension="list"), tree.message(b"\n\n", f"{USER}@here")]
    assert [result and result.outcome for result in agent.deliver(USER, *messages)] == [None, Outcome.DELIVERED]
    assert agent.forwarded() == ["list@example.org"]


@pytest.mark.parametrize(("mode", "reason"), [(0o620, "others may write"), (0o602, "others may write")])
def test_a_file_that_others_may_write_is_ignored(tree: Tree, home: Path, mode: int, reason: str) -> None:
    write(home, "evil@example.org\n", mode=mode)
    assert is_ignored(start(tree, home), tree, reason)


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o722])
def test_a_file_in_a_directory_that_others_may_write_is_ignored(tree: Tree, home: Path, mode: int) -> None:
    write(home, "evil@example.org\n")
    home.chmod(mode)
    assert is_ignored(start(tree, home), tree, "directory above")


@pytest.mark.parametrize("kind", ["symlink", "fifo", "directory", "two names"])
def test_what_is_no_plain_file_of_one_name_is_ignored(tree: Tree, home: Path, kind: str) -> None:
    path = home / ".forward"
    if kind == "symlink":
        path.symlink_to(write(home, "evil@example.org\n", "real"))
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    else:
        os.link(write(home, "evil@example.org\n"), home / "other")
    give(path, USER)
    assert is_ignored(start(tree, home), tree, "")


@pytest.mark.parametrize(
    "text", ["carol@example.org, (open\n", b"a\0b@example.org\n", "two words\n", "|\n", "x" * 70_000 + "\n"]
)
def test_a_file_that_cannot_be_understood_is_ignored(tree: Tree, home: Path, text: str | bytes) -> None:
    write(home, text)
    assert is_ignored(start(tree, home), tree, "")


def test_a_file_that_is_too_large_is_ignored_before_it_takes_long(tree: Tree, home: Path) -> None:
    write(home, f":include:{home}/more\n")
    os.truncate(write(home, "a@x\n" * 10, "more"), 1 << 40)
    agent = start(tree, home)
    assert is_ignored(agent, tree, "no text")
    write(home, "a@x\n" * 70_000, "more")
    assert is_ignored(agent, tree, "too large")


def test_included_files_are_read_too_and_each_once(tree: Tree, home: Path) -> None:
    write(home, f"a@x, :include:{home}/more, z@x\n")
    write(home, f"b@x\n:include:{home}/more\n:include:{home}/.forward\nc@x, a@x\n", "more")
    agent = start(tree, home)
    assert deliver(agent, tree) is None
    assert agent.forwarded() == ["a@x", "b@x", "c@x", "z@x"]


def test_an_included_file_that_is_missing_defers_and_an_unsafe_one_spoils_the_whole(tree: Tree, home: Path) -> None:
    write(home, f":include:{home}/more\n")
    agent = start(tree, home)
    assert deliver(agent, tree) is Outcome.DEFERRED
    write(home, "evil@x\n", "more", 0o666)
    assert is_ignored(agent, tree, "includes .*others may write")


def test_a_forwarding_loop_ends_before_the_expansion(tree: Tree, home: Path) -> None:
    write(home, "carol@example.org\n")
    agent = start(tree, home)
    message = tree.message(f"Delivered-To: {USER}@here\n\nx\n".encode(), f"{USER}@here")
    (result,) = agent.deliver(USER, message)
    assert result and (result.outcome, result.status) == (Outcome.FAILED, "5.4.6")
    assert not agent.handed_back


def test_a_home_that_is_required_and_not_there_defers(tree: Tree, home: Path) -> None:
    agent = start(tree, home, require_home_directory="yes")
    (result,) = agent.deliver("daemon" if os.path.isdir("/usr/sbin") else USER, tree.message())
    assert result is not None
    if os.path.isdir(pwd.getpwnam(USER).pw_dir):
        assert deliver(agent, tree) is Outcome.DELIVERED
    else:
        assert deliver(agent, tree) is Outcome.DEFERRED


def test_mail_for_unknown_users_and_for_mailboxes_goes_back_where_another_transport_may_have_it(
    tree: Tree, home: Path
) -> None:
    agent = start(tree, home, luser_relay="carol", mailbox_transport="smtp:far.example")
    assert agent.deliver("no-such-user-xyzzy", tree.message()) == [None]
    assert agent.handed_back.pop().back is HandBack.UNKNOWN
    assert deliver(agent, tree) is None
    assert agent.handed_back.pop().back is HandBack.MAILBOX
    write(home, "carol@example.org\n")
    assert deliver(agent, tree) is None
    assert agent.forwarded() == ["carol@example.org"]


@pytest.mark.real(root=True)
@pytest.mark.parametrize("owner", ["daemon", "root"])
def test_a_file_of_another_user_is_ignored_but_roots_counts(root_tree: Tree, owner: str) -> None:
    home = root_tree.spool.parent / "home"
    home.mkdir(0o755)
    give(home, "games")
    give(write(home, "carol@example.org\n", mode=0o644), owner)
    agent = start(root_tree, home)
    (result,) = agent.deliver("games", root_tree.message())
    if owner == "root":
        assert result is None and agent.forwarded() == ["carol@example.org"]
    else:
        assert result and result.outcome is Outcome.DELIVERED
        assert "belongs to uid 1" in root_tree.log.read_text()


@pytest.mark.real(root=True)
def test_a_file_that_the_user_cannot_read_is_not_read_for_him(root_tree: Tree) -> None:
    home = root_tree.spool.parent / "home"
    home.mkdir(0o755)
    give(home, "games")
    secret = write(home, "secret@example.org\n", "secret", 0o600)
    give(secret, "root")
    give(write(home, f":include:{secret}\n"), "games")
    (result,) = start(root_tree, home).deliver("games", root_tree.message())
    assert result and result.outcome is Outcome.DELIVERED
    assert f"is ignored: it includes {secret}, but it cannot be opened" in root_tree.log.read_text()
    os.rename(secret, home / ".forward")
    (result,) = root_tree.agents[0].deliver("games", root_tree.message())
    assert result and result.outcome is Outcome.DELIVERED
    assert not root_tree.agents[0].handed_back


@pytest.mark.real("strace", root=True)
def test_root_opens_nothing_below_the_home_itself(root_tree: Tree) -> None:
    home = root_tree.spool.parent / "home"
    home.mkdir(0o700)
    give(home, "games")
    give(write(home, f":include:{home}/more\n/box, {home}/Maildir/\n"), "games")
    give(write(home, f"{home}/box\n", "more"), "games")
    trace = root_tree.spool.parent / "trace"
    calls = "trace=%file,setreuid,setresuid"
    wrapper = ("strace", "-qq", "-o", str(trace), "-e", calls)
    agent = start(root_tree, home, wrapper=wrapper)  # type: ignore[arg-type]
    assert agent.deliver("games", root_tree.message()) == [None]
    uid = pwd.getpwnam("games").pw_uid
    for place in (f"{home}/box", f"{home}/Maildir/"):
        (result,) = agent.deliver(place, root_tree.message(), target=place, uid=uid)
        assert result and result.outcome is Outcome.DELIVERED, result
    agent.stop()
    acting, seen = 0, 0
    for line in trace.read_text().splitlines():
        if line.startswith(("setreuid(", "setresuid(")):
            acting = int(line.split("(")[1].split(")")[0].split(",")[1])
        elif str(home) in line or re.search(r'"(\.forward|more|box|new|tmp|cur)"', line):
            seen += 1
            assert acting == uid, line
    assert seen >= 6
