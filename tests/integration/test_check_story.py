"""mailctl check beside running services, and beside another program that took their port."""

import json
import socket

import pytest

from tests.integration.instance import Instance
from tests.servers.ports import free_port


@pytest.fixture
def instance(tmp_path):
    with Instance(tmp_path / "instance", smtpd_port=free_port(), inet_protocols="ipv4") as instance:
        yield instance


def services(instance):
    done = instance.mailctl("check", "--json")
    assert done.returncode in (0, 1, 2), done.stderr
    return [(row["level"], row["text"], row["repair"]) for row in json.loads(done.stdout) if row["area"] == "services"]


def test_services_that_run_and_listen_are_well_and_a_port_that_is_taken_is_not(instance):
    instance.start()
    assert services(instance) == []
    instance.stop()
    ((level, text, repair),) = services(instance)
    assert (level, text) == ("error", "the services are not running: mail waits")
    assert repair == f"mailctl -c {instance.path} start"
    port = int(instance.mailctl("config", "-h", "smtpd_port").stdout)
    with socket.create_server(("127.0.0.1", port)):
        instance.start()
        ((level, text, repair),) = services(instance)
        assert level == "error" and text.startswith(f"port {port} is taken: ") and "listens there" in text
    ((_, text, repair),) = services(instance)
    assert text == f"nobody listens on 127.0.0.1:{port}, where main.cf has smtp"
    instance.mailctl(*repair.split()[3:], check=True)
    assert services(instance) == []


def test_an_open_relay_by_mynetworks_is_an_error_where_others_reach_it(instance):
    instance.configure(mynetworks="0.0.0.0/0")
    instance.start()
    assert services(instance) == []  # on loopback alone it is nobody's relay
    instance.stop()
    instance.configure(inet_interfaces="all")
    instance.start()
    ((level, text, repair),) = services(instance)
    assert level == "error" and "open relay" in text
    assert repair == f"mailctl -c {instance.path} config -e mynetworks='127.0.0.0/8 [::1]/128'"
