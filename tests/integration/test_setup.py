"""mailctl setup as root, with /etc and the variable directories replaced by copies for its own eyes."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
PRIVATE_MACHINE = """
set -eu
mount -t tmpfs none "$1"
cp -a /etc "$1/etc"
mount --bind "$1/etc" /etc
for directory in /var/lib /var/spool /var/log; do mount -t tmpfs -o mode=755 none "$directory"; done
rm -rf /etc/sendmail-py
for user in sendmail-py sendmail-py-net; do userdel "$user" 2>/dev/null || true; done
printf 'postmaster: root\\n' > /etc/aliases
setup() { "$2" -IS -c 'import sys; sys.path.insert(0, sys.argv[1])
from sendmail_py.commands.mailctl.setup import main
sys.exit(main(sys.argv[2:], "/etc/sendmail-py"))' "$3" ${4:-} ${5:-}; }
"""
LIST = "find /var/spool/sendmail-py /var/lib/sendmail-py /etc/sendmail-py -printf '%p %m %u:%g\\n' | sort\n"


def run(tmp_path: Path, script: str) -> str:
    """Run a script on the private machine; `setup` in it is mailctl setup."""
    script = PRIVATE_MACHINE + script.replace("SETUP", f'setup "$1" "{sys.executable}" "{ROOT}"')
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.real("unshare", "useradd", root=True)
def test_setup_creates_users_queue_state_and_main_cf_with_their_owners_and_modes(tmp_path: Path) -> None:
    listing = run(tmp_path, "SETUP >/dev/null\n" + LIST).splitlines()
    own = "sendmail-py:sendmail-py"
    expected = [
        "/etc/sendmail-py 755 root:root",
        "/etc/sendmail-py/main.cf 644 root:root",
        f"/var/lib/sendmail-py 711 {own}",
        "/var/lib/sendmail-py/oauth 700 sendmail-py-net:sendmail-py-net",
        "/var/lib/sendmail-py/sts 700 sendmail-py-net:sendmail-py-net",
        "/var/spool/sendmail-py 755 root:root",
        *(f"/var/spool/sendmail-py/{name} 700 {own}" for name in ("active", "corrupt", "deferred", "hold", "incoming")),
        f"/var/spool/sendmail-py/lock 700 {own}",
        f"/var/spool/sendmail-py/maildrop 3733 {own}",
        f"/var/spool/sendmail-py/tmp 700 {own}",
        f"/var/spool/sendmail-py/trigger 622 {own}",
    ]
    assert listing == expected


@pytest.mark.real("unshare", "useradd", root=True)
def test_setup_run_again_changes_nothing_and_says_so(tmp_path: Path) -> None:
    script = "SETUP --root-alias alice@example.org >/dev/null\nSETUP --root-alias alice@example.org\ncat /etc/aliases\n"
    assert run(tmp_path, script) == "already set up\npostmaster: root\nroot: alice@example.org\n"


@pytest.mark.real("unshare", "useradd", root=True)
def test_setup_mends_a_directory_and_leaves_its_files_and_main_cf_alone(tmp_path: Path) -> None:
    script = """SETUP >/dev/null
    echo 'relayhost = mx' > /etc/sendmail-py/main.cf
    touch /var/spool/sendmail-py/hold/file
    chmod 755 /var/spool/sendmail-py/hold
    SETUP
    cat /etc/sendmail-py/main.cf
    stat -c '%a %U' /var/spool/sendmail-py/hold /var/spool/sendmail-py/hold/file
    """
    lines = run(tmp_path, script).splitlines()
    assert lines == ["repaired /var/spool/sendmail-py/hold", "relayhost = mx", "700 sendmail-py", "644 root"]


@pytest.mark.real("unshare", "useradd", root=True)
def test_setup_follows_no_link_in_the_queue(tmp_path: Path) -> None:
    script = """SETUP >/dev/null
    rmdir /var/spool/sendmail-py/hold
    mkdir /var/lib/target
    ln -s /var/lib/target /var/spool/sendmail-py/hold
    SETUP 2>&1 || echo "status $?"
    stat -c '%a %U' /var/lib/target
    """
    in_the_way, status, target = run(tmp_path, script).splitlines()
    assert "/var/spool/sendmail-py/hold is in the way" in in_the_way
    assert (status, target) == ("status 75", "755 root")


@pytest.mark.real("unshare", "useradd", "script", root=True)
def test_setup_asks_at_the_terminal_where_mail_for_root_goes_until_it_is_told(tmp_path: Path) -> None:
    script = """cat > /var/lib/ask <<END
exec "$2" -IS -c 'import sys; sys.path.insert(0, sys.argv[1])
from sendmail_py.commands.mailctl.setup import main
sys.exit(main([], "/etc/sendmail-py"))' "$3"
END
    printf 'root\\nalice@example.org\\n' | script -qec 'sh /var/lib/ask' /dev/null
    cat /etc/aliases
    script -qec 'sh /var/lib/ask' /dev/null < /dev/null
    """
    script = script.replace("$2", sys.executable).replace("$3", str(ROOT))
    said = run(tmp_path, script)
    assert said.count("Where shall mail for root go?") == 2  # `root` is no answer
    assert "root: alice@example.org\n" in said
    assert said.endswith("already set up\n")
