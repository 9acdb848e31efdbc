"""Mail libraries of programming languages, as the applications use them that send mail."""

from collections.abc import Iterator

import pytest
from callers_machine import HOST, CallersMachine

ALICE, BOB, CAROL = (f"{name}@{HOST}" for name in ("alice", "bob", "carol"))

PHP_MAIL = """<?php
$headers = ["From" => "Shop <shop@example.org>", "Bcc" => "carol", "X-Order" => "7"];
var_dump(mail("bob", "=?utf-8?Q?Gr=C3=BC=C3=9Fe?=", "from PHP\\n.\\nend", $headers, "-fbounce@example.org"));
"""
PHPMAILER = """<?php
require "libphp-phpmailer/autoload.php";
$mail = new PHPMailer\\PHPMailer\\PHPMailer(true);
$mail->isSendmail();
$mail->CharSet = "utf-8";
$mail->setFrom("alice@host.example.org", "Älice");
$mail->addAddress("bob@host.example.org", "Bob, the other");
$mail->addBCC("carol@host.example.org");
$mail->Subject = "Größe";
$mail->Body = "from PHPMailer\\n.\\nend\\n";
var_dump($mail->send());
"""
SYMFONY = """<?php
require "Symfony/Component/Mailer/autoload.php";
use Symfony\\Component\\Mailer\\{Mailer, Transport};
use Symfony\\Component\\Mime\\Email;
$mailer = new Mailer(Transport::fromDsn($argv[1]));
foreach (["first", "second"] as $number) {
    $mailer->send((new Email())->from("alice@host.example.org")->to("bob@host.example.org")
        ->bcc("carol@host.example.org")->subject("Größe")->text("$number of $argv[2]\\n.\\n..end\\n"));
}
echo "sent\\n";
"""
MIME_LITE = """
use MIME::Lite;
my $mail = MIME::Lite->new(From => 'alice', To => 'bob', Bcc => 'carol', Subject => 'lite',
    Data => "from MIME::Lite\\n.\\nend\\n");
print $mail->send ? "sent\\n" : "failed\\n";
"""
MAIL_MAILER = """
use Mail::Mailer;
my $mail = Mail::Mailer->new('sendmail');
$mail->open({From => 'alice', To => ['bob', 'carol'], Subject => 'mailer'});
print $mail "from Mail::Mailer\\nend\\n";
print $mail->close ? "sent\\n" : "failed\\n";
"""
EMAIL_SENDER = """
use Email::Sender::Simple 'sendmail';
use Email::Simple;
my $mail = Email::Simple->create(body => "from Email::Sender\\n.\\nend\\n",
    header => [From => 'alice@host.example.org', To => 'bob@host.example.org', Bcc => 'alice@host.example.org']);
sendmail($mail, {from => '', to => ['bob@host.example.org', 'carol@host.example.org']});
print "sent\\n";
"""
NODEMAILER = """
const transport = require("nodemailer").createTransport({sendmail: true, newline: "unix"});
transport.sendMail({from: "Älice <alice@host.example.org>", to: "bob@host.example.org",
    bcc: "carol@host.example.org", subject: "Größe", text: "from nodemailer\\n.\\nend\\n"},
    (error, info) => console.log(error ? error.message : info.response));
"""
RUBY = """
require "mail"
Mail.defaults { delivery_method :sendmail }
Mail.deliver do
  from "Älice <alice@host.example.org>"
  to "bob@host.example.org"
  bcc "carol@host.example.org"
  subject "Größe"
  body "from Ruby\\n.\\nend\\n"
end
puts "sent"
"""


def check(machine: CallersMachine, text: str, sender: str = ALICE) -> None:
    """A message has come to bob and, blindly, to carol: nothing shows her name, and no line is lost."""
    for user in ("bob", "carol"):
        mail = machine.mail(user, text)
        assert mail["Return-Path"] == f"<{sender}>"
        assert mail.header["Bcc"] is None
        assert BOB in mail["To"]
        assert mail.decoded.split("\n")[:3] == [text, ".", "end"]
        assert "carol" not in mail.text.partition("Delivered-To: ")[2].partition("\n")[2]


@pytest.mark.caller("PHP mail()")
def test_php_mail(machine: CallersMachine, home: str) -> None:
    path = machine.write(f"{home}/mail.php", PHP_MAIL)
    assert machine.shell(f"php {path}") == "bool(true)\n"
    check(machine, "from PHP", "bounce@example.org")
    mail = machine.mail("bob", "from PHP")
    assert (mail["From"], mail["X-Order"]) == ("Shop <shop@example.org>", "7")
    assert "\r" not in mail.text


@pytest.mark.caller("PHP mail()")
def test_php_mail_says_false_when_the_sender_is_refused(machine: CallersMachine, home: str) -> None:
    script = '<?php var_dump(mail("", "x", "not to be delivered"));'
    path = machine.write(f"{home}/mail.php", script)
    assert machine.shell(f"php {path} 2>/dev/null") == "bool(false)\n"


