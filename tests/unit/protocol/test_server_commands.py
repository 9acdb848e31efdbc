"""What MAIL and RCPT may say: paths and parameters, accepted and refused."""

import pytest

from sendmail_py.core.address import Address
from sendmail_py.protocol.server_commands import CommandReader, Mail, Rcpt, Refused
from sendmail_py.protocol.server_paths import read_path

READER = CommandReader("here.test", {"SIZE": "1000", "8BITMIME": "", "SMTPUTF8": "", "DSN": ""})
BARE_READER = CommandReader("here.test", {})


def read(line, smtputf8=False, reader=READER):
    return reader.read(line.encode(), smtputf8)


def refusal(line, **more):
    command = read(line, **more)
    assert isinstance(command, Refused) or command.answer.code >= 400, command
    return command.answer.text[:9]


ADDRESSES = {
    "<bob@b.test>": ("bob", "b.test"),
    "bob@b.test": ("bob", "b.test"),
    "<bob>": ("bob", ""),
    "bob": ("bob", ""),
    "<@x.test:bob@b.test>": ("bob", "b.test"),
    "<@x.test,@y.test:bob@b.test>": ("bob", "b.test"),
    "<bob@b.test.>": ("bob", "b.test"),
    "<bob@[192.0.2.1]>": ("bob", "[192.0.2.1]"),
    "<bob@[IPv6:2001:db8::1]>": ("bob", "[IPv6:2001:db8::1]"),
    '<"bob"@b.test>': ("bob", "b.test"),
    '<"b o\\"b"@b.test>': ('b o"b', "b.test"),
    '<"bob@x.test"@b.test>': ("bob@x.test", "b.test"),
    '<"bob".smith@b.test>': ("bob.smith", "b.test"),
    "<bob..smith.@b.test>": ("bob..smith.", "b.test"),
    "<bob%x.test@b.test>": ("bob%x.test", "b.test"),
    "<x.test!bob>": ("x.test!bob", ""),
    "<o'brien+tag=x/y@b_c.test>": ("o'brien+tag=x/y", "b_c.test"),
    "<|prog@b.test>": ("|prog", "b.test"),
    "<bjørn@b.test>": ("bjørn", "b.test"),
    "<bob@bücher.test>": ("bob", "bücher.test"),
}


@pytest.mark.parametrize("path", ADDRESSES)
def test_a_path_is_read(path):
    assert read_path(path) == Address(*ADDRESSES[path])
    assert read(f"RCPT TO:{path}", smtputf8=True).address == Address(*ADDRESSES[path])


NO_ADDRESSES = [
    "<", ">", "<<bob@b.test>>", "<bob@b.test", "bob@b.test>", "<bob@b.test>x", "<bob@x.test@b.test>", "<@b.test>",
    "<bob@>", "<@>", '<""@b.test>', '<"bob@b.test>', "<bob@b..test>", "<bob@.test>", "<bob@[192.0.2.1>", "<bob@[a b]>",
    "<bob,carol@b>",
    "<bob;carol@b.test>", "<a:bob@b.test>", "<-oQ/tmp@b.test>", '<"-t"@b.test>', "<bob(x)@b.test>", "<bob\\@b.test>",
    "<bob@b\u2028c.test>", "<b\x85b@b.test>", "<bob@b.test\u2029>", "<bob@-b.test:x>", '<"a"b c@d>',
]  # fmt: skip


@pytest.mark.parametrize("path", NO_ADDRESSES)
def test_a_path_that_could_be_misread_is_refused(path):
    assert refusal(f"RCPT TO:{path}", smtputf8=True) in ("501 5.1.3", "501 5.5.4", "555 5.5.4")
    assert refusal(f"MAIL FROM:{path} SMTPUTF8") in ("501 5.1.7", "501 5.5.4", "555 5.5.4")


def test_the_common_form_means_what_any_other_spelling_of_it_does():
    """Two blanks, or a quoted name, take the long way."""
    for path in ("<bob@b.test>", "<B_o.b+x@sub-1.b_c.test>", "<_bob@localhost>", "<0@0>"):
        quoted = f'<"{path[1:].replace("@", chr(34) + "@", 1)}'
        for words in ("", " SIZE=0", " SIZE=17", " SIZE=1000"):
            short, long = read(f"MAIL FROM:{path}{words}"), read(f"mail  from:{quoted}{words}")
            assert (short, short.sender.local_part, short.sender.domain) == (
                long,
                long.sender.local_part,
                long.sender.domain,
            )
        assert read(f"RCPT TO:{path}") == read(f"RCPT  TO:{quoted}") == read(f"rcpt to:{path}")
    assert refusal("MAIL FROM:<bob@b.test> SIZE=1001") == "552 5.3.4"
    assert refusal("RCPT TO:<bob@b.test> SIZE=17") == "555 5.5.4"
    assert refusal("MAIL FROM:<bob@b.test> SIZE=17", reader=BARE_READER) == "555 5.5.4"


@pytest.mark.parametrize("path", ["<x y@b.test>", "< bob@b.test>", "<bob@b.test >", "<x y", '<"x" y@b.test>'])
def test_a_blank_in_brackets_makes_a_bad_address_and_no_parameter(path):
    assert refusal(f"RCPT TO:{path}") == "501 5.1.3"
    assert refusal(f"MAIL FROM:{path} SIZE=10") == "501 5.1.7"


