"""Postfix's verbs, as fingers, scripts and the Postfix roles of Ansible use them."""

import json
import re
import subprocess
import uuid

import pytest

from tests.integration.instance import ROOT, Instance, me
from tests.readable_tree import readable_tree


@pytest.fixture(scope="module")
def verbs(tmp_path_factory):
    """A directory with the names, as `make install POSTFIX_VERBS=yes` makes them."""
    directory = tmp_path_factory.mktemp("verbs")
    directory.chmod(0o755)
    makefile = (ROOT / "Makefile").read_text()
    for name in makefile.partition("\nVERBS = ")[2].partition("\n")[0].split():
        (directory / name).symlink_to(readable_tree() / "bin" / "mailctl")
    return directory


@pytest.fixture
def instance(tmp_path):
    with Instance(tmp_path / "i", defer_transports="smtp", relayhost="[127.0.0.1]:9") as instance:
        yield instance


@pytest.fixture
def run(verbs, instance):
    def run(line, *words, input=b"", status=0):
        words = [*line.split(), *words]
        env = {"PATH": f"{verbs}:/usr/bin:/bin", "MAIL_CONFIG": str(instance.path)}
        done = subprocess.run([verbs / words[0], *words[1:]], input=input, capture_output=True, env=env, timeout=60)
        assert done.returncode == status, (words, done)
        return done.stdout.decode() or done.stderr.decode()

    return run


def queued(instance, number, *words):
    for _ in range(number):
        instance.submit(b"Subject: verbs\n\nbody line\n", "-i", *(words or ("someone@far.test",)))


# --- postconf: what Ansible's roles call ------------------------------------------------------------


def test_postconf_sets_shows_and_removes_parameters(run, instance):
    run("postconf -e", "relayhost = [smtp.example.net]:587", "smtp_tls_security_level=encrypt")
    assert run("postconf relayhost smtp_tls_security_level") == (
        "relayhost = [smtp.example.net]:587\nsmtp_tls_security_level = encrypt\n"
    )
    assert run("postconf -h relayhost") == "[smtp.example.net]:587\n"
    run("postconf", "relayhost=[other.example.net]")
    assert "relayhost = [other.example.net]\n" in run("postconf -n")
    assert run("postconf -d relayhost") == "relayhost =\n"
    run("postconf -X relayhost")
    assert "relayhost" not in run("postconf -n")
    assert run("postconf -c", str(instance.path), "-h", "queue_directory") == "$config_directory/queue\n"
    assert run("postconf -xh queue_directory") == f"{instance.path}/queue\n"


def test_postconf_tells_versions_types_and_names(run):
    assert run("postconf -h mail_version").split(".")[0].isdigit()
    assert run("postconf mail_version myhostname").startswith("mail_version = 3.")
    assert {"hash", "lmdb", "regexp", "pcre", "texthash"} <= set(run("postconf -m").split())
    assert "dovecot" in run("postconf -a").split()
    assert {"relayhost", "mydestination"} <= set(run("postconf -dH").split())


def test_postconf_sets_one_of_two_parameters_that_need_each_other_with_a_warning(run, instance):
    said = run("postconf -e", "smtp_sasl_auth_enable=yes")
    assert "warning" in said and "smtp_sasl_auth_enable needs smtp_sasl_password_maps" in said
    run("postconf -e", "smtp_sasl_password_maps=hash:/etc/postfix/sasl_passwd")
    assert run("postconf -h smtp_sasl_auth_enable") == "yes\n"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("postconf -e inet_interfaces=mail..example.org", "inet_interfaces: mail..example.org: an address"),
        ("postconf -e smtp_tls_security_level=strong", "smtp_tls_security_level"),
        ("postconf -M", "option -M"),
        ("postconf -e nonsense=1", "nonsense"),
        ("postconf -#  relayhost", "use -X"),
        ("postconf -e relayhost", "name=value"),
    ],
)
def test_postconf_refuses_what_it_cannot_do(run, verbs, instance, line, said):
    env = {"PATH": "/usr/bin:/bin", "MAIL_CONFIG": str(instance.path)}
    words = line.split()
    done = subprocess.run([verbs / words[0], *words[1:]], capture_output=True, env=env, timeout=60)
    assert done.returncode != 0 and said in done.stderr.decode() and done.stderr.count(b"\n") == 1


def test_an_unknown_parameter_is_a_warning_and_status_1(run):
    assert "warning" in run("postconf no_such_parameter", status=1)


# --- the queue ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("are_up", [False, True])
def test_postqueue_and_postsuper_list_hold_release_and_delete(run, instance, are_up):
    if are_up:
        instance.start()
    queued(instance, 3)
    if are_up:
        instance.wait_for(lambda: run("postqueue -p").count("far.test") == 3 and instance.count() == 3, "three wait")
    rows = [json.loads(line) for line in run("postqueue -j").splitlines()]
    assert [row["recipients"][0]["address"] for row in rows] == ["someone@far.test"] * 3
    first, second, _ = (row["queue_id"] for row in rows)
    if are_up:
        assert run(f"postsuper -h {first}") == "postsuper: Placed on hold: 1 message\n"
        assert f"{first}!" in run("postqueue -p")
        assert run("postsuper -H -", input=f"{first}\n".encode()) == "postsuper: Released from hold: 1 message\n"
    assert run(f"postsuper -d {second}") == "postsuper: Deleted: 1 message\n"
    assert run("postsuper -d ALL") == "postsuper: Deleted: 2 messages\n"
    assert run("postqueue -p") == "Mail queue is empty\n"
    assert run("postsuper -d ALL deferred") == ""


