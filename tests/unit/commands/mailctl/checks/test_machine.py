"""mailctl check of the machine: its clock, other mail systems, the name sendmail, and SELinux."""

from pathlib import Path

import pytest

from sendmail_py.commands.mailctl.checks import machine
from sendmail_py.commands.mailctl.checks.finding import ERROR, WARNING


@pytest.mark.parametrize(
    ("now", "is_set", "level"), [(2e9, True, ""), (2e9, False, WARNING), (0, True, ERROR), (1.6e9, False, ERROR)]
)
def test_a_clock_that_is_wrong_or_free_is_told(now: float, is_set: bool, level: str) -> None:
    found = list(machine.clock(now, is_set))
    assert [(f.level, f.repair) for f in found] == ([(level, "timedatectl set-ntp true")] if level else [])


@pytest.mark.parametrize(
    ("path", "says", "repair"),
    [
        ("var/spool/postfix/deferred/A/ABC", "1 file in the queue of Postfix", "postqueue -f"),
        ("var/spool/exim4/input/1-D", "1 file in the queue of Exim", "exim4 -qff"),
        ("var/spool/mqueue/qf1", "1 file in the queue of sendmail", "-q"),
        (
            "etc/systemd/system/multi-user.target.wants/postfix.service",
            "postfix.service is started at boot, too",
            "systemctl disable --now postfix.service",
        ),
    ],
)
def test_what_another_mail_system_left_is_told(path: str, says: str, repair: str, tmp_path: Path) -> None:
    assert list(machine.other_systems(tmp_path)) == []
    (tmp_path / path).parent.mkdir(parents=True)
    (tmp_path / path).write_text("x")
    (found,) = machine.other_systems(tmp_path)
    assert says in found.text and repair in found.repair


def test_our_own_sendmail_is_no_other(tmp_path: Path) -> None:
    (tmp_path / "usr/sbin").mkdir(parents=True)
    (tmp_path / "usr/sbin/sendmail").write_bytes(Path("bin/sendmail").read_bytes())
    assert list(machine.name_sendmail(tmp_path)) == []


@pytest.mark.parametrize(
    ("beside", "repair"),
    [
        ("usr/bin/dpkg", "apt-get remove $(dpkg -S {} | cut -d: -f1); mailctl setup"),
        ("usr/bin/rpm", "dnf remove $(rpm -qf {}); mailctl setup"),
        ("usr/sbin/sendmail.sendmail-py", "alternatives --set mta /usr/sbin/sendmail.sendmail-py"),
        ("usr/bin/sendmail.sendmail-py", "alternatives --set mta /usr/bin/sendmail.sendmail-py"),
        ("usr/bin/nothing", "mv /usr/sbin/sendmail /usr/sbin/sendmail.old; mailctl setup"),
    ],
)
def test_the_name_of_another_program_is_taken_over_in_the_distributions_way(
    beside: str, repair: str, tmp_path: Path
) -> None:
    program = tmp_path / "usr/sbin/sendmail"
    for path in (program, tmp_path / "usr/sbin/exim4", tmp_path / beside):
        path.parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "usr/sbin/exim4").write_text("another")
    (tmp_path / beside).touch()
    program.symlink_to("exim4")
    (found,) = machine.name_sendmail(tmp_path)
    assert found.text.startswith(f"/usr/sbin/sendmail is another program ({tmp_path}/usr/sbin/exim4)")
    assert found.repair == repair.format(f"{tmp_path}/usr/sbin/exim4")


@pytest.mark.parametrize(
    ("is_link", "repair"), [(False, "mailctl setup"), (True, "rm /usr/sbin/sendmail; mailctl setup")]
)
def test_a_name_that_nothing_has_is_told(is_link: bool, repair: str, tmp_path: Path) -> None:
    (tmp_path / "usr/sbin").mkdir(parents=True)
    if is_link:
        (tmp_path / "usr/sbin/sendmail").symlink_to("gone")
    (found,) = machine.name_sendmail(tmp_path)
    assert (found.text[:35], found.repair) == ("/usr/sbin/sendmail is not there: wh", repair)


@pytest.mark.parametrize(
    ("enforce", "boolean", "web", "told"),
    [("1", "0 0", True, True), ("1", "1 1", True, False), ("0", "0 0", True, False), ("1", "0 0", False, False)],
)
def test_selinux_between_a_web_server_and_sendmail_is_told(
    enforce: str, boolean: str, web: bool, told: bool, tmp_path: Path
) -> None:
    policy = tmp_path / "sys/fs/selinux"
    (policy / "booleans").mkdir(parents=True)
    (policy / "enforce").write_text(enforce)
    (policy / "booleans/httpd_can_sendmail").write_text(boolean)
    if web:
        (tmp_path / "usr/sbin").mkdir(parents=True)
        (tmp_path / "usr/sbin/nginx").touch()
    assert [f.repair for f in machine.selinux(tmp_path)] == ["setsebool -P httpd_can_sendmail on"] * told
