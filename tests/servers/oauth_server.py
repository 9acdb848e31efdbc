"""A little token server: device codes, authorization codes, refresh with rotation, applications, service accounts.

    with OAuthServer() as server: server.url("/token")
    python3 tests/servers/oauth_server.py --port 8080

`rotation`: "none"; "grace": an old refresh token is good until the new one has been used; "strict": it is not.
`lifetime` is that of access tokens, `delay` holds up every answer, `answers` are (status, body) to give instead, in
turn. `asked` are the forms that came to /token. revoke() makes every token worthless, end_access() the access tokens
alone. approve() is what a user does with a device code. POST /introspect is for servers that ask who a token is for
(RFC 7662), POST /admin does what is named in `do`.
"""

import argparse
import base64
import json
import os
import secrets
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding

if not __package__:  # as a program
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from tests.servers.ports import free_port

URN = "urn:ietf:params:oauth:grant-type:"
CLIENT, SECRET = "client-of-ours", "the-secret-of-the-client"
USER = "user@example.org"


class Refusal(Exception):
    """An answer of RFC 6749 5.2."""

    def __init__(self, code, description="", status=400):
        super().__init__(code)
        self.row = {"error": code, "error_description": description}
        self.status = status


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    timeout = 30

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        form = {name: values[0] for name, values in parse_qs(body).items()}
        path = urlsplit(self.path).path
        state = self.server.state
        if path in ("/token", "/device"):
            state.ending.wait(state.delay)
        try:
            if path in ("/token", "/device") and state.answers:
                status, text = state.answers.pop(0)
                state.asked.append(form)
            else:
                status, text = 200, json.dumps(state.answer(path, form))
        except Refusal as refusal:
            status, text = refusal.status, json.dumps(refusal.row)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        pass


