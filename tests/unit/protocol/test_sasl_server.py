"""The server's side of SASL: the examples of the RFCs, and what must not pass."""

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sendmail_py.protocol.sasl_server import (
    Challenge,
    Keys,
    NotBase64,
    Password,
    SaslError,
    allowed,
    begin,
    decode,
)
from sendmail_py.protocol.saslprep import saslprep
from sendmail_py.protocol.scram_keys import ScramKeys, keys_of, mac, salted, xor

USERS = {"user": "pencil", "tim": "tanstaaftanstaaf", "a,b=c": "x", "IX": "9"}
SALT = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")  # of RFC 7677
SERVER_NONCE = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"


def login(mechanism: str, *responses: bytes | None) -> tuple[str, list[bytes]]:
    """Log in with these responses, the first of which may be none; returns the user and the challenges."""
    exchange = begin(mechanism, responses[0], lambda: SERVER_NONCE)
    left = list(responses[1:])
    challenges = []
    answer: object = None
    try:
        while True:
            step = exchange.send(answer)
            if isinstance(step, Challenge):
                challenges.append(step.data)
                answer = left.pop(0)
            elif isinstance(step, Password):
                answer = USERS.get(step.user) == step.password
            else:
                assert isinstance(step, Keys)
                answer = (keys_of(USERS.get(step.user, "?"), SALT, 4096), step.user in USERS)
    except StopIteration as end:
        assert not left
        return end.value, challenges


# --- PLAIN and LOGIN -----------------------------------------------------------------------------


def test_plain_is_that_of_rfc_4616() -> None:
    assert login("PLAIN", b"\0tim\0tanstaaftanstaaf") == ("tim", [])
    assert login("PLAIN", None, b"\0tim\0tanstaaftanstaaf") == ("tim", [b""])


def test_who_authorizes_himself_is_nobody_else() -> None:
    assert login("PLAIN", b"tim\0tim\0tanstaaftanstaaf")[0] == "tim"
    with pytest.raises(SaslError, match="an identity other than"):
        login("PLAIN", b"user\0tim\0tanstaaftanstaaf")


def test_login_asks_for_name_and_password() -> None:
    assert login("LOGIN", None, b"user", b"pencil") == ("user", [b"Username:", b"Password:"])
    assert login("LOGIN", b"user", b"pencil") == ("user", [b"Password:"])


@pytest.mark.parametrize(
    "message",
    [
        b"", b"\0", b"\0\0", b"tim", b"\0tim", b"\0tim\0", b"\0\0tanstaaftanstaaf", b"\0tim\0x\0y", b"\0tim\0\xff",
        b"\0\xc3\x28\0x", b"\0ti\x07m\0x", b"\0" + b"a" * 2000 + b"\0x", b"\0tim\0" + b"x" * 2000, b"\0\xc2\xad\0x",
    ],
)  # fmt: skip
def test_what_is_no_plain_message_is_refused(message: bytes) -> None:
    with pytest.raises(SaslError, match="malformed"):
        login("PLAIN", message)


@pytest.mark.parametrize(("user", "password"), [(b"user", b"Pencil"), (b"User", b"pencil"), (b"nobody", b"pencil")])
def test_a_wrong_name_and_a_wrong_password_fail_alike(user: bytes, password: bytes) -> None:
    for mechanism, responses in (("PLAIN", (b"\0" + user + b"\0" + password,)), ("LOGIN", (user, password))):
        with pytest.raises(SaslError, match=r"^authentication failure$"):
            login(mechanism, *responses)


# --- SCRAM ---------------------------------------------------------------------------------------

FIRST = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
FINAL = b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="


def test_scram_is_that_of_rfc_7677() -> None:
    assert login("SCRAM-SHA-256", FIRST, FINAL, b"") == (
        "user",
        [
            b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
        ],
    )


def scram(user: str, password: str, header: str = "n,,", first_more: str = "", final_more: str = "") -> str:
    """Log in as a client does, with whatever it may say beside; returns who that is."""
    bare = f"n={user},r=abc{first_more}"
    server_first = f"r=abc{SERVER_NONCE},s={base64.b64encode(SALT).decode()},i=4096"
    final = f"c={base64.b64encode(header.encode()).decode()},r=abc{SERVER_NONCE}{final_more}"
    secret = salted(password, SALT, 4096)
    client_key = mac(secret, b"Client Key")
    signature = mac(hashlib.sha256(client_key).digest(), f"{bare},{server_first},{final}".encode())
    proof = base64.b64encode(xor(client_key, signature)).decode()
    return login("SCRAM-SHA-256", (header + bare).encode(), f"{final},p={proof}".encode(), b"")[0]


def test_scram_takes_names_with_commas_extensions_and_clients_that_know_of_channel_binding() -> None:
    assert scram("a=2Cb=3Dc", "x") == "a,b=c"
    assert scram("user", "pencil", header="y,,") == "user"
    assert scram("user", "pencil", first_more=",x=1,y=2", final_more=",z=3") == "user"
    assert scram("user", "pencil", header="n,a=user,") == "user"
    assert scram("\u2168", "9") == "IX"


def test_scram_too_lets_nobody_act_as_another() -> None:
    with pytest.raises(SaslError, match="an identity other than"):
        scram("user", "pencil", header="n,a=tim,")


@pytest.mark.parametrize(("user", "password"), [("user", "pen"), ("nobody", "?"), ("nobody", "pencil")])
def test_scram_fails_alike_for_wrong_passwords_and_for_nobody_even_with_the_keys_that_stand_in(
    user: str, password: str
) -> None:
    with pytest.raises(SaslError, match=r"^authentication failure$"):
        scram(user, password)


