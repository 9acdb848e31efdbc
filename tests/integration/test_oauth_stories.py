"""Logins by OAuth from `mailctl oauth login` to the mail at the smarthost, and what is seen when they are revoked."""

import contextlib
import json
import subprocess
import threading
import time
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography.hazmat.primitives import serialization as pem
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.integration.smarthost_instance import SmarthostInstance
from tests.servers.certificates import Authority
from tests.servers.oauth_server import CLIENT, SECRET, USER, OAuthServer
from tests.servers.secure_sink import SecureSink


@pytest.fixture
def place(tmp_path):
    """An instance whose smarthost takes the tokens of a token server: both speak TLS."""
    authority = Authority(tmp_path)
    certificate = authority.certificate("127.0.0.1")
    with contextlib.ExitStack() as stack:
        oauth = stack.enter_context(OAuthServer(certificate, rotation="strict"))
        sink = stack.enter_context(
            SecureSink(certificate, tokens=lambda token: oauth.access.get(token, ("",))[0], mechanisms="XOAUTH2")
        )
        settings = {"error_notice_recipient": "games", "smtp_connection_cache_time_limit": "0"}
        instance = SmarthostInstance(tmp_path / "instance", sink, authority, **settings)
        instance.write_login(USER, "oauth:ours")
        (instance.path / "secret").write_text(f"{SECRET}\n")
        instance.oauth, instance.out = oauth, []
        stack.enter_context(instance)
        yield instance
        everything = [*instance.out, instance.log(), instance.mailctl("config", "-j").stdout.decode(), instance.mailq()]
        everything += [path.read_text("utf-8", "replace") for path in (instance.path / "mail").iterdir()]
        everything += [p.read_text("utf-8", "replace") for p in (instance.path / "queue").rglob("*") if p.is_file()]
        assert not [secret for secret in oauth.secrets for text in everything if secret in text]


def oauth(place, *words, input=b""):
    """Run mailctl oauth and remember what it printed; returns its status and its lines."""
    done = place.mailctl("oauth", *words, input=input)
    text = (done.stdout + done.stderr).decode()
    place.out.append(text)
    return done.returncode, text


def urls(place, *names):
    return [word for name in names for word in (f"--{name}-url", place.oauth.url(f"/{name}"))]


def log_in(place, *more, state="approved"):
    """Log in with a code, which the user types elsewhere."""
    agree = threading.Thread(target=agree_with, args=(place.oauth, state), daemon=True)
    agree.start()
    words = ["login", "ours", USER, "--client-id", CLIENT, "--scope", "mail", "--ca-file", place.authority.file]
    return oauth(place, *words, *urls(place, "token", "device"), *more)


def agree_with(server, state):
    """Do what the user does at the provider's page."""
    while not server.devices:
        time.sleep(0.05)
    server.approve(state)


def test_a_login_with_a_code_sends_mail_until_it_is_revoked_and_again_after_another(place):
    place.start()
    status, said = log_in(place)
    assert status == 0, said
    assert "and type " in said and f"{USER} is logged in at ours" in said and f"{USER}:oauth:ours" in said
    place.submit(b"Subject: one\n\nfirst\n", "someone@elsewhere.test")
    place.wait_for(lambda: len(place.sink.messages) == 1, "the message at the smarthost")
    assert oauth(place, "list")[1].startswith(f"{USER} (ours): good; ")
    assert json.loads(oauth(place, "list", "--json")[1])[0]["good"] is True
    assert oauth(place, "test", "ours", USER)[1].startswith(f"{USER} (ours): a new access token, good for 3")

    place.oauth.revoke()
    path = next((place.path / "data/oauth").glob("*.json"))
    row = json.loads(path.read_text())
    path.write_text(json.dumps(row | {"obtained_at": int(time.time()) - 3599, "expires_at": int(time.time()) + 1}))
    for _ in range(3):
        place.submit(b"Subject: two\n\nsecond\n", "someone@elsewhere.test")
    place.wait_for(lambda: place.mailq().count("is needed again") == 3, "the reason in mailq")
    notice = place.wait_for_mail("games", b"has to log in to ours again")
    assert f"mailctl oauth login ours {USER}".encode() in notice
    place.mailctl("flush", check=True)
    status, said = oauth(place, "list")
    assert status == 1 and "has to log in again: the token server refuses: invalid_grant" in said
    assert f"login of {USER} (ours): has to log in again" in place.mailctl("status").stdout.decode()

    assert log_in(place)[0] == 0
    place.mailctl("flush", check=True)
    place.wait_for(lambda: len(place.sink.messages) == 4, "all messages at the smarthost")
    place.wait_for(lambda: place.count() == 0, "an empty queue")
    assert (place.path / "mail/games").read_bytes().count(b"Subject: user@example.org has to") == 1
    assert place.log().count("warning: OAuth:") == 1

    assert oauth(place, "remove", "ours", USER)[0] == 0
    assert oauth(place, "remove", "ours", USER) == (75, f"mailctl: {USER} (ours): no such login\n")
    assert oauth(place, "list") == (0, "no logins\n")


def test_who_says_no_is_not_logged_in(place):
    status, said = log_in(place, state="denied")
    assert (status, said.splitlines()[-1]) == (69, "mailctl: the token server refuses: access_denied")
    assert oauth(place, "list") == (0, "no logins\n")