class OAuthServer:
    """The server and what it knows."""

    def __init__(self, certificate="", port=0, rotation="none", lifetime=3600, delay=0.0, keys=None, host="127.0.0.1"):
        self.http = ThreadingHTTPServer((host, port or free_port()), Handler)
        self.http.daemon_threads = True
        self.http.state = self
        self.scheme = "http"
        if certificate:
            from tests.servers.secure_sink import server_context

            self.http.socket = server_context(certificate).wrap_socket(self.http.socket, server_side=True)
            self.scheme = "https"
        self.port = self.http.server_address[1]
        self.rotation, self.lifetime, self.delay = rotation, lifetime, delay
        self.keys = keys or {}  # e-mail of a service account: its public key
        self.answers, self.asked = [], []
        self.lock = threading.Lock()
        self.ending = threading.Event()
        self.devices = {}  # device code: (user code, "pending", "approved", "denied")
        self.codes = {}  # authorization code: (redirect, challenge)
        self.access, self.refresh, self.replaced = {}, {}, {}
        self.interval = 1
        self.secrets = {SECRET}  # everything that must not be seen anywhere

    def __enter__(self):
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.ending.set()
        self.http.shutdown()
        self.http.server_close()

    def url(self, path):
        return f"{self.scheme}://127.0.0.1:{self.port}{path}"

    def approve(self, state="approved"):
        with self.lock:
            self.devices = {code: (user, state) for code, (user, _) in self.devices.items()}

    def revoke(self):
        with self.lock:
            self.access.clear()
            self.refresh.clear()

    def end_access(self):
        with self.lock:
            self.access.clear()

    def new_refresh(self, user=USER):
        """Return a refresh token for a user, as an earlier login would have given it."""
        return self._new(self.refresh, user)

    # --- answers --------------------------------------------------------------------------

    def answer(self, path, form):
        with self.lock:
            if path == "/token":
                self.asked.append(form)
                return self._token(form)
            if path == "/device":
                user, page = secrets.token_hex(4).upper(), self.url("/activate")
                code = self._new(self.devices, (user, "pending"))
                return {
                    "device_code": code,
                    "user_code": user,
                    "verification_uri": page,
                    "interval": self.interval,
                    "expires_in": 60,
                }
            if path == "/introspect":
                token = form.get("token", "")
                user, end = self.access.get(token, ("", 0))
                return {"active": time.time() < end, "username": user, "email": user}
        if path == "/admin":
            getattr(self, form["do"])()
            return {}
        raise Refusal("invalid_request", "no such page", 404)

    def _token(self, form):
        grant = form.get("grant_type", "").removeprefix(URN)
        if grant == "jwt-bearer":
            return self._tokens(self._asserted(form["assertion"]), None)
        if form.get("client_id") != CLIENT or form.get("client_secret", SECRET) != SECRET:
            raise Refusal("invalid_client", "who is that?", 401)
        if grant == "client_credentials":
            if "client_secret" not in form:
                raise Refusal("invalid_client", "a secret is needed", 401)
            return self._tokens(USER, None)
        if grant == "device_code":
            return self._device(form)
        if grant == "authorization_code":
            return self._code(form)
        if grant == "refresh_token":
            return self._refreshed(form.get("refresh_token", ""))
        raise Refusal("unsupported_grant_type")

    def _device(self, form):
        _, state = self.devices.get(form.get("device_code"), ("", "unknown"))
        if state == "approved":
            del self.devices[form["device_code"]]
            return self._tokens(USER, self.new_refresh())
        raise Refusal({"pending": "authorization_pending", "denied": "access_denied"}.get(state, "expired_token"))

    def _code(self, form):
        redirect, challenge = self.codes.pop(form.get("code"), ("", ""))
        digest = hashes.Hash(hashes.SHA256())
        digest.update(form.get("code_verifier", "").encode())
        proof = base64.urlsafe_b64encode(digest.finalize()).rstrip(b"=").decode()
        if not redirect or form.get("redirect_uri") != redirect or proof != challenge:
            raise Refusal("invalid_grant", "this code is for somebody else")
        return self._tokens(USER, self.new_refresh())

    def _refreshed(self, token):
        user = self.refresh.get(token)
        if user is None:
            raise Refusal("invalid_grant", f"the refresh token {token} has been revoked")
        old = self.replaced.pop(token, None)
        if old:
            self.refresh.pop(old, None)
        if self.rotation == "none":
            return self._tokens(user, None)
        new = self.new_refresh(user)
        if self.rotation == "strict":
            del self.refresh[token]
        else:
            self.replaced[new] = token
        return self._tokens(user, new)

    def _asserted(self, assertion):
        """Return the user for whom a service account speaks (RFC 7523)."""
        head, claims, signature = (base64.urlsafe_b64decode(part + "==") for part in assertion.split("."))
        row = json.loads(claims)
        key = self.keys.get(row["iss"])
        if key is None or json.loads(head)["alg"] != "RS256":
            raise Refusal("invalid_grant", "unknown account")
        public = serialization.load_pem_public_key(key)
        try:
            public.verify(signature, assertion.rpartition(".")[0].encode(), padding.PKCS1v15(), hashes.SHA256())
        except Exception:
            raise Refusal("invalid_grant", "Invalid JWT Signature.") from None
        if row["aud"] != self.url("/token") or not row["iat"] <= time.time() + 5 < row["exp"] <= row["iat"] + 3600:
            raise Refusal("invalid_grant", "Invalid JWT: it is not for us, or not now")
        return row["sub"]

    def _tokens(self, user, refresh):
        access = self._new(self.access, (user, time.time() + self.lifetime))
        row = {"access_token": access, "token_type": "Bearer", "expires_in": self.lifetime}
        return row | ({"refresh_token": refresh} if refresh else {})

    def _new(self, table, value):
        token = f"tok{secrets.token_hex(16)}"
        table[token] = value
        self.secrets.add(token)
        return token


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--lifetime", type=int, default=3600)
    options = parser.parse_args()
    with OAuthServer(port=options.port, lifetime=options.lifetime) as server:
        server.refresh["the-first-refresh-token"] = USER
        threading.Event().wait()


if __name__ == "__main__":
    main()
