"""Access tokens: asked for once, by whoever comes first; kept before they are used; and what a token server may do."""

import json
import threading
import time
from dataclasses import replace

import pytest

from sendmail_py.formats.oauth import Account, OAuthError, OAuthRefused, from_json, to_json
from sendmail_py.services import oauth_refresh
from sendmail_py.services.oauth_refresh import Revoked, fresh_account
from sendmail_py.spool.token_store import TokenStore
from tests.servers.certificates import Authority
from tests.servers.oauth_server import CLIENT, SECRET, USER, OAuthServer


@pytest.fixture
def server():
    with OAuthServer(rotation="strict") as server:
        yield server


@pytest.fixture
def store(tmp_path):
    (tmp_path / "oauth").mkdir(mode=0o700)
    return TokenStore(str(tmp_path / "oauth"))


def account(server, **more):
    given = {"provider": "test", "address": USER, "grant": "refresh_token", "token_url": server.url("/token")}
    given |= {"client_id": CLIENT, "client_secret": SECRET, "refresh_token": server.new_refresh()}
    return Account(**given | more)


def get(store, **more):
    return fresh_account(store, "test", USER, **more)


def trouble(store, **more):
    """Return the error that there is instead of a token; it holds no secret."""
    with pytest.raises(OAuthError) as caught:
        get(store, **more)
    return caught.value


def test_a_token_is_asked_for_once_and_used_while_it_is_good(store, server):
    store.save(account(server))
    tokens = {get(store).access_token for _ in range(3)}
    assert tokens == set(server.access)
    assert len(server.asked) == 1