@pytest.mark.parametrize(
    "first",
    [
        b"", b",", b"n,,", b"n,,n=user", b"x,,n=user,r=a", b"n,,n=,r=a", b"n,,n=user,r=", b"n,,n=us=er,r=a",
        b"n,,n=us=2Xer,r=a", b"n,,m=1,n=user,r=a", b"n,x=user,n=user,r=a", b"n,,r=a,n=user", b"n,,n=user,r=\xc3\xa4",
        b"p=tls-unique,,n=user,r=a", b"n,,n=us\x00er,r=a", b"\xff,,n=user,r=a", b"n" + b"," * 9000,
    ],
)  # fmt: skip
def test_what_is_no_first_message_of_scram_is_refused(first: bytes) -> None:
    with pytest.raises(SaslError, match=r"malformed|channel binding"):
        login("SCRAM-SHA-256", first)


@pytest.mark.parametrize(
    "final",
    [
        b"", b"*", FINAL.replace(b"c=biws", b"c=eSws"), FINAL.replace(b"c=biws", b"c="), FINAL.replace(b"$k0", b"$k1"),
        FINAL.replace(b"r=rOpr", b"r=rOPr"), FINAL[:-4], FINAL + b",x=1", FINAL.replace(b"p=dHzb", b"p=!!!!"),
        FINAL.rpartition(b",")[0], FINAL.rpartition(b"p=")[0] + b"p=",
    ],
)  # fmt: skip
def test_what_is_no_final_message_of_scram_is_refused(final: bytes) -> None:
    with pytest.raises(SaslError):
        login("SCRAM-SHA-256", FIRST, final, b"")


def test_keys_are_written_as_rfc_5803_has_them_and_hold_no_password() -> None:
    keys = keys_of("pencil", SALT, 4096)
    text = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="  # noqa: E501
    assert str(keys) == text and ScramKeys.parse(text) == keys
    assert keys.is_of("pencil") and not keys.is_of("pencil ")
    assert "WG5d" not in repr(keys)


@pytest.mark.parametrize(
    ("old", "new"),
    [("SCRAM-SHA-256", "SCRAM-SHA-1"), ("$4096", "$4095"), ("4096", "x"), ("==$WG", "==$"), (":wf", "$wf")],
)
def test_keys_that_are_none_are_refused(old: str, new: str) -> None:
    with pytest.raises(ValueError, match="no SCRAM-SHA-256 keys"):
        ScramKeys.parse(str(keys_of("pencil", SALT, 4096)).replace(old, new))


# --- noise ---------------------------------------------------------------------------------------

WORDS = [
    b"n,,",
    b"y,,",
    b"n,a=tim,",
    b"n=user",
    b"n=",
    b"r=",
    b"r=abc",
    b",",
    b"=2C",
    b"\0",
    b"user",
    b"c=biws",
    b"p=",
    b"m=1",
]
noise = st.lists(st.one_of(st.sampled_from([*WORDS, FIRST, FINAL]), st.binary(max_size=9)), max_size=8).map(b"".join)


@given(st.sampled_from(["PLAIN", "LOGIN", "SCRAM-SHA-256"]), st.lists(noise, min_size=1, max_size=4))
def test_noise_logs_nobody_in_and_ends_in_a_refusal_or_a_question(mechanism: str, responses: list[bytes]) -> None:
    exchange = begin(mechanism, responses[0], lambda: SERVER_NONCE)
    answer: object = None
    left = responses[1:]
    try:
        while True:
            step = exchange.send(answer)
            if isinstance(step, Challenge):
                assert not step.data.startswith(b"v="), "nobody has proven anything"
                if not left:
                    return
                answer = left.pop(0)
            elif isinstance(step, Password):
                answer = False
            else:
                answer = (keys_of("not guessed", SALT, 4096), True)
    except SaslError:
        pass


# --- what they share -----------------------------------------------------------------------------


def test_security_options_rule_out_what_sends_the_password() -> None:
    all_of_them = ["SCRAM-SHA-256", "PLAIN", "LOGIN"]
    assert allowed(all_of_them, ["noanonymous"]) == all_of_them
    assert allowed(all_of_them, ["noplaintext"]) == ["SCRAM-SHA-256"]
    assert allowed(all_of_them, ["nodictionary"]) == []


def test_a_response_is_base64_and_an_equals_sign_nothing() -> None:
    assert decode("dGVzdA==") == b"test" and decode("=") == b"" and decode("") == b""
    for text in ("dGVzdA", "dGVz dA==", "\u00e4", "****", "dGVzdA==x"):
        with pytest.raises(NotBase64):
            decode(text)


@pytest.mark.parametrize(
    ("text", "prepared"),
    [("I\u00adX", "IX"), ("user", "user"), ("USER", "USER"), ("\u00aa", "a"), ("\u2168", "IX"), ("a\u00a0b", "a b")],
)
def test_saslprep_is_that_of_rfc_4013(text: str, prepared: str) -> None:
    assert saslprep(text) == prepared


@pytest.mark.parametrize("text", ["\u0007", "\u0627\u0031", "a\u200eb", "\ue000", "\u0221", "a\u0627", "\x7f"])
def test_saslprep_refuses_what_is_prohibited(text: str) -> None:
    with pytest.raises(ValueError):
        saslprep(text)