HARDENED = """
mount --bind / /mnt
mount -o remount,ro,bind /mnt
mount --rbind /proc /mnt/proc
mount --rbind /dev /mnt/dev
mount --rbind /run /mnt/run
cd /mnt
if touch var/spool/sendmail-py/maildrop/written 2>/dev/null; then exit 9; fi
exec chroot . setpriv --reuid=alice --regid=alice --init-groups --no-new-privs php -r \
    'exit(mail("bob", "x", "from a hardened unit", [], "-fbounce@example.org") ? 0 : 1);'
"""


@pytest.mark.caller("PHP mail()")
def test_php_mail_where_the_file_system_is_read_only_and_no_privilege_can_be_gained(machine: CallersMachine) -> None:
    machine.run("unshare", "--mount", "--propagation", "private", "sh", "-euc", HARDENED)
    assert machine.mail("bob", "from a hardened unit")["Return-Path"] == "<bounce@example.org>"


@pytest.mark.caller("PHPMailer")
def test_phpmailer(machine: CallersMachine, home: str) -> None:
    path = machine.write(f"{home}/mail.php", PHPMAILER)
    assert machine.shell(f"php {path}") == "bool(true)\n"
    check(machine, "from PHPMailer")
    assert machine.mail("bob", "from PHPMailer")["To"] == f'"Bob, the other" <{BOB}>'


@pytest.mark.caller("Symfony Mailer")
@pytest.mark.parametrize("options", ["", "?command=/usr/sbin/sendmail%20-t%20-i", "?command=/usr/sbin/sendmail%20-t"])
def test_symfony_mailer_in_a_session_and_without(machine: CallersMachine, home: str, options: str) -> None:
    path = machine.write(f"{home}/mail.php", SYMFONY)
    name = f"symfony{options[-5:]}"
    assert machine.shell(f"php {path} 'sendmail://default{options}' '{name}'") == "sent\n"
    for user in ("bob", "carol"):
        for number in ("first", "second"):
            mail = machine.mail(user, f"{number} of {name}\n")
            assert (mail["Return-Path"], mail["To"], mail.header["Bcc"]) == (f"<{ALICE}>", BOB, None)
            assert mail.decoded.split() == [number, "of", name, ".", "..end"]


@pytest.mark.caller("Perl MIME::Lite")
def test_mime_lite_calls_sendmail_by_its_name_in_lib(machine: CallersMachine, home: str) -> None:
    path = machine.write(f"{home}/mail.pl", MIME_LITE)
    assert machine.shell(f"perl {path}") == "sent\n"
    check(machine, "from MIME::Lite")
    machine.shell("test -x /usr/lib/sendmail")  # its first choice


@pytest.mark.caller("Perl Mail::Mailer")
def test_mail_mailer_writes_a_field_for_each_recipient(machine: CallersMachine, home: str) -> None:
    path = machine.write(f"{home}/mail.pl", MAIL_MAILER)
    assert machine.shell(f"perl {path}") == "sent\n"
    for user in ("bob", "carol"):
        mail = machine.mail(user, "from Mail::Mailer")
        assert (mail["Return-Path"], mail.header.get_all("To")) == (f"<{ALICE}>", [BOB, CAROL])


@pytest.mark.caller("Perl Email::Sender")
def test_email_sender_with_the_null_sender(machine: CallersMachine, home: str) -> None:
    path = machine.write(f"{home}/mail.pl", EMAIL_SENDER)
    assert machine.shell(f"perl {path}") == "sent\n"
    check(machine, "from Email::Sender", "")
    assert "from Email::Sender" not in machine.mailbox("alice")


@pytest.mark.caller("nodemailer")
def test_nodemailer(machine: CallersMachine, home: str) -> None:
    path = machine.write(f"{home}/mail.js", NODEMAILER)
    assert machine.shell(f"node {path}") == "Messages queued for delivery\n"
    check(machine, "from nodemailer")


@pytest.mark.caller("Ruby mail")
def test_ruby_mail(machine: CallersMachine, home: str) -> None:
    path = machine.write(f"{home}/mail.rb", RUBY)
    assert machine.shell(f"ruby {path}") == "sent\n"
    check(machine, "from Ruby")


@pytest.fixture
def small(machine: CallersMachine) -> Iterator[CallersMachine]:
    """The machine, which takes no message of more than 100 octets."""
    machine.configure(message_size_limit=100)
    yield machine
    machine.run("mailctl", "config", "-X", "message_size_limit")


@pytest.mark.caller("PHP mail()", "Symfony Mailer", "Perl MIME::Lite", "nodemailer")
@pytest.mark.parametrize(
    ("command", "program", "said"),
    [
        ("php", PHP_MAIL, "bool(false)"),
        ("php", SYMFONY, "TransportException"),
        ("perl", MIME_LITE, "error closing /usr/lib/sendmail"),
        ("node", NODEMAILER, "Sendmail exited with code"),
    ],
    ids=["PHP", "Symfony", "MIME::Lite", "nodemailer"],
)
def test_an_application_learns_that_its_message_is_refused(
    small: CallersMachine, home: str, command: str, program: str, said: str
) -> None:
    path = small.write(f"{home}/program", program)
    before = small.mailbox("bob")
    words = "sendmail://default refused"
    assert said in small.shell(f"{command} {path} {words} 2>&1 || true")
    assert small.shell("mailq") == "Mail queue is empty\n"
    assert small.mailbox("bob") == before
