"""The life of an instance: services down and up, the queue's verbs, changes of main.cf, signals."""

import json
import os
import re
import resource
import signal
from pathlib import Path

import pytest

from tests.integration.instance import Instance, me, wait_until
from tests.integration.smtp_server import Served


def send(instance, subject, *words, body="hello"):
    instance.submit(f"Subject: {subject}\n\n{body}\n".encode(), *words)


@pytest.fixture
def resting(tmp_path):
    """An instance that is not started."""
    with Instance(tmp_path / "i") as instance:
        yield instance


@pytest.fixture
def instance(resting):
    """An instance at work."""
    resting.start()
    return resting


# --- services down, and the queue ------------------------------------------------------------------


def test_mail_waits_for_the_services_and_mailq_shows_it(resting):
    send(resting, "patience", me())
    assert f" {me()}\n" in resting.mailq()
    assert "in 1 Request." in resting.mailq()
    assert resting.count() == 1
    assert resting.run("mailctl", "flush").returncode == 69
    resting.start()
    resting.wait_for_mail(me(), b"Subject: patience")
    resting.wait_empty()
    assert resting.mailq() == "Mail queue is empty\n"


@pytest.mark.parametrize("command", [["sendmail", "-q"], ["mailctl", "flush"], ["mailctl", "queue", "flush"]])
def test_mail_of_a_deferred_transport_waits_until_it_is_flushed(resting, command):
    resting.configure(defer_transports="local")
    resting.start()
    send(resting, "held up", me())
    resting.wait_for_log("status=deferred .deferred transport")
    resting.wait_for(lambda: "(deferred transport)" in resting.mailq(), "the reason in mailq")
    assert resting.mailbox(me()) == b""
    resting.run(*command, check=True)
    resting.wait_for_mail(me(), b"Subject: held up")
    resting.wait_empty()


def test_queue_only_mail_waits_for_a_flush(instance):
    send(instance, "only queued", "-odq", me())
    instance.wait_for_log("status=deferred .queued only")
    instance.wait_for(lambda: "only, as its sender asked" in instance.mailq(), "it in mailq")
    instance.run("sendmail", "-q", check=True)
    instance.wait_for_mail(me(), b"Subject: only queued")


@pytest.mark.parametrize("is_running", [True, False])
def test_held_mail_waits_for_its_release(resting, is_running):
    resting.configure(defer_transports="local")
    resting.start()
    send(resting, "held", me())
    line = resting.wait_for_log("status=deferred")[0]
    queue_id = line.split("]: ")[1].partition(":")[0]
    resting.wait_for(lambda: list((resting.path / "queue" / "deferred").glob(f"*/{queue_id}")), "it in deferred/")
    resting.wait_for(lambda: b"1 message\n" in resting.mailctl("queue", "hold", queue_id).stdout, "it on hold")
    assert f"{queue_id}!" in resting.mailq()
    resting.run("sendmail", "-q", check=True)
    assert resting.count() == 1
    if not is_running:
        resting.stop()
    resting.configure(defer_transports="")
    if is_running:
        assert resting.reload().returncode == 0
    assert resting.mailctl("queue", "release", "ALL").stdout == b"release: 1 message\n"
    if not is_running:
        resting.start()
    resting.wait_for_mail(me(), b"Subject: held")


@pytest.mark.real("setpriv", root=True)
def test_without_services_another_users_mailq_gives_one_line_and_69(resting, tree):
    send(resting, "not yours to see", me())
    os.chmod(resting.path, 0o711)  # nobody gets as far as main.cf, and no further than the queue lets him
    parents = [parent for parent in resting.path.parents if parent.stat().st_mode & 1 == 0]
    for parent in parents:
        parent.chmod(0o711)
    done = resting.run(f"{tree}/bin/mailq", user="nobody")
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (69, b"", 1), done.stderr
    resting.start()
    resting.wait_empty()


# --- main.cf ---------------------------------------------------------------------------------------


def test_start_with_a_bad_value_is_78_and_names_file_and_line(resting):
    resting.configure(minimal_backoff_time="soon")
    line = len((resting.path / "main.cf").read_text().splitlines())
    assert resting.start(check=False).returncode == 78
    assert f"{resting.path}/main.cf:{line}: minimal_backoff_time = soon: " in resting.output()
    assert resting.master_pid() == 0