def test_the_null_path_is_a_sender_and_no_recipient():
    assert read("MAIL FROM:<>").sender == Address("")
    assert refusal("RCPT TO:<>") == "501 5.1.3"


def test_an_octet_that_is_no_utf8_in_an_address_is_refused():
    assert isinstance(READER.read(b"RCPT TO:<b\xe4r@b.test>", True), Refused)


def test_mail_tells_its_parameters():
    command = read("mail from:<a@b.test> size=0999 body=8bitmime ret=Full envid=QQ+2B1 smtputf8")
    assert command == Mail(command.answer, Address("a", "b.test"), 999, "8BITMIME", True, "FULL", "QQ+2B1")


def test_rcpt_tells_its_parameters():
    command = read("RCPT TO:<a@b.test> notify=failure,Delay ORCPT=rfc822;a+40b.test")
    assert command == Rcpt(command.answer, Address("a", "b.test"), ("FAILURE", "DELAY"), "rfc822;a+40b.test")


def test_utf8_in_orcpt_is_written_in_ascii():
    assert (
        read("RCPT TO:<a@b.test> ORCPT=UTF-8;bj\u00f8rn@\U0001f600", smtputf8=True).original
        == r"UTF-8;bj\x{F8}rn@\x{1F600}"
    )
    assert refusal("RCPT TO:<a@b.test> ORCPT=utf-8;bj\u00f8rn@b") == "501 5.5.4"


BAD_OF_MAIL = [
    "SIZE=", "SIZE", "SIZE=-1", "SIZE=+1", "SIZE=1_0", "SIZE=1x", "SIZE=١٢", "SIZE=" + "0" * 21, "SIZE=1 SIZE=1",
    "BODY=BINARYMIME", "BODY=", "SMTPUTF8=1", "SMTPUTF8=", "SMTPUTF8 SMTPUTF8", "RET=NONE", "RET=FULL RET=HDRS",
    "ENVID=", "ENVID=a=b", "ENVID=+0A", "ENVID=+0d", "ENVID=+7F", "ENVID=+00", "ENVID=+2", "ENVID=+",
    "ENVID=" + "x" * 101,
]  # fmt: skip
BAD_OF_RCPT = [
    "NOTIFY=", "NOTIFY", "NOTIFY=NEVER,FAILURE", "NOTIFY=FAILURE,FAILURE", "NOTIFY=,", "NOTIFY=ALWAYS", "NOTIFY=NEVER,",
    "ORCPT=", "ORCPT=bob", "ORCPT=;bob", "ORCPT=rfc822;", "ORCPT=rfc822;a+0Ab", "ORCPT=rfc822;a=b", "ORCPT=rf c;b",
    "ORCPT=rfc822;" + "x" * 500, "ORCPT=rfc822;a ORCPT=rfc822;a",
]  # fmt: skip


@pytest.mark.parametrize("words", BAD_OF_MAIL)
def test_a_bad_parameter_of_mail_is_refused(words):
    assert refusal(f"MAIL FROM:<a@b.test> {words}") == "501 5.5.4"


@pytest.mark.parametrize("words", BAD_OF_RCPT)
def test_a_bad_parameter_of_rcpt_is_refused(words):
    assert refusal(f"RCPT TO:<a@b.test> {words}") in ("501 5.5.4", "555 5.5.4")


@pytest.mark.parametrize("size", ["1001", "9" * 20])
def test_a_declared_size_over_the_limit_is_refused_at_once(size):
    assert refusal(f"MAIL FROM:<a@b.test> SIZE={size}") == "552 5.3.4"


def test_without_a_limit_any_size_is_taken():
    assert read("MAIL FROM:<a@b.test> SIZE=99999999999", reader=CommandReader("x", {"SIZE": ""})).size == 99999999999


@pytest.mark.parametrize("line", ["MAIL FROM:<a@b.test> " + w for w in ("SIZE=1", "BODY=7BIT", "SMTPUTF8", "RET=HDRS")])
def test_a_parameter_of_an_extension_that_is_not_offered_is_unknown(line):
    assert refusal(line, reader=BARE_READER) == "555 5.5.4"


@pytest.mark.parametrize(
    "line",
    [
        "R\u017fET", "HELP\u00a0x", "MA\u0131L FROM:<a@b.test>", "MAIL FROM:<a@b.test> \u017fIZE=1",
        "MAIL FROM:<a@b.test> RET=HDR\u017f", "RCPT TO:<a@b.test> NOTIFY=\u017fUCCESS",
        "MAIL FROM:<a@b.test> SIZE=1\u3000RET=HDRS",
    ],
)  # fmt: skip
def test_only_ascii_letters_make_a_word_of_the_protocol(line: str) -> None:
    assert refusal(line, smtputf8=True)[:3] in ("500", "501", "555")


def test_an_address_in_utf8_needs_no_smtputf8_and_one_that_is_no_utf8_is_refused():
    assert str(read("MAIL FROM:<bjørn@b.test>").sender) == str(read("RCPT TO:<bjørn@b.test>").address) == "bjørn@b.test"
    assert isinstance(READER.read(b"RCPT TO:<b\xf8rn@b.test>", False), Refused)