def test_many_who_need_a_token_at_one_time_ask_once(store, server):
    store.save(account(server))
    server.delay = 0.2
    got = []
    threads = [
        threading.Thread(target=lambda: got.append(get(TokenStore(store.directory)).access_token)) for _ in range(10)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(got) == 10 and len(set(got)) == 1
    assert len(server.asked) == 1


def test_a_rotated_refresh_token_is_kept_with_the_one_before(store, server):
    first = store.save(account(server))
    second = get(store)
    third = get(store, force=True)
    assert second.previous_refresh_token == first.refresh_token
    assert third.previous_refresh_token == second.refresh_token
    assert store.load("test", USER) == third
    assert list(server.refresh) == [third.refresh_token]


def test_a_server_that_forgot_the_last_refresh_token_gets_the_one_before(store, server):
    old = account(server)
    store.save(replace(old, refresh_token="never heard of", previous_refresh_token=old.refresh_token))
    assert get(store).access_token in server.access
    assert [form["refresh_token"] for form in server.asked] == ["never heard of", old.refresh_token]


@pytest.mark.parametrize("address", ["USER@Example.ORG", "user@example.org"])
def test_the_case_of_an_address_makes_no_difference(address, store, server):
    store.save(account(server))
    assert fresh_account(store, "test", address).access_token


def test_a_token_is_renewed_before_its_end(store, server):
    now = int(time.time())
    for left, asks in ((330, 0), (299, 1)):  # the machine may be slow
        store.save(account(server, access_token="old", obtained_at=now - 3600 + left, expires_at=now + left))
        get(store)
        assert len(server.asked) == asks


@pytest.mark.parametrize(("lifetime", "left", "asks"), [(600, 180, 0), (600, 140, 1)])
def test_a_token_of_a_short_life_is_renewed_in_its_last_quarter(lifetime, left, asks, store, server):
    now = int(time.time())
    store.save(account(server, access_token="old", obtained_at=now - lifetime + left, expires_at=now + left))
    get(store)
    assert len(server.asked) == asks


def test_a_clock_that_went_back_does_not_keep_an_old_token(store, server):
    store.save(account(server, access_token="old", obtained_at=int(time.time()) + 9999, expires_at=2**40))
    assert get(store).access_token in server.access


def test_a_token_that_was_refused_is_replaced_though_it_is_not_old(store, server):
    store.save(account(server))
    token = get(store).access_token
    store.save(replace(store.load("test", USER), obtained_at=int(time.time()) - 100))
    assert get(store, refused=token).access_token != token


def test_a_token_that_was_refused_when_it_was_new_is_not_asked_for_again(store, server):
    store.save(account(server))
    token = get(store).access_token
    assert get(store, refused=token).access_token == token
    assert len(server.asked) == 1


def test_who_has_not_logged_in_is_told_how(store):
    assert "`mailctl oauth login test user@example.org` does it" in str(trouble(store))


def test_a_revoked_login_is_remembered_and_asked_for_seldom(store, server):
    store.save(account(server))
    server.revoke()
    for _ in range(3):
        error = trouble(store)
        assert isinstance(error, Revoked) and "`mailctl oauth login test user@example.org` is needed" in str(error)
    assert len(server.asked) == 1
    kept = store.load("test", USER)
    assert "<hidden>" in kept.revoked and kept.refresh_token not in kept.revoked
    store.save(replace(kept, revoked_at=int(time.time()) - 3601))
    server.refresh[kept.refresh_token] = USER  # the server was wrong
    assert get(store).access_token in server.access
    assert store.load("test", USER).revoked == ""


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (500, "{}", "the token server has trouble: it answered 500"),
        (503, "<html>", "the token server answered 503, and no JSON"),
        (200, "", "the token server answered 200, and no JSON"),
        (200, "[]", "the token server answered 200, and no JSON"),
        (200, "[" * 60000, "the token server answered 200, and no JSON"),
        (200, "{}", "the token server gave no bearer token"),
        (200, '{"access_token": "a b"}', "the token server gave no bearer token"),
        (200, '{"access_token": 7}', "the token server gave no bearer token"),
        (200, '{"access_token": "x", "token_type": "mac"}', "the token server gave no bearer token"),
        (429, '{"error": "slow_down"}', "the token server has trouble: slow_down"),
        (302, "{}", "the token server has trouble: it answered 302"),
        (400, '{"error": "invalid_scope", "error_description": "no\\u0007 such"}', "refuses: invalid_scope: no such"),
        (401, '{"error": "invalid_client"}', "refuses: invalid_client"),
        (200, "x" * 70000, "an answer without end"),
    ],
)
def test_whatever_a_token_server_answers_is_one_line_and_revokes_nothing(status, body, says, store, server):
    store.save(account(server))
    server.answers.append((status, body))
    error = trouble(store)
    assert says in str(error) and "\n" not in str(error) and not isinstance(error, Revoked)
    assert store.load("test", USER).trouble == str(error)
    assert get(store).access_token in server.access
    assert store.load("test", USER).trouble == ""


def test_while_the_token_at_hand_is_good_a_token_server_may_be_down(store, server):
    now = int(time.time())
    store.save(account(server, access_token="good", obtained_at=now - 3500, expires_at=now + 100))
    server.answers.append((503, "{}"))
    assert get(store).access_token == "good"
    assert "has trouble" in store.load("test", USER).trouble


def test_a_token_server_that_does_not_answer_is_not_waited_for_long(store, server, monkeypatch):
    monkeypatch.setattr(oauth_refresh, "SECONDS", 0.3)
    server.delay = 600
    store.save(account(server))
    assert "did not answer within" in str(trouble(store))


def test_a_token_server_that_is_not_there_is_named(store, server):
    store.save(account(server, token_url="http://127.0.0.1:1/token"))
    assert "the token server cannot be asked: 127.0.0.1: Connection refused" in str(trouble(store))


@pytest.mark.parametrize(
    "url", ["http://login.example.org/token", "ftp://127.0.0.1/", "https://", "file:///etc/passwd"]
)
def test_tokens_go_over_https_alone(url, store, server):
    store.save(account(server, token_url=url))
    assert "an address with https:// is expected" in str(trouble(store))