def test_a_reload_with_a_bad_value_is_refused_and_the_old_configuration_serves_on(instance):
    before = (instance.path / "main.cf").read_text()
    instance.configure(queue_run_delay="never")
    done = instance.reload()
    line = len(before.splitlines()) + 1
    assert (done.returncode, done.stderr.count(b"\n")) == (78, 1)
    assert f"{instance.path}/main.cf:{line}: queue_run_delay = never: " in done.stderr.decode()
    assert instance.wait_for_log("reload refused, the old configuration stays: ")
    send(instance, "all the same", me())
    instance.wait_for_mail(me(), b"all the same")


def test_a_reload_puts_a_new_value_in_force(instance):
    send(instance, "before", me())
    instance.wait_for_mail(me(), b"Subject: before")
    instance.configure(mydestination="elsewhere.test", myorigin="elsewhere.test")
    assert instance.reload().returncode == 0
    send(instance, "after", f"{me()}@elsewhere.test")
    assert b"Delivered-To: " + me().encode() + b"@elsewhere.test" in instance.wait_for_mail(me(), b"Subject: after")


def test_sighup_reads_main_cf_again(instance):
    instance.configure(defer_transports="local", queue_directory="/elsewhere")
    os.kill(instance.master_pid(), signal.SIGHUP)
    instance.wait_for_log(r"master\[\d+\]: reload -- version ")
    assert instance.wait_for_log("warning: queue_directory has changed: that needs a restart")
    assert instance.pid_of("qmgr")


def test_what_needs_a_restart_stays_as_it_was_after_a_reload(instance):
    instance.configure(queue_directory="/elsewhere", syslog_name="another")
    for number in (1, 2):  # the second one compares with what is in force, too
        pickup = instance.pid_of("pickup")
        assert instance.reload().returncode == 0
        assert instance.log().count("warning: queue_directory has changed: that needs a restart") == number
        instance.wait_for(lambda old=pickup: instance.pid_of("pickup") not in (0, old), "the next pickup")
    # sendmail reads the new main.cf, finds no such queue, and hands the mail to the services.
    send(instance, "all the same", me())
    instance.wait_for_mail(me(), b"Subject: all the same")
    assert " sendmail-py/pickup[" in instance.log()
    assert "another/" not in instance.log()


def test_an_unknown_parameter_is_warned_of_with_the_nearest_name(resting):
    resting.configure(relay_hosts="x")
    resting.start()
    assert "warning: unknown parameter relay_hosts (did you mean relayhost?)" in resting.output()


def test_a_second_start_is_refused_while_the_first_serves_on(instance):
    pid = instance.master_pid()
    assert instance.start(check=False).returncode == 69
    assert "already running" in instance.output()
    assert instance.master_pid() == pid


def test_start_without_a_spool_says_what_is_missing(resting):
    resting.configure(queue_directory=f"{resting.path}/nowhere")
    assert resting.start(check=False).returncode == 69
    assert "nowhere" in resting.output()


def test_a_host_name_without_a_domain_is_warned_of(resting):
    resting.configure(myhostname="plain")
    resting.start()
    assert "warning: myhostname = plain is not fully qualified" in resting.output()


def test_sendmail_bd_starts_the_services(resting):
    with open(resting.path.parent / "bd", "w") as file:
        done = resting.run("sendmail", "-bd", "-q30m", capture_output=False, stdout=file, stderr=file)
    assert done.returncode == 0
    send(resting, "by the daemon", me())
    resting.wait_for_mail(me(), b"by the daemon")


@pytest.mark.parametrize("closed", ["0<&-", "0<&- 1>&- 2>&-"])
@pytest.mark.parametrize("words", [["mailctl", "start"], ["sendmail", "-bd"]])
def test_the_services_start_whatever_descriptors_the_caller_has_closed(resting, words, closed):
    program = f"{resting.tree}/bin/{words[0]}"
    done = resting.run("/bin/sh", "-c", f'exec "$0" "$1" {closed}', program, words[1])
    assert done.returncode == 0, done.stderr
    send(resting, "all open", me())
    resting.wait_for_mail(me(), b"Subject: all open")


