"""mailctl import: another system's configuration, taken over into an instance that then starts."""

import stat

import pytest

from tests.integration.instance import Instance
from tests.unit.formats.test_foreign_config import DEBIAN, MSMTP


@pytest.fixture
def instance(tmp_path):
    with Instance(tmp_path / "i") as instance:
        yield instance


def run_import(instance, kind, path, *words):
    done = instance.mailctl("import", kind, str(path), *words)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def test_debians_main_cf_is_taken_over_and_what_cannot_work_is_refused_by_name(instance, tmp_path):
    (tmp_path / "main.cf").write_text(DEBIAN + "transport_maps = ldap:/etc/postfix/x\nmaximal_backoff_time = soon\n")
    before = (instance.path / "main.cf").read_text()
    status, told, _ = run_import(instance, "postfix", tmp_path / "main.cf", "--dry-run")
    assert status == 0 and (instance.path / "main.cf").read_text() == before
    assert "transport_maps = ldap:/etc/postfix/x\n    refused: ldap:/etc/postfix/x: table type ldap" in told
    assert "maximal_backoff_time = soon\n    refused: maximal_backoff_time = soon: a time such as" in told
    assert "content_filter = smtp:[127.0.0.1]:10025\n    refused: sendmail-py does not have content_filter" in told
    status, _, told = run_import(instance, "postfix", tmp_path / "main.cf")
    assert status == 0, told
    shown = instance.mailctl("config", "-h", "recipient_delimiter", "mydestination").stdout.decode()
    assert shown == "+\n$myhostname, mail.example.org, localhost\n"
    assert b"ldap" not in instance.mailctl("config", "-n").stdout


def test_the_domains_of_a_table_are_taken_over_and_a_table_that_cannot_be_read_is_named(instance, tmp_path):
    (tmp_path / "domains").write_text("one.test x\ntwo.test x\n")
    main_cf = tmp_path / "main.cf"
    main_cf.write_text(f"mydestination = here.test, hash:{tmp_path}/domains\nmasquerade_exceptions = {tmp_path}/x\n")
    status, told, error = run_import(instance, "postfix", main_cf)
    assert status == 0, error
    assert "refused: " in told and "names alone may stand here" in told
    assert instance.mailctl("config", "-h", "mydestination").stdout == b"here.test, one.test, two.test\n"
    main_cf.write_text(f"mydestination = here.test, hash:{tmp_path}/absent\n")
    _, told, _ = run_import(instance, "postfix", main_cf)
    assert f"refused: hash:{tmp_path}/absent: No such file or directory" in told


def test_an_msmtprc_becomes_a_smarthost_whose_password_nobody_else_reads(instance, tmp_path):
    (tmp_path / "msmtprc").write_text(MSMTP)
    status, told, error = run_import(instance, "msmtp", tmp_path / "msmtprc")
    assert status == 0, error
    assert "s3cret" not in told + error and "a login at [smtp.work.example]:587 for me" in told
    passwords = instance.path / "sasl_passwd"
    assert passwords.read_text() == "[smtp.work.example]:587 me:s3cret word\n"
    assert stat.S_IMODE(passwords.stat().st_mode) == 0o600
    instance.start()


def test_a_file_that_is_not_there_is_one_line(instance, tmp_path):
    status, _, error = run_import(instance, "ssmtp", tmp_path / "absent")
    assert status == 66 and error == f"mailctl: {tmp_path}/absent: No such file or directory\n"
