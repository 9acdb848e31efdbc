"""Programs do not notice that the services are down: what they send waits, and is delivered when they are up."""

from collections.abc import Iterator

import pytest
from callers_machine import HOST, CallersMachine

SYMFONY = f"""<?php
require "Symfony/Component/Mailer/autoload.php";
use Symfony\\Component\\Mailer\\{{Mailer, Transport}};
use Symfony\\Component\\Mime\\Email;
(new Mailer(Transport::fromDsn("sendmail://default")))->send((new Email())->from("alice@{HOST}")->to("bob@{HOST}")
    ->text("waits, by Symfony"));
"""
CALLS = {
    "bsd-mailx": "echo waits, by bsd-mailx | bsd-mailx -s x bob",
    "mutt": "echo waits, by mutt | mutt -s x bob",
    "PHP mail()": """php -r 'exit(mail("bob", "x", "waits, by PHP mail()") ? 0 : 1);'""",
    "Symfony Mailer": "php symfony.php",
}


@pytest.fixture
def stopped(machine: CallersMachine, home: str) -> Iterator[CallersMachine]:
    """The machine while its services are stopped."""
    machine.write(f"{home}/symfony.php", SYMFONY)
    machine.run("mailctl", "stop")
    yield machine
    if not machine.path("/run/sendmail-py/master.pid").exists():
        machine.start()


@pytest.mark.caller(*CALLS)
def test_mail_waits_for_the_services(stopped: CallersMachine) -> None:
    for call in CALLS.values():
        assert stopped.shell(call) == ""
    assert f"Total requests: {len(CALLS)}\n" in stopped.shell("mailq", "root")
    stopped.start()
    for name in CALLS:
        assert stopped.mail("bob", f"waits, by {name.removesuffix(' Mailer')}\n")["Return-Path"] == f"<alice@{HOST}>"