def test_postqueue_flushes_all_one_message_and_a_site(run, instance):
    assert "not running" in run("postqueue -f", status=69)
    instance.start()
    queued(instance, 1, me())
    instance.wait_for_mail(me())
    queued(instance, 1)
    instance.wait_for_log(r"status=deferred \(deferred transport\)")
    (queue_id,) = (json.loads(line)["queue_id"] for line in run("postqueue -j").splitlines())
    run("postqueue -s far.test")
    run(f"postqueue -i {queue_id}")
    run("postqueue -f")
    instance.wait_for_log(rf"{queue_id}: to=<someone@far.test>.* status=deferred \((?!deferred transport)")
    run("postqueue -i nonsense", status=1)


def test_postcat_shows_envelope_header_and_body(run, instance):
    instance.start()
    mark = uuid.uuid4().hex
    instance.submit(f"Subject: {mark}\n\nfirst\n\nlast\n".encode(), "-i", "someone@far.test")
    instance.wait_for_log(r"status=deferred")
    (queue_id,) = (json.loads(line)["queue_id"] for line in run("postqueue -j").splitlines())
    whole = run(f"postcat -q {queue_id}")
    assert f"*** MESSAGE CONTENTS {queue_id} ***" in whole and "someone@far.test" in whole and whole.count(mark) == 1
    assert run(f"postcat -bq {queue_id}") == "first\n\nlast\n"
    header = run(f"postcat -hq {queue_id}")
    assert f"Subject: {mark}\n" in header and "first" not in header
    run("postcat -q 0123456789", status=1)


# --- tables, and the services ------------------------------------------------------------------------


def test_postmap_checks_tables_and_looks_keys_up_and_compiles_nothing(run, tmp_path):
    table = tmp_path / "transport"
    table.write_text("example.org smtp:[mail.example.org]\n.example.net :\nbroken\n")
    assert "line 3: a key and a value" in run(f"postmap hash:{table}")
    assert run("postmap -q example.org", f"lmdb:{table}") == "smtp:[mail.example.org]\n"
    run("postmap -q missing", f"hash:{table}", status=1)
    assert (
        run("postmap -q -", f"hash:{table}", input=b"missing\nexample.org\n")
        == "example.org\tsmtp:[mail.example.org]\n"
    )
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("transport")] == ["transport"]
    assert "No such file" in run(f"postmap {tmp_path}/absent", status=1)
    assert "text file" in run(f"postmap -s hash:{table}", status=1)


def test_postalias_checks_the_aliases(run, tmp_path):
    (tmp_path / "aliases").write_text("root: admin@example.org\n")
    assert "1 aliases" in run(f"postalias hash:{tmp_path}/aliases")
    assert run("postalias -q root", f"hash:{tmp_path}/aliases") == "admin@example.org\n"


def test_postfix_starts_checks_reloads_and_stops(verbs, run, instance):
    assert "not running" in run("postfix status", status=1)
    run("postfix check")
    env = {"PATH": "/usr/bin:/bin", "MAIL_CONFIG": str(instance.path)}
    with open(instance.path.parent / "said", "wb") as said:  # with a pipe the services would hold it open
        subprocess.run([verbs / "postfix", "start"], stdout=said, stderr=said, env=env, timeout=60, check=True)
    assert "is running: PID" in run("postfix status")
    run("postfix reload")
    run("postfix flush")
    run("postfix stop")
    assert "not running" in run("postfix status", status=1)
    assert "one of start" in run("postfix dance", status=1)


# --- what Postfix roles of Ansible do ----------------------------------------------------------------


def line_in_file(path, name, value):
    """Put a setting where the module lineinfile does: in the place of the last line of its name, or at the end."""
    lines = path.read_text().splitlines()
    places = [number for number, line in enumerate(lines) if re.match(f"{re.escape(name)} =", line)]
    at = places[-1] if places else len(lines)
    lines[at : at + len(places[-1:])] = [f"{name} = {value}"]
    path.write_text("".join(f"{line}\n" for line in lines))


def test_a_role_that_edits_single_lines_and_restarts(run, instance):
    """After the manner of geerlingguy.postfix."""
    for _ in range(2):
        line_in_file(instance.path / "main.cf", "inet_interfaces", "localhost")
        line_in_file(instance.path / "main.cf", "inet_protocols", "ipv4")
    assert (instance.path / "main.cf").read_text().count("\ninet_protocols =") == 1
    run("postfix check")
    instance.start()
    assert "is running: PID" in run("postfix status")
    assert run("postconf -h inet_interfaces inet_protocols") == "localhost\nipv4\n"