def test_a_verb_that_may_read_its_input_needs_none(resting):
    done = resting.run("/bin/sh", "-c", f'exec "$0" test-delivery {me()} 0<&-', f"{resting.tree}/bin/mailctl")
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("umask", [0o777, 0o177])
def test_an_instance_can_be_made_and_started_under_any_umask(resting, tmp_path, umask):
    resting.path, resting.environment = tmp_path / "u", {**resting.environment, "MAIL_CONFIG": f"{tmp_path}/u"}
    for verb in ("init", "start"):
        done = resting.mailctl(verb, umask=umask, capture_output=False)
        assert done.returncode == 0, verb
    assert resting.mailctl("reload", umask=umask).returncode == 0
    send(resting, "umask", me())
    resting.wait_for_mail(me(), b"Subject: umask")
    for path in resting.path.rglob("*"):
        wanted = 0o700 if path.is_dir() else 0o200
        assert path.lstat().st_mode & wanted == wanted, path


def test_an_instance_takes_bare_addresses_for_its_own(tmp_path):
    """Also where /etc/mailname names a domain that is not this host."""
    instance = Instance(tmp_path / "i")
    (tmp_path / "i" / "main.cf").unlink()
    instance.mailctl("init", check=True)
    origin = instance.mailctl("config", "-hx", "myorigin").stdout.decode().strip()
    assert origin in instance.mailctl("config", "-hx", "mydestination").stdout.decode().replace(",", " ").split()


# --- signals and deaths ------------------------------------------------------------------------------


def test_sigterm_during_deliveries_loses_and_repeats_nothing(resting):
    for number in range(40):
        send(resting, f"number {number}.", me(), "daemon", "bin")
    resting.start()
    resting.wait_for_mail(me())
    os.kill(resting.master_pid(), signal.SIGTERM)
    resting.wait_for(lambda: not resting.master_pid(), "the end of master")
    assert "a delivery may be repeated" not in resting.log()
    resting.start()
    resting.wait_empty()
    for user in (me(), "daemon", "bin"):
        text = resting.mailbox(user)
        assert [text.count(f"Subject: number {number}.\n".encode()) for number in range(40)] == [1] * 40


@pytest.mark.parametrize("service", ["pickup", "qmgr", "local"])
def test_a_service_that_is_killed_is_started_again(instance, service):
    send(instance, "before", me())
    instance.wait_for_mail(me(), b"Subject: before")
    pid = wait_until(lambda: instance.pid_of(service), f"{service} ready")
    os.kill(pid, signal.SIGKILL)
    instance.wait_for_log(rf"service {service} \(pid {pid}\) was killed by signal 9")
    send(instance, "after", me())
    instance.wait_for_mail(me(), b"Subject: after")
    assert instance.pid_of(service) not in (0, pid)


def test_services_end_with_their_master(instance):
    pids = [instance.pid_of(service) for service in ("pickup", "qmgr")]
    assert all(pids)
    os.kill(instance.master_pid(), signal.SIGKILL)
    instance.wait_for(lambda: not any(os.path.exists(f"/proc/{pid}/exe") for pid in pids), "the end of the services")
    instance.start()
    send(instance, "a new master", me())
    instance.wait_for_mail(me(), b"a new master")


# --- places and sizes --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["with spaces and ünïcode", "d" * 120, "/".join(["deep" * 20] * 6), "a $b and ${c}"])
def test_an_instance_works_in_a_directory_of_any_name(tmp_path, name):
    with Instance(tmp_path / name) as instance:
        instance.start()
        send(instance, "any name", me())
        instance.wait_for_mail(me(), b"any name")
        instance.wait_empty()
        assert instance.mailq() == "Mail queue is empty\n"


def peak_memory(pid):
    """Return the largest resident memory that a process has had, in MB."""
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[1]) // 1024 for line in file if line.startswith("VmHWM"))


