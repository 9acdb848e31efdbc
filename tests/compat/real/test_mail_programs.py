"""Programs with which people write mail."""

import pytest
from callers_machine import HOST, CallersMachine

ALICE, BOB, CAROL = (f"{name}@{HOST}" for name in ("alice", "bob", "carol"))


@pytest.mark.caller("bsd-mailx")
def test_bsd_mailx_mails_to_two_and_removes_bcc(machine: CallersMachine, home: str) -> None:
    assert machine.shell("printf 'from bsd-mailx\\n.\\nend\\n' | bsd-mailx -s Grüße -c carol -b alice bob") == ""
    for user in ("bob", "carol", "alice"):
        mail = machine.mail(user, "from bsd-mailx")
        assert (mail["Return-Path"], mail["From"]) == (f"<{ALICE}>", f"Alice Example <{ALICE}>")
        assert (mail["To"], mail["Cc"], mail.header["Bcc"]) == (BOB, CAROL, None)
        assert "Subject: Grüße\n" in mail.text
        assert mail.body == "from bsd-mailx\n.\nend\n"


@pytest.mark.caller("bsd-mailx")
def test_bsd_mailx_sets_the_envelope_sender(machine: CallersMachine, home: str) -> None:
    assert machine.shell("echo with a sender | bsd-mailx -r news@example.org -s x bob") == ""
    mail = machine.mail("bob", "with a sender")
    assert (mail["Return-Path"], mail["From"]) == ("<news@example.org>", "news@example.org")


@pytest.mark.caller("s-nail")
def test_s_nail_mails_with_an_attachment(machine: CallersMachine, home: str) -> None:
    script = f"echo attached > file; printf 'from s-nail\\n.\\nend\\n' | s-nail -s x -a file -b carol -r {ALICE} bob"
    assert machine.shell(script) == ""
    for user in ("bob", "carol"):
        mail = machine.mail(user, "from s-nail")
        assert (mail["Return-Path"], mail["To"], mail.header["Bcc"]) == (f"<{ALICE}>", BOB, None)
        text, attachment = mail.header.get_payload()
        assert text.get_payload() == "from s-nail\n.\nend\n"
        assert attachment.get_payload() == "attached\n"


@pytest.mark.caller("mailutils")
def test_mailutils_mails_though_it_closes_stdout_and_stderr(machine: CallersMachine, home: str) -> None:
    assert machine.shell("printf 'from mailutils\\nend\\n' | mail.mailutils -s 'A subject' bob") == ""
    mail = machine.mail("bob", "from mailutils")
    assert (mail["Return-Path"], mail["To"], mail["Subject"]) == (f"<{ALICE}>", BOB, "A subject")
    assert mail.body == "from mailutils\nend\n"


@pytest.mark.caller("mutt")
def test_mutt_mails_to_all_kinds_of_recipients(machine: CallersMachine, home: str) -> None:
    machine.write(
        f"{home}/.muttrc",
        "set use_envelope_from\nset from = alice@host.example.org\nset use_8bitmime\nset send_charset = utf-8\n",
    )
    script = "printf 'from mutt: ö\\n.\\nend\\n' | LC_ALL=C.UTF-8 mutt -s Grüße -c carol -b alice -- bob"
    assert machine.shell(script) == ""
    for user in ("bob", "carol", "alice"):
        mail = machine.mail(user, "from mutt")
        assert (mail["Return-Path"], mail["To"], mail["Cc"], mail.header["Bcc"]) == (f"<{ALICE}>", BOB, CAROL, None)
        assert mail["Subject"] == "=?utf-8?B?R3LDvMOfZQ==?="
        assert mail.body == "from mutt: ö\n.\nend\n"


