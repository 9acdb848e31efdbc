"""strace over a whole run: who looks into a home is its user, for .forward, Maildir, files and programs."""

import re

from machine import Machine, wait_until

FORWARD = '\\alice, /home/alice/box, /home/alice/Maildir/, "|cat >/home/alice/piped", :include:/home/alice/more\n'
CALLS = "%file,setresuid,setreuid,setuid,clone,clone3,fork,vfork"
OF_HOMES = re.compile(r'/home/|"(\.forward[^"]*|more|box[^"]*|\.lk[^"]*box[^"]*|new|tmp|cur|\d+\.Q[^"]*)"')


def opened_as(trace: list[tuple[str, str]]) -> list[tuple[int, str]]:
    """Return the calls on the files of homes, each with the effective uid of its process at that time."""
    lines: dict[int, list[str]] = {}
    for suffix, line in trace:
        lines.setdefault(int(suffix[1:]), []).append(line)
    found: list[tuple[int, str]] = []
    started: set[int] = set()

    def follow(pid: int, uid: int) -> None:
        for line in lines[pid]:
            change = re.match(r"set(?:res|re|)uid\(([-\d, ]+)\) += 0", line)
            child = re.match(r"(?:clone3?|v?fork)\(.*= (\d+)$", line)
            if change:
                asked = [int(text) for text in change[1].split(",")]
                effective = asked[min(1, len(asked) - 1)]
                uid = effective if effective >= 0 else uid
            elif child and int(child[1]) in lines:
                started.add(int(child[1]))
                follow(int(child[1]), uid)
            elif OF_HOMES.search(line):
                found.append((uid, line))

    follow(min(lines), 0)
    assert started | {min(lines)} == set(lines), "the parent of a process is not known"
    return found


def test_nobody_but_its_user_opens_anything_in_a_home(stopped: Machine) -> None:
    stopped.configure(recipient_delimiter="+", home_mailbox="Maildir/")
    write = "umask 077; cd /home/alice; cat >.forward; echo /home/alice/box2 >more; echo /home/alice/box3 >.forward+x"
    stopped.run("sh", "-euc", write, user="alice", input=FORWARD.encode())
    try:
        with stopped.traced(CALLS) as trace:
            stopped.submit("bob", "alice", "alice+x", "bob", text="into homes")
            stopped.wait_for_log("status=sent (delivered to command: cat >/home/alice/piped)")
            wait_until(lambda: stopped.run("mailctl", "queue", "count").stdout.strip() == b"0", "an empty queue")
        for place in ("box", "box2", "box3", "piped", "Maildir/new"):
            stopped.script(f"grep -rq 'into homes' /home/alice/{place}")
    finally:
        stopped.configure(recipient_delimiter="", home_mailbox="")
        stopped.script("cd /home/alice; rm -rf .forward .forward+x more box* piped Maildir /home/bob/Maildir")
    found = opened_as(trace)
    alice, bob = (int(stopped.script(f"id -u {user}")) for user in ("alice", "bob"))
    assert {uid for uid, _ in found} == {alice, bob}, [line for uid, line in found if uid == 0][:20]
    for name in ('".forward"', '".forward+x"', '"more"', '"box"', '/Maildir/new"', "/home/alice/piped"):
        assert any(name in line for _, line in found), name
