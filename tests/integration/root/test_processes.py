"""Who the processes of a root instance are, and when they stop being root."""

import re

from machine import SPOOL, Machine

OWN, NET = "sendmail-py", "sendmail-py-net"


def ids(machine: Machine, user: str) -> tuple[str, str]:
    """Return uid and gid of a user of the machine, as texts."""
    entry = machine.run("getent", "passwd", user).stdout.decode().split(":")
    return entry[2], entry[3]


def identity(machine: Machine, pid: int) -> tuple[str, str, str]:
    """Return real, effective, saved and file-system ids of a process as /proc shows them, and its groups."""
    status = machine.status_of(pid)
    return status["Uid"], status["Gid"], status["Groups"]


def all_four(text: str) -> str:
    return "\t".join([text] * 4)


def test_each_service_runs_as_the_user_it_should_and_holds_no_group_or_capability(running: Machine) -> None:
    running.submit("alice", "bob", text="so that local runs")
    running.wait_for_mail("bob", "so that local runs")
    services = running.services()
    assert {"master", "pickup", "qmgr", "local"} <= set(services)
    for name in ("master", "local"):
        assert identity(running, services[name])[:2] == (all_four("0"), all_four("0"))
    uid, gid = ids(running, OWN)
    for name in ("pickup", "qmgr"):
        assert identity(running, services[name]) == (all_four(uid), all_four(gid), "")
        assert running.status_of(services[name])["CapEff"] == "0" * 16


def test_no_installed_program_is_setuid_or_setgid(running: Machine) -> None:
    assert running.script("find /usr/local -type f -perm /6000") == ""
    assert "usr/local/bin/sendmail" in running.script("find /usr/local -name sendmail -type f -perm -005")


def test_the_queue_is_as_set_up_and_only_its_maildrop_is_open_to_users(running: Machine) -> None:
    listing = running.script(f"cd {SPOOL} && stat -c '%n %a %U:%G' . *").splitlines()
    closed = [f"{name} 700 {OWN}:{OWN}" for name in ("active", "corrupt", "deferred", "hold", "incoming", "lock")]
    expected = [". 755 root:root", *closed, f"maildrop 3733 {OWN}:{OWN}", f"tmp 700 {OWN}:{OWN}"]
    assert listing == [*expected, f"trigger 622 {OWN}:{OWN}"]


def test_services_read_their_code_after_dropping_root_and_nobody_compiles(stopped: Machine) -> None:
    with stopped.traced("execve,openat,setresuid") as trace:
        stopped.submit("alice", "bob", text="traced")
        stopped.wait_for_mail("bob", "traced")
    uid, _ = ids(stopped, OWN)
    dropped: set[str] = set()
    read_by: dict[str, set[str]] = {}
    for pid, line in trace:
        if re.search(rf"setresuid\({uid}, {uid}, {uid}\) += 0", line):
            dropped.add(pid)
        if found := re.search(r'sendmail-py/sendmail_py/services/(?:__pycache__/)?(\w+)\.[\w.-]+", O_RDONLY', line):
            read_by.setdefault(found[1], set()).add(pid)
        assert not re.search(r"/usr/local/share/.*O_WRONLY|/usr/local/share/.*O_RDWR", line)
    assert len(dropped) == 2  # pickup and qmgr
    for module in ("pickup", "intake", "qmgr", "active_queue", "finishing"):
        assert read_by[module] and read_by[module] <= dropped, module
    assert not read_by["local"] & dropped