def test_an_application_logs_in_with_its_secret(place):
    words = ["login", "ours", USER, "--client-credentials", "--client-id", CLIENT, "--ca-file", place.authority.file]
    secret = ["--client-secret-file", place.path / "secret"]
    assert oauth(place, *words, *secret, *urls(place, "token"))[0] == 0
    place.start()
    place.submit(b"Subject: one\n\nfirst\n", "someone@elsewhere.test")
    place.wait_for(lambda: len(place.sink.messages) == 1, "the message at the smarthost")


def test_one_command_logs_in_and_has_all_mail_sent_with_the_login(place):
    (place.path / "passwords").write_text("# mine\nother.test me:secret\n[smtp.test]:587 old:one\n  more\n")
    place.configure(relayhost="", smtp_sasl_auth_enable="no", smtp_tls_security_level="may")
    hop = f"[127.0.0.1]:{place.sink.port}"
    words = ["login", "ours", USER, "--client-credentials", "--client-id", CLIENT, "--ca-file", place.authority.file]
    words += ["--client-secret-file", place.path / "secret", *urls(place, "token")]
    assert oauth(place, *words, "--configure")[0] == 64
    status, said = oauth(place, *words, "--configure", hop)
    assert status == 0 and f"relayhost = {hop}\n" in said, said
    assert oauth(place, *words, "--configure", hop)[0] == 0
    entry = f"{hop} {USER}:oauth:ours\n"
    assert (
        place.path / "passwords"
    ).read_text() == f"# mine\nother.test me:secret\n[smtp.test]:587 old:one\n  more\n{entry}"
    place.start()
    place.submit(b"Subject: one\n\nfirst\n", "someone@elsewhere.test")
    place.wait_for(lambda: len(place.sink.messages) == 1, "the message at the smarthost")


def test_a_login_that_fails_configures_nothing(place):
    before = (place.path / "main.cf").read_bytes(), (place.path / "passwords").read_bytes()
    (place.path / "secret").write_text("wrong")
    words = ["login", "ours", USER, "--client-credentials", "--client-id", CLIENT, "--ca-file", place.authority.file]
    words += ["--client-secret-file", place.path / "secret", *urls(place, "token"), "--configure", "[x.test]:587"]
    status, said = oauth(place, *words)
    assert (status, said) == (69, "mailctl: the token server refuses: invalid_client: who is that?\n")
    assert ((place.path / "main.cf").read_bytes(), (place.path / "passwords").read_bytes()) == before


def test_a_service_account_logs_in_with_its_file(place):
    key = rsa.generate_private_key(65537, 2048)
    public = key.public_key().public_bytes(pem.Encoding.PEM, pem.PublicFormat.SubjectPublicKeyInfo)
    place.oauth.keys["robot@project.test"] = public
    text = key.private_bytes(pem.Encoding.PEM, pem.PrivateFormat.PKCS8, pem.NoEncryption()).decode()
    row = {"client_email": "robot@project.test", "private_key": text, "token_uri": place.oauth.url("/token")}
    (place.path / "key.json").write_text(json.dumps(row))
    place.oauth.secrets.add(text.splitlines()[3])
    words = ["login", "google", USER, "--service-account", place.path / "key.json", "--ca-file", place.authority.file]
    assert oauth(place, *words)[0] == 0
    assert oauth(place, "test", "google", USER)[0] == 0


def test_a_login_by_a_browser_takes_the_address_that_the_browser_ends_at(place):
    words = ["oauth", "login", "ours", USER, "--browser", "--client-id", CLIENT, "--ca-file", place.authority.file]
    words += [*urls(place, "token", "authorization"), "--scope", "mail"]
    command = [place.tree / "bin/mailctl", *map(str, words)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=place.environment)
    lines = iter(process.stdout.readline, "")
    url = next(line for line in lines if line.startswith("https://")).strip()
    asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    assert asked["code_challenge_method"] == "S256" and asked["login_hint"] == USER
    place.oauth.codes["the-code"] = asked["redirect_uri"], asked["code_challenge"]
    said, _ = process.communicate(f"{asked['redirect_uri']}?code=the-code&state={asked['state']}\n", timeout=60)
    place.out.append(said)
    assert process.returncode == 0 and "is logged in" in said


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "oauth: one of login, list, test, remove expected"),
        (["login"], "the following arguments are required: provider, address"),
        (["login", "microsoft", USER], "--client-id is needed"),
        (
            ["login", "microsoft", USER, "--client-credentials", "--client-id", "x"],
            "--client-credentials needs --tenant",
        ),
        (["login", "Ours", USER], "lower-case letters and digits expected"),
        (["login", "ours", USER, "--client-id", "x"], "ours has no preset: --token-url is needed"),
        (["login", "ours", USER, "--token-url", "http://x.test/"], "an address with https:// is expected"),
        (["login", "google", "a:b", "--client-id", "x"], "a:b: an address expected"),
        (["login", "google", USER, "--service-account", "/dev/null"], "is not the JSON file of a service account"),
    ],
)
def test_a_command_line_that_cannot_be_is_one_line(words, says, place):
    status, said = oauth(place, *words)
    assert status == 64 and says in said and said.count("\n") == 1