@pytest.mark.caller("nmh")
@pytest.mark.parametrize("transport", ["sendmail/pipe", "sendmail/smtp"])
def test_nmh_sends_and_makes_a_blind_copy(machine: CallersMachine, home: str, transport: str) -> None:
    machine.shell("mkdir Mail; echo 'Path: Mail' > .mh_profile")
    draft = f"From: {ALICE}\nTo: {BOB}\nBcc: {CAROL}\nSubject: nmh\n\nby {transport}\n.\nend\n"
    path = machine.write(f"{home}/draft", draft)
    assert machine.shell(f"PATH=$PATH:/usr/bin/mh; send -mts {transport} {path}") == ""
    mail = machine.mail("bob", f"by {transport}")
    assert (mail["Return-Path"], mail["To"], mail["From"]) == (f"<{ALICE}>", BOB, ALICE)
    assert mail.body == f"by {transport}\n.\nend\n"
    copy = machine.mail("carol", f"by {transport}")
    assert "Blind-Carbon-Copy" in copy.body
    assert (copy.header["To"], copy.header["Bcc"]) == (None, None)


@pytest.mark.caller("git send-email")
def test_git_sends_a_patch_that_applies_again(machine: CallersMachine, home: str) -> None:
    script = f"""
    git init -q work; cd work
    git config user.name 'Al Ice'
    git config user.email al@example.org
    git commit -q --allow-empty -m start
    printf 'one\\n.\\nFrom me\\nthe patch that git sends\\n' > file
    git add file
    git commit -q -m 'Change the file'
    git format-patch -q -1 -o ..
    git config sendemail.envelopesender auto
    git send-email --to={BOB} --cc={CAROL} --suppress-cc=all --confirm=never --quiet ../0001*.patch"""
    machine.shell(script)
    mail = machine.mail("bob", "the patch that git sends")
    machine.mail("carol", "the patch that git sends")
    assert (mail["Return-Path"], mail["From"]) == ("<al@example.org>", "Al Ice <al@example.org>")
    assert (mail["To"], mail["Subject"]) == (BOB, "[PATCH] Change the file")
    machine.write(f"{home}/delivered", mail.text)
    assert "\n+From me\n" in mail.text
    machine.shell("cd work; git checkout -q HEAD~; git am -q ../delivered; grep -q 'patch that git sends' file")


@pytest.mark.caller("Mercurial")
def test_mercurial_sends_a_patch(machine: CallersMachine, home: str) -> None:
    settings = ["[extensions]", "patchbomb =", "[email]", "method = /usr/sbin/sendmail", f"from = {ALICE}"]
    machine.write(f"{home}/.hgrc", "\n".join([*settings, "[ui]", f"username = Al <{ALICE}>", ""]))
    script = f"""
    hg init work; cd work
    echo the patch that hg sends > file
    hg commit -q -A -m 'Add a file'
    hg email -q -r 0 -t {BOB} -c {CAROL} < /dev/null"""
    machine.shell(script)
    for user in ("bob", "carol"):
        mail = machine.mail(user, "the patch that hg sends")
        assert (mail["Return-Path"], mail["From"]) == (f"<{ALICE}>", ALICE)
        assert (mail["To"], mail["Cc"], mail["Subject"]) == (BOB, CAROL, "[PATCH] Add a file")
    machine.write(f"{home}/delivered", mail.text)
    machine.shell("hg init other; cd other; hg import -q ../delivered; grep -q 'patch that hg sends' file")


@pytest.mark.caller("mime-construct")
def test_mime_construct_mails_from_the_command_line(machine: CallersMachine, home: str) -> None:
    words = "--to bob --cc carol --subject x --type text/plain --encoding 8bit --string 'by mime-construct'"
    assert machine.shell(f"mime-construct {words}") == ""
    for user in ("bob", "carol"):
        mail = machine.mail(user, "by mime-construct")
        assert (mail["Return-Path"], mail["To"], mail["Cc"]) == (f"<{ALICE}>", BOB, CAROL)


@pytest.mark.caller("swaks")
def test_swaks_goes_on_when_one_recipient_is_refused(machine: CallersMachine, home: str) -> None:
    words = f"--from {ALICE} --to '{BOB},x<>@example.org,{CAROL}' --body 'from swaks\\n.\\nend'"
    said = machine.shell(f"swaks --pipe '/usr/sbin/sendmail -bs' {words}")
    assert "<** 501 5.1.3" in said
    assert "<-  250 2.0.0 Ok: queued as " in said
    for user in ("bob", "carol"):
        mail = machine.mail(user, "from swaks\n")
        assert mail["Return-Path"] == f"<{ALICE}>"
        assert mail.body.startswith("from swaks\n.\nend\n")
