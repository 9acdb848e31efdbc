"""Programs of the system that report by mail what they did or saw."""

import pytest
from callers_machine import HOST, CallersMachine, wait_until

ALICE, BOB = f"alice@{HOST}", f"bob@{HOST}"


@pytest.mark.caller("at")
def test_at_mails_what_a_job_printed(machine: CallersMachine, home: str) -> None:
    assert "job" in machine.shell("echo 'echo the job of at' | at now 2>&1")
    mail = machine.mail("alice", "the job of at")
    assert (mail["Return-Path"], mail["From"], mail["To"]) == (f"<{ALICE}>", f"Alice Example <{ALICE}>", ALICE)
    assert mail["Subject"].startswith("Output from your job")
    assert mail.body == "the job of at\n"


@pytest.mark.caller("at")
def test_at_mails_that_a_silent_job_is_done(machine: CallersMachine, home: str) -> None:
    said = machine.shell("echo true | at -m now 2>&1")
    number = said.partition("job ")[2].split()[0]
    subject = "Output from your job" + number.rjust(9)
    assert machine.mail("alice", subject)["Subject"] == subject


@pytest.mark.caller("anacron")
def test_anacron_mails_what_a_job_printed(machine: CallersMachine) -> None:
    tab = machine.write("/root/anacrontab", "MAILTO=bob\n1 0 a.job echo the job of anacron\n", "")
    said = machine.run("anacron", "-d", "-n", "-f", "-t", tab, "-S", "/run").stderr.decode()
    assert "terminated (mailing output)" in said
    mail = machine.mail("bob", "the job of anacron")
    assert (mail["Return-Path"], mail["From"], mail["To"]) == (f"<root@{HOST}>", f"Anacron <root@{HOST}>", BOB)
    assert mail["Subject"] == f"Anacron job 'a.job' on {HOST}"


@pytest.mark.caller("logrotate")
def test_logrotate_mails_an_old_log_though_its_stdout_is_closed(machine: CallersMachine) -> None:
    log = machine.write("/var/log/old.log", "the old log\nof two lines\n", "")
    conf = machine.write("/root/logrotate.conf", f"{log} {{\n rotate 0\n mail bob\n mailfirst\n}}\n", "")
    assert machine.shell(f"logrotate -f -s /run/logrotate {conf}", "root") == ""
    mail = machine.mail("bob", "the old log\n")
    assert (mail["Return-Path"], mail["Subject"]) == (f"<root@{HOST}>", f"{log}.1")
    assert mail.body == "the old log\nof two lines\n"


@pytest.mark.caller("sudo")
def test_sudo_reports_a_user_who_may_not(machine: CallersMachine, home: str) -> None:
    said = machine.shell("echo wonderland | sudo -S -p '' id 2>&1 || echo status $?")
    assert said.endswith("status 1\n")
    mail = machine.mail("root", "COMMAND=/usr/bin/id")
    assert (mail["Return-Path"], mail["From"], mail["To"]) == (f"<{ALICE}>", ALICE, f"root@{HOST}")
    assert "SECURITY information" in mail["Subject"]
    assert "user NOT in sudoers" in mail.body


@pytest.mark.caller("sudo")
def test_sudo_reports_a_wrong_password(machine: CallersMachine, home: str) -> None:
    machine.write("/etc/sudoers.d/carol", "Defaults mail_badpass, passwd_tries = 1\ncarol ALL = (ALL) ALL\n", "", 0o440)
    machine.shell("! echo guessed | sudo -S -p '' true 2>&1", "carol")
    mail = machine.mail("root", "COMMAND=/usr/bin/true")
    assert (mail["Return-Path"], mail["To"]) == (f"<carol@{HOST}>", f"root@{HOST}")
    assert "incorrect password attempt" in mail.body


@pytest.mark.caller("mdadm")
def test_mdadm_mails_its_test_message(machine: CallersMachine) -> None:
    array = "ARRAY /dev/md7 metadata=1.2 UUID=3aaa0122:29827cfa:5331ad66:ca767371"
    machine.write("/etc/mdadm/mdadm.conf", f"{array}\nMAILADDR bob\nMAILFROM raid@{HOST}\n", "")
    assert machine.shell("mdadm --monitor --scan --oneshot --test", "root") == ""
    mail = machine.mail("bob", "TestMessage event had been detected on md device /dev/md7")
    assert (mail["Return-Path"], mail["From"], mail["To"]) == (f"<root@{HOST}>", f"raid@{HOST}", BOB)
    assert mail["Subject"] == f"TestMessage event on /dev/md7:{HOST}"


@pytest.mark.caller("logwatch")
def test_logwatch_mails_its_report(machine: CallersMachine) -> None:
    machine.script("date '+%b %e %H:%M:%S host CRON[77]: (alice) CMD (a job that is in the log)' > /var/log/cron")
    words = ["--output", "mail", "--mailto", "bob", "--range", "all", "--service", "cron", "--detail", "high"]
    assert machine.shell(f"logwatch {' '.join(words)}", "root") == ""
    mail = machine.mail("bob", "a job that is in the log: 1 Time(s)")
    assert (mail["Return-Path"], mail["From"], mail["To"]) == (f"<root@{HOST}>", f"root@{HOST}", BOB)
    assert mail["Subject"] == f"Logwatch for {HOST} (Linux)"
    assert mail.body.rstrip().endswith("Logwatch End #########################")


@pytest.mark.last
@pytest.mark.caller("cron")
def test_cron_mails_what_a_job_printed(machine: CallersMachine) -> None:
    wait_until(lambda: "the night job" in machine.mailbox("bob"), "a full minute with cron running", 150)
    mail = machine.mail("bob", "\nthe night job\nand its errors\n")
    assert (mail["Return-Path"], mail["From"], mail["To"]) == (f"<{ALICE}>", f"root@{HOST} (Cron Daemon)", BOB)
    assert mail["Subject"] == "Cron <alice@host> echo the night job; echo and its errors >&2; crontab -r"
    assert mail.header.get_all("X-Cron-Env", [])[-1] == "<LOGNAME=alice>"
    assert mail.body == "the night job\nand its errors\n"
