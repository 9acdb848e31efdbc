"""Metrics of a running instance, read over HTTP: by TCP and by a Unix socket."""

import http.client
import os
import signal
import socket
import threading
import time

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.instance import Instance, me
from tests.servers.ports import free_port


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path):
        super().__init__("localhost", timeout=60)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(self.path)


@pytest.fixture(params=["tcp", "unix"])
def instance(request, tmp_path):
    port, path = free_port(), f"{tmp_path}/m"
    listen = f"127.0.0.1:{port}" if request.param == "tcp" else f"unix:{path}"
    with Instance(tmp_path / "i", metrics_listen=listen, defer_transports="smtp") as instance:
        instance.connect = lambda: (
            http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            if request.param == "tcp"
            else UnixConnection(path)
        )
        yield instance


def get(instance, path):
    connection = instance.connect()
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def metrics(instance):
    status, text = get(instance, "/metrics")
    assert status == 200
    return {
        (sample.name.removeprefix("sendmailpy_"), *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_what_happens_is_counted_and_the_queue_is_shown_as_it_is(instance):
    instance.start()
    instance.wait_for(lambda: get(instance, "/ready")[0] == 200, "ready")
    for recipient in (me(), "nobody-here", "a@far.test", "b@far.test", "c@other.test"):
        instance.submit(b"Subject: x\n\nhello\n", "-i", recipient)
    counted = ("deliveries_total", "local", "sent")
    instance.wait_for(lambda: metrics(instance).get(counted) == 2, "the delivery and the bounce are counted")
    instance.wait_for(lambda: metrics(instance).get(("queue_messages", "deferred")) == 3, "three are deferred")
    found = metrics(instance)
    assert found["messages_received_total", "local"] == 5
    assert found["deliveries_total", "bounced", "local"] == 1
    assert (found["queue_domain_messages", "far.test"], found["queue_domain_messages", "other.test"]) == (2, 1)
    assert found["queue_age_messages", "3600"] == found["queue_age_messages", "+Inf"] == 3
    assert found["fsync_seconds_count",] >= 3
    assert found["service_up", "qmgr"] == found["service_up", "pickup"] == 1


def test_services_that_die_are_counted_and_health_says_what_is_missing(instance):
    instance.start()
    instance.wait_for(lambda: get(instance, "/ready")[0] == 200, "ready")
    os.kill(instance.pid_of("pickup"), signal.SIGKILL)
    instance.wait_for(lambda: metrics(instance).get(("service_restarts_total", "pickup")) == 1, "counted")
    instance.wait_for(lambda: get(instance, "/health") == (200, "ok\n"), "well again")
    assert instance.reload().returncode == 0
    instance.submit(b"Subject: x\n\nhello\n", "-i", me())
    instance.wait_for(
        lambda: metrics(instance).get(("deliveries_total", "local", "sent")) == 1, "counted after a reload"
    )
    os.kill(instance.pid_of("metrics"), signal.SIGKILL)
    instance.wait_for(lambda: get(instance, "/health")[0] == 200, "the metrics are back")
    assert get(instance, "/other")[0] == 404


# --- what is not well ----------------------------------------------------------------------------


def both(instance):
    """Return what /health and /ready say."""
    return get(instance, "/health"), get(instance, "/ready")


def test_a_queue_manager_that_does_not_answer_is_neither_healthy_nor_ready(instance):
    instance.start()
    instance.wait_for(lambda: get(instance, "/ready")[0] == 200, "ready")
    qmgr = instance.pid_of("qmgr")
    os.kill(qmgr, signal.SIGSTOP)
    try:
        assert both(instance) == ((503, "qmgr does not answer\n"),) * 2
        assert b"\nqueue: empty\n" in instance.mailctl("status").stdout  # counted on the disk
    finally:
        os.kill(qmgr, signal.SIGCONT)
    instance.wait_for(lambda: both(instance) == ((200, "ok\n"),) * 2, "well again")


@pytest.mark.parametrize("name", ["pickup", "qmgr"])
def test_a_service_that_is_dead_is_named_until_it_runs_again(instance, name):
    instance.configure(service_throttle_time="60s")
    instance.start()
    instance.wait_for(lambda: get(instance, "/ready")[0] == 200, "ready")

    def is_missed():
        if get(instance, "/health")[0] == 200 and (pid := instance.pid_of(name)):
            os.kill(pid, signal.SIGKILL)
        return get(instance, "/health") == (503, f"{name} is not running\n")

    instance.wait_for(is_missed, "killed so often that it has to wait")
    assert get(instance, "/ready")[0] == 503
    instance.wait_for(lambda: both(instance) == ((200, "ok\n"),) * 2, "started again")


def test_master_that_does_not_answer_is_neither_healthy_nor_ready(instance):
    instance.start()
    instance.wait_for(lambda: get(instance, "/ready")[0] == 200, "ready")
    master = instance.master_pid()
    os.kill(master, signal.SIGSTOP)
    try:
        assert [status for status, _ in both(instance)] == [503, 503]
    finally:
        os.kill(master, signal.SIGCONT)
    instance.wait_for(lambda: both(instance) == ((200, "ok\n"),) * 2, "well again")


def test_a_queue_without_room_is_healthy_but_takes_no_mail(instance):
    instance.configure(queue_minfree=1 << 60)
    instance.start()
    instance.wait_for(lambda: get(instance, "/health")[0] == 200, "healthy")
    status, text = get(instance, "/ready")
    assert status == 503 and text.startswith(f"queue {instance.path}/queue: not enough free space")
    assert instance.run("sendmail", me(), input=b"x").returncode == 75


@pytest.mark.real("setpriv", root=True)
@pytest.mark.parametrize("name", ["maildrop", "incoming", "deferred"])
def test_a_queue_that_cannot_be_written_is_not_ready(place, tree, name):
    port = free_port()
    with Instance(place / "i", "nobody", tree, metrics_listen=f"127.0.0.1:{port}") as instance:
        instance.connect = lambda: http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        instance.start()
        instance.wait_for(lambda: get(instance, "/ready")[0] == 200, "ready")
        path = instance.path / "queue" / name
        path.chmod(0o500)
        assert both(instance) == ((200, "ok\n"), (503, f"queue {path} cannot be written\n"))
        path.chmod(0o700)
        assert get(instance, "/ready") == (200, "ok\n")


def test_a_client_that_says_nothing_holds_up_neither_mail_nor_others_for_long(instance):
    instance.start()
    silent = instance.connect()
    silent.connect()
    instance.submit(b"Subject: x\n\nhello\n", "-i", me())
    instance.wait_for_mail(me())
    assert get(instance, "/health")[0] in (200, 503)
    silent.close()


def test_a_client_that_speaks_ever_so_slowly_is_let_go(instance):
    instance.start()
    slow = instance.connect()
    slow.connect()
    asked = threading.Thread(target=lambda: answers.append(get(instance, "/other")[0]))
    answers = []
    with pytest.raises(OSError):  # the end comes while it still speaks
        for octet in b"GET /metrics HTTP/1.1\r\nX: " + bytes(100):
            slow.sock.sendall(bytes([octet]))
            if octet == ord("G"):
                time.sleep(0.2)
                asked.start()
            time.sleep(0.2)
    asked.join(60)
    assert answers == [404]
    slow.close()


def test_no_file_is_removed_to_listen_in_its_place(tmp_path):
    (tmp_path / "precious").write_text("mine")
    with Instance(tmp_path / "i", metrics_listen=f"unix:{tmp_path}/precious") as instance:
        instance.start()
        assert "something that is no socket is there" in instance.output() + instance.log()
        assert (tmp_path / "precious").read_text() == "mine"


@pytest.mark.parametrize("value", ["9154", "unix:relative", "127.0.0.1:99999"])
def test_what_is_no_place_is_refused_at_start(tmp_path, value):
    with Instance(tmp_path / "i", metrics_listen=value) as instance:
        done = instance.start(check=False)
        assert done.returncode == 78 and "metrics_listen" in instance.output()
