"""qmgr dies in the middle of a large expansion: no recipient is lost, and none gets two copies."""

import os
import re
from collections import Counter
from pathlib import Path

import pytest

from sendmail_py.spool.message_file import read_message
from sendmail_py.spool.queue_id import child_id, hash_directory
from tests.faults.harness import Patient, assert_well, message, new_marker, run_cases, under_strace
from tests.faults.tracing import WHOLE, Fault, faults_in, sample, was_hit
from tests.integration.instance import wait_until
from tests.servers.name_server import NameServer
from tests.servers.smtp_sink import SmtpSink

ADDRESSES = 10_000 if WHOLE else 300
IN_A_CHILD = 1000 if WHOLE else 50
CHILDREN = ADDRESSES // IN_A_CHILD
WANTED = Counter(f"user{n}@far.test" for n in range(ADDRESSES))


def prepare(patient: Patient) -> None:
    (patient.path / "list").write_text("".join(f"{address}\n" for address in WANTED))
    (patient.path / "aliases").write_text(f"list: :include:{patient.path}/list\n")


def children_of(queue_id: str) -> list[str]:
    return [child_id(queue_id, 0, number) for number in range(CHILDREN)]


def paths_of(patient: Patient, queue_id: str) -> dict[str, str]:
    top = patient.queue
    paths = {f"{top}/active/{queue_id}": "message", f"{top}/incoming": "incoming"}
    for number in {0, CHILDREN // 2, CHILDREN - 1}:
        child = child_id(queue_id, 0, number)
        for state in ("tmp", "incoming", "active", f"deferred/{hash_directory(child)}"):
            paths[f"{top}/{state}/{child}"] = f"{state[:8]}/{number}"
    return paths


def expand(patient: Patient, fault: Fault | None) -> tuple[str, list[str]]:
    """Have qmgr expand the list under strace; returns the queue id and the trace."""
    patient.begin_case()

    def give() -> tuple[dict[str, str], str]:
        patient.submit(message(new_marker()), "list")
        (queue_id,) = patient.wait_for(lambda: os.listdir(patient.queue / "incoming"), "pickup has taken it")
        return paths_of(patient, queue_id), queue_id

    def settle() -> None:
        wait_until(lambda: is_over(patient) and is_over(patient), "the list is expanded and its children wait")

    return under_strace(patient, "qmgr", "pool", fault, give, settle)


def is_over(patient: Patient) -> bool:
    """Say whether everything that is queued is deferred."""
    states = Counter(name.partition("/")[0] for name in patient.queued())
    return set(states) == {"deferred"} and not os.listdir(patient.queue / "tmp")


def recipients_in(patient: Patient, queue_id: str) -> Counter[str]:
    """Count the recipients of the children of a message, in the queue files themselves."""
    found: Counter[str] = Counter()
    for name in patient.queued():
        if os.path.basename(name).startswith(queue_id):
            found.update(str(r.forward_path) for r in read_message(f"{patient.queue}/{name}").recipients)
    return found


@pytest.mark.real("strace")
def test_a_kill_at_any_step_of_an_expansion_neither_loses_nor_repeats_a_recipient(tmp_path):
    settings = {"expansion_recipient_limit": IN_A_CHILD, "defer_transports": "smtp"}
    settings |= {"minimal_backoff_time": "1000s", "maximal_backoff_time": "4000s"}
    sick = [Patient(tmp_path / f"p{number}", **settings) for number in range(3 if WHOLE else 2)]

    def case(patient: Patient, fault: Fault) -> str | None:
        queue_id, lines = expand(patient, fault)
        found = recipients_in(patient, queue_id)
        for name in patient.queued():
            os.unlink(patient.queue / name)
        if not was_hit(lines):
            return None
        missing, doubled = WANTED - found, found - WANTED
        return f"{len(missing)} missing, {len(doubled)} doubled" if missing or doubled else ""

    try:
        for patient in sick:
            prepare(patient)
            patient.start()
        queue_id, lines = expand(sick[0], None)
        assert recipients_in(sick[0], queue_id) == WANTED
        found = faults_in(lines, "pool", paths_of(sick[0], queue_id))
        steps = ("openat", "write", "pwrite64", "fsync", "rename", "unlink", "close")
        sites = [f for f in found if f.syscall in steps and (f.syscall != "write" or f.ordinal <= 2)]
        assert {"openat", "write", "pwrite64", "fsync", "rename"} <= {site.syscall for site in sites}
        for name in sick[0].queued():
            os.unlink(sick[0].queue / name)
        faults = sample(sites, 5)
        assert_well(run_cases(sick, faults, case), faults)
    finally:
        for patient in sick:
            patient.stop()


def test_a_list_that_is_being_relayed_when_qmgr_dies_repeats_only_what_the_log_names(tmp_path):
    zone = {"far.test": {"MX": ["10 mx.far.test."]}, "mx.far.test": {"A": ["127.0.0.1"]}}
    with (
        SmtpSink(keep_content=False) as sink,
        NameServer(zone) as names,
        Patient(tmp_path / "p", expansion_recipient_limit=IN_A_CHILD) as patient,
    ):
        prepare(patient)
        patient.configure(resolver_nameservers=names.address, smtp_tcp_port=sink.port)
        patient.start()
        patient.submit(message(new_marker()), "list")
        finished: dict[str, int] = {}
        for part in range(1, 4):
            wait_until(lambda part=part: received(sink).total() >= part * ADDRESSES // 5, "a part has arrived")
            removed = set(re.findall(r": ([0-9A-F]+): removed", patient.log()))
            counts, ids = received(sink), ids_of(patient)
            finished |= {address: counts[address] for address, queue_id in ids.items() if queue_id in removed}
            patient.kill("qmgr")
        patient.wait_settled()
        found = received(sink)
        assert set(found) == set(WANTED)
        named = Counter(re.findall(r": ([0-9A-F]+): .*may be repeated", patient.log()))
        ids = ids_of(patient)
        assert [a for a, count in found.items() if count > 1 + named[ids[a]]] == []
        assert finished == {address: found[address] for address in finished}


def ids_of(patient: Patient) -> dict[str, str]:
    """Return the queue id under which each address was delivered."""
    sent = re.findall(r": ([0-9A-F]+): to=<(user\d+@far\.test)>.*status=sent", patient.log())
    return {address: queue_id for queue_id, address in sent}


def received(sink: SmtpSink) -> Counter[str]:
    """Count the recipients that the sink has taken mail for."""
    return Counter(
        str(recipient).split(">")[0].lstrip("<") for taken in list(sink.messages) for recipient in taken.recipients
    )


MANY = 100_000 if WHOLE else 2_000
ROOM = 96 << 20  # for the addresses that were seen, and the recipients of children being written


def test_up_to_a_hundred_thousand_members_are_each_sent_one_copy_in_bounded_memory_though_qmgr_is_killed(tmp_path):
    zone = {"far.test": {"MX": ["10 mx.far.test."]}, "mx.far.test": {"A": ["127.0.0.1"]}}
    settings = {"expansion_recipient_limit": MANY // 100, "default_destination_recipient_limit": 500}
    with (
        SmtpSink(keep_content=False) as sink,
        NameServer(zone) as names,
        Patient(tmp_path / "p", **settings) as patient,
    ):
        (patient.path / "list").write_text("".join(f"user{n}@far.test\n" for n in range(MANY)))
        (patient.path / "aliases").write_text(f"list: :include:{patient.path}/list\n")
        patient.configure(resolver_nameservers=names.address, smtp_tcp_port=sink.port)
        patient.start()
        before = memory(patient, "VmHWM")
        patient.submit(message(new_marker()), "list")
        written = patient.queue / "tmp"
        wait_until(lambda: len(os.listdir(written)) >= 50 or received(sink), "half of the children are written")
        patient.kill("qmgr")
        wait_until(lambda: received(sink).total() >= MANY // 2, "half of the mail has arrived", 300)
        peak = memory(patient, "VmHWM")
        print(f"qmgr: {before >> 20} MB before, at most {peak >> 20} MB while it expanded and sent {MANY} recipients")
        assert peak - before < ROOM
        patient.kill("qmgr")
        wait_until(lambda: patient.count() == 0 and not patient.queued(), "the queue is empty", 300)
        found = received(sink)
        assert len(found) == MANY
        named = Counter(re.findall(r": ([0-9A-F]+): .*may be repeated", patient.log()))
        ids = ids_of(patient)
        assert [a for a, count in found.items() if count > 1 + named[ids[a]]] == []


def memory(patient: Patient, what: str) -> int:
    """Return a figure of qmgr's memory in octets."""
    pid = patient.ready("qmgr")["qmgr"]
    text = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(rf"{what}:\s+(\d+) kB", text)[1]) * 1024