ROLE = """\
myorigin = DIR/mailname
smtpd_banner = $myhostname ESMTP $mail_name (Debian/GNU)
biff = no
append_dot_mydomain = no
readme_directory = no
compatibility_level = 2
smtpd_use_tls = yes
smtpd_tls_security_level = none
smtpd_tls_session_cache_database = btree:${data_directory}/smtpd_scache
smtp_tls_session_cache_database = btree:${data_directory}/smtp_scache
smtp_tls_mandatory_protocols = !SSLv2, !SSLv3
smtp_tls_protocols = !SSLv2, !SSLv3
myhostname = here.test
default_database_type = hash
alias_maps = hash:DIR/aliases
alias_database = hash:DIR/aliases
virtual_alias_maps = hash:DIR/virtual
sender_canonical_maps = hash:DIR/sender_canonical_maps
recipient_canonical_maps = hash:DIR/recipient_canonical_maps
transport_maps = hash:DIR/transport_maps
sender_dependent_relayhost_maps = hash:DIR/sender_dependent_relayhost_maps
smtp_generic_maps = hash:DIR/generic
mydestination = here.test, localhost
mynetworks = 127.0.0.0/8 [::ffff:127.0.0.0]/104 [::1]/128
mailbox_size_limit = 0
recipient_delimiter = +
inet_interfaces = all
inet_protocols = all
relayhost = [smtp.example.net]:587
smtp_sasl_auth_enable = yes
smtp_sasl_password_maps = hash:DIR/sasl_passwd
smtp_sasl_security_options = noanonymous
smtp_sasl_tls_security_options = noanonymous
smtp_use_tls = yes
smtp_tls_security_level = encrypt
smtp_tls_note_starttls_offer = yes
smtp_tls_CAfile = /etc/ssl/certs/ca-certificates.crt
smtpd_recipient_restrictions = permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination
smtpd_relay_restrictions = permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination
message_size_limit = 10240000
disable_vrfy_command = yes
"""
TABLES = {
    "mailname": "here.test\n",
    "virtual": "info@virtual.test MAIL\n",
    "sender_canonical_maps": "old@here.test new@here.test\n",
    "recipient_canonical_maps": "old@here.test MAIL@here.test\n",
    "transport_maps": "far.test discard:nobody reads it\n",
    "sender_dependent_relayhost_maps": "@other.test [other.example.net]\n",
    "generic": "root@here.test admin@example.org\n",
    "sasl_passwd": "[smtp.example.net]:587 me:secret\n",
}


def test_a_role_that_writes_main_cf_and_tables_and_runs_postmap_and_newaliases(run, instance):
    """After the manner of Oefenweb.postfix; mail goes the ways that its tables say."""
    kept = "".join(
        line for line in (instance.path / "main.cf").open() if re.match("(queue|data|run)_dir|mail|home", line)
    )
    (instance.path / "main.cf").write_text(ROLE.replace("DIR", str(instance.path)) + kept)
    for name, text in TABLES.items():
        (instance.path / name).write_text(text.replace("MAIL", me()))
        (instance.path / name).chmod(0o600)
    (instance.path / "aliases").write_text(f"postmaster: {me()}\n")
    for name in set(TABLES) - {"mailname"}:
        assert run(f"postmap hash:{instance.path}/{name}") == ""
    assert instance.run("newaliases").returncode == 0
    said = run("postfix check")
    assert "fatal" not in said and "smtp_tls_note_starttls_offer" in said  # what has no effect is named
    instance.start()
    for recipient in ("postmaster", "info@virtual.test", "old@here.test", "x@far.test"):
        instance.submit(b"Subject: role\n\nx\n", "-i", recipient)
    instance.wait_for_mail(me(), b"Subject: role", count=3)
    instance.wait_for_log(r"to=<x@far.test>, relay=none, .*status=sent \(nobody reads it\)")
    instance.wait_empty()


def test_what_ansible_asks_before_and_after_a_change_is_answered_as_it_expects(run, instance):
    """The idioms of plays: compare, set, see that nothing changes by doing it again."""
    path = instance.path / "main.cf"
    setting = "smtpd_client_restrictions = permit_mynetworks, reject"
    assert run("postconf -h smtpd_client_restrictions") == "\n"
    run("postconf -e", setting, "message_size_limit = 20480000")
    written = path.stat()
    assert run("postconf smtpd_client_restrictions") == f"{setting}\n"
    assert setting in run("postconf -n").splitlines()
    run("postconf -e", setting, "message_size_limit=20480000")
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (written.st_ino, written.st_mtime_ns)
    run("postconf -e", "myorigin=$mydomain")
    assert (run("postconf -h myorigin"), run("postconf -hx myorigin")) == ("$mydomain\n", "test\n")
    assert "time such as" in run("postconf -e", "minimal_backoff_time=soon", status=1)
    assert "minimal_backoff_time" not in run("postconf -n")
