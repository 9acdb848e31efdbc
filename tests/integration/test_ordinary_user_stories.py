"""Instances of an ordinary user, where the tests run as root: nothing in them may need root."""

import os
import subprocess

import pytest

from tests.integration.instance import DOMAIN, PATH, Instance

UID = 61234
SCRIPT = """
set -eu
cp /etc/passwd "$1/passwd"
echo "reader:x:$2:$2:A Reader:$1/home:/bin/sh" >> "$1/passwd"
mount --bind "$1/passwd" /etc/passwd
exec setpriv --reuid="$2" --regid="$2" --clear-groups sh -eu -c '
"$tree/bin/mailctl" init
"$tree/bin/mailctl" config -e home_mailbox=Maildir/ myhostname=here.test
"$tree/bin/mailctl" start > "$MAIL_CONFIG/output" 2>&1
trap "\\"$tree/bin/mailctl\\" stop" EXIT
printf "Subject: to my home\\n\\nFrom here on\\n" | "$tree/bin/sendmail" -i reader
count=0
while test "$("$tree/bin/mailctl" queue count)" != 0; do
    count=$((count + 1))
    test $count -lt 200 || { cat "$MAIL_CONFIG/maillog"; exit 1; }
    sleep 0.05
done
'
"""


@pytest.mark.real("setpriv", root=True)
def test_an_ordinary_user_runs_an_instance_in_which_all_is_his(place, tree):
    with Instance(place / "i", user="nobody", tree=tree) as instance:
        instance.start()
        instance.submit(b"Subject: to two\n\nx\n", "nobody", "daemon", "no-such-user-here")
        text = instance.wait_for_mail("nobody", b"rfc822; no-such-user-here@")
        assert f"Delivered-To: nobody@{DOMAIN}\n".encode() in text
        assert b"Subject: to two\n" in instance.wait_for_mail("daemon")
        instance.wait_empty()
        found = list((place / "i").rglob("*"))
        assert {path.lstat().st_uid for path in found} == {(place / "i").stat().st_uid}
        assert all(path.lstat().st_uid for path in found)


@pytest.mark.real("setpriv", "unshare", "mount", root=True)
def test_with_home_mailbox_a_slash_makes_a_maildir_in_the_home(place, tree):
    home = place / "home"
    home.mkdir(mode=0o700)
    os.chown(home, UID, UID)
    environment = {"PATH": PATH, "MAIL_CONFIG": f"{home}/i", "tree": str(tree), "HOME": str(home)}
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", SCRIPT, "sh", str(place), str(UID)]
    with open(place / "output", "w+b") as file:
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=file, stderr=file, timeout=120, cwd="/"
        )
    assert done.returncode == 0, (place / "output").read_text()
    (path,) = (home / "Maildir" / "new").iterdir()
    assert os.listdir(home / "Maildir" / "tmp") == []
    text = path.read_text()
    assert text.startswith("Return-Path: <reader@")
    assert "\nFrom: A Reader <reader@" in text
    assert "\n\nFrom here on\n" in text  # a Maildir needs no >From
    assert (path.stat().st_uid, path.stat().st_mode & 0o777) == (UID, 0o600)


@pytest.mark.real("setpriv", root=True)
def test_in_the_background_a_log_for_standard_output_goes_to_a_file_that_is_named(place, tree):
    with Instance(place / "i", user="nobody", tree=tree, maillog_file="/dev/stdout") as instance:
        instance.start()
        log = place / "i" / "run" / "maillog"
        assert f"warning: standard output ends here; the log goes to {log}\n" in instance.output()
        assert instance.reload().returncode == 0
        instance.submit(b"Subject: in sight\n\nx\n", "daemon")
        instance.wait_for_mail("daemon")
        instance.wait_for(lambda: f"to=<daemon@{DOMAIN}>" in log.read_text(), "the delivery in the log")
        assert "master[" in log.read_text()
        assert b"status=sent" in instance.mailctl("trace", "daemon", check=True).stdout