@pytest.mark.parametrize(("name", "is_known", "is_good"), [("127.0.0.1", True, True), ("127.0.0.1", False, False)])
def test_the_certificate_of_a_token_server_is_checked(name, is_known, is_good, store, tmp_path):
    authority = Authority(tmp_path)
    with OAuthServer(certificate=authority.certificate(name)) as server:
        store.save(account(server, ca_file=authority.file if is_known else ""))
        if is_good:
            assert get(store).access_token in server.access
        else:
            assert "certificate" in str(trouble(store))
            assert server.asked == []


def test_a_certificate_for_another_name_is_not_taken(store, tmp_path):
    authority = Authority(tmp_path)
    with OAuthServer(certificate=authority.certificate("login.example.org")) as server:
        store.save(account(server, ca_file=authority.file))
        assert "certificate is not valid for '127.0.0.1'" in str(trouble(store))
        assert server.asked == []


def test_an_application_gets_tokens_without_a_user(store, server):
    store.save(account(server, grant="client_credentials", refresh_token=""))
    assert get(store).access_token in server.access
    assert server.asked[0]["client_secret"] == SECRET
    store.save(replace(store.load("test", USER), client_secret="wrong", access_token=""))
    assert "invalid_client" in str(trouble(store))
    assert not store.load("test", USER).revoked


def test_a_service_account_signs_for_its_user(store, server):
    from cryptography.hazmat.primitives import serialization as pem
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(65537, 2048)
    text = key.private_bytes(pem.Encoding.PEM, pem.PrivateFormat.PKCS8, pem.NoEncryption()).decode()
    server.keys["robot@project.test"] = key.public_key().public_bytes(
        pem.Encoding.PEM, pem.PublicFormat.SubjectPublicKeyInfo
    )
    more = {"grant": "jwt-bearer", "refresh_token": "", "client_id": "robot@project.test", "key_id": "7"}
    store.save(account(server, key=text, **more))
    token = get(store).access_token
    assert server.access[token][0] == USER
    store.save(account(server, key="no key", **more))
    error = trouble(store)
    assert isinstance(error, OAuthRefused) and "the private key cannot be read" in str(error)


def test_files_are_the_owners_alone_and_nothing_shows_their_secrets(store, server, tmp_path):
    store.save(account(server))
    made = get(store)
    assert {f"{path.stat().st_mode & 0o777:o}" for path in (tmp_path / "oauth").iterdir()} == {"600"}
    assert not [secret for secret in server.secrets if secret in repr(made)]
    assert from_json(to_json(made)) == made


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"version": 1}', '{"version": 2}', "\0" * 10, '{"version": 1, "x'])
def test_a_file_that_holds_no_account_is_named_and_waits(text, store, server, tmp_path):
    store.save(account(server))
    path = store.path("test", USER)
    with open(path, "w") as file:
        file.write(text)
    assert f"{path}: it does not hold an account" in str(trouble(store))


def test_what_a_killed_writer_had_finished_counts_and_what_it_had_begun_does_not(store, server):
    kept = store.save(account(server))
    path = store.path("test", USER)
    for serial, text, wanted in (
        (kept.serial, None, "first"),
        (kept.serial + 1, '{"version": 1, "prov', "first"),
        (kept.serial + 1, None, "second"),
    ):
        new = to_json(replace(kept, serial=serial, scope="second"))
        with open(f"{path}.new", "w") as file:
            file.write(new if text is None else text)
        with store.lock("test", USER, 1):
            found = store.load("test", USER)
        assert found == (kept if wanted == "first" else replace(kept, serial=serial, scope="second"))


def test_a_lock_that_somebody_keeps_is_not_waited_for_for_ever(store, server, monkeypatch):
    monkeypatch.setattr(oauth_refresh, "_LOCK_SECONDS", 0.2)
    store.save(account(server))
    with store.lock("test", USER, 1):
        assert "somebody else renews it" in str(trouble(TokenStore(store.directory)))


def test_json_that_is_no_object_of_strings_is_no_account(store, server):
    row = json.loads(to_json(account(server)))
    with pytest.raises(ValueError):
        from_json(json.dumps(row | {"expires_at": "soon"}))