def test_a_message_of_30_mb_passes_without_sitting_in_memory(resting, tmp_path):
    from tests.servers.name_server import NameServer
    from tests.servers.smtp_sink import SmtpSink

    size = 30 << 20
    zone = {"far.test": {"A": ["127.0.0.1"]}}
    with NameServer(zone) as names, SmtpSink(keep_content=False) as sink:
        resting.configure(message_size_limit=2 * size, resolver_nameservers=names.address, smtp_tcp_port=sink.port)
        resting.start()
        with open(tmp_path / "large", "wb") as file:
            file.write(b"Subject: large\n\n" + (b"0123456789abcdef" * 4 + b"\n") * (size // 65))
        with open(tmp_path / "large", "rb") as file:
            limited = ["/bin/sh", "-c", 'ulimit -v 40000; exec "$0" "$@"', f"{resting.tree}/bin/sendmail"]
            resting.run(*limited, "-i", me(), "x@far.test", stdin=file, input=None, check=True, limit=60)
        resting.wait_for_log(f"to=<{me()}@.*status=sent")
        resting.wait_for_log("to=<x@far.test>.*status=sent")
        assert sink.octets > size
        assert (resting.path / "mail" / me()).stat().st_size > size - 65
        for service in ("pickup", "qmgr", "local", "smtp"):
            assert 0 < peak_memory(resting.pid_of(service)) < 40, service  # 13 to 26 with small messages


@pytest.mark.real("pflogsumm")
def test_pflogsumm_reads_the_log(instance):
    send(instance, "counted", me(), "daemon", "no-such-user-to-count")
    instance.wait_for_mail(me(), b"Final-Recipient: rfc822; no-such-user-to-count@")
    instance.wait_empty()
    done = instance.run("/usr/bin/env", "pflogsumm", "--syslog-name=sendmail-py", instance.path / "maillog", check=True)
    totals = re.findall(r"^ +(\d+) +(delivered|deferred|bounced)\b", done.stdout.decode(), re.MULTILINE)
    assert totals == [("3", "delivered"), ("0", "deferred"), ("1", "bounced")], done.stdout.decode()


def test_a_queue_that_a_newer_program_has_written_is_refused_and_nothing_in_it_is_touched(tmp_path: Path) -> None:
    with Instance(tmp_path / "instance") as instance:
        instance.start()
        instance.stop()
        instance.submit(b"Subject: x\n\nwaits for the newer program\n", me())
        format = instance.path / "queue/lock/format"
        ours = format.read_text()
        format.write_text("sendmail-py-queue 2\n")
        done = instance.start(check=False)
        assert done.returncode == 69
        assert "holds mail of queue format 2, written by a newer sendmail-py" in instance.output()
        format.write_text(ours)  # the newer program, in effect
        instance.start()
        instance.wait_for_mail(me())


def test_a_log_of_json_has_one_event_for_each_delivery_attempt(resting):
    resting.configure(log_format="json")
    resting.start()
    send(resting, "structured", me(), "nobody-here")
    resting.wait_empty()
    events = [json.loads(line) for line in resting.log().splitlines()]
    attempts = [event for event in events if event["event"] == "delivery"]
    assert sorted((event["to"].partition("@")[0], event["status"]) for event in attempts) == sorted(
        [(me(), "sent"), ("nobody-here", "bounced"), (me(), "sent")]  # the last one is the bounce
    )
    assert {"submission", "active", "delivery", "removed"} <= {event["event"] for event in events}


def test_a_low_soft_limit_of_descriptors_is_raised_in_every_service(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with Instance(tmp_path / "i") as instance:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))  # as in a shell with ulimit -n 256
        try:
            instance.start()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for name in ("qmgr", "pickup"):
            assert resource.prlimit(instance.pid_of(name), resource.RLIMIT_NOFILE)[0] > 256


def test_a_reload_while_the_services_stop_opens_no_port_again(tmp_path):
    with Served(tmp_path / "i") as served:
        served.start()
        with served.connect() as line:
            line.reply()
        master, qmgr = served.master_pid(), served.pid_of("qmgr")
        os.kill(qmgr, signal.SIGSTOP)  # so that stopping takes a while
        try:
            os.kill(master, signal.SIGTERM)
            served.wait_for_log("stopping")
            os.kill(master, signal.SIGHUP)
            assert b"stopping" in served.reload().stderr
            with pytest.raises(ConnectionRefusedError):
                served.connect()
        finally:
            os.kill(qmgr, signal.SIGCONT)
        served.wait_for(lambda: not served.master_pid(), "stopped")
