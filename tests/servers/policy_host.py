"""A little HTTPS server with policies of MTA-STS, for those who want to see a client cope with what comes.

    with PolicyHost(authority, {"a.test": policy("enforce", "mx.a.test")}) as host: ...

A page is the body, or a dict: body, status, type (the content type), location, delay (seconds before the answer), drip
(seconds between two octets), certificate (a file other than the right one). `asked` are (domain, path) in turn.

    python tests/servers/policy_host.py --address A --port P --certificate FILE --domain D --policy FILE
"""

import argparse
import os
import ssl
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

if not __package__:  # as a program
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from tests.servers.ports import free_port


def server_context(certificate):
    """Return a context for a file that holds a certificate and its key."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def policy(mode, *mx, max_age=86400, end="\r\n"):
    """Return the text of a policy."""
    return "".join(
        line + end for line in ("version: STSv1", f"mode: {mode}", *(f"mx: {m}" for m in mx), f"max_age: {max_age}")
    )


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    timeout = 30

    def do_GET(self):
        domain = self.headers["Host"].partition(":")[0].removeprefix("mta-sts.")
        host = self.server.state
        host.asked.append((domain, self.path))
        page = host.pages.get(domain, {"status": 404, "body": "no such page"})
        page = page if isinstance(page, dict) else {"body": page}
        if host.ending.wait(page.get("delay", 0)):
            return
        body = page.get("body", "").encode()
        self.send_response(page.get("status", 200))
        if page.get("type", "text/plain"):
            self.send_header("Content-Type", page.get("type", "text/plain"))
        if "location" in page:
            self.send_header("Location", page["location"])
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        step = 1 if "drip" in page else len(body) or 1
        for n in range(0, len(body), step):
            self.wfile.write(body[n : n + step])
            host.ending.wait(page.get("drip", 0))

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    """Makes the handshake in the thread of the connection, so that a slow client holds nobody up."""

    daemon_threads = True

    def finish_request(self, request, address):
        try:
            end = self.state.context.wrap_socket(request, server_side=True)
            try:
                super().finish_request(end, address)
            finally:
                end.close()
        except OSError:
            pass  # a client that does not trust us


class PolicyHost:
    """The server, on 127.0.0.1; pages are by domain."""

    def __init__(self, authority, pages, address="127.0.0.1", port=0):
        self.authority = authority
        self.pages = dict(pages)
        self.asked = []
        self.ending = threading.Event()
        self.lock = threading.Lock()
        self.contexts = {}
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # choose() gives it one with a certificate
        self.context.sni_callback = self.choose
        self.http = Server((address, port or free_port()), Handler)
        self.http.state = self
        self.port = self.http.server_address[1]

    def choose(self, end, name, _):
        domain = (name or "").removeprefix("mta-sts.")
        page = self.pages.get(domain)
        other = page.get("certificate") if isinstance(page, dict) else None
        key = other or domain
        with self.lock:
            if key not in self.contexts:
                self.contexts[key] = server_context(other or self.authority.certificate(f"mta-sts.{domain}"))
            end.context = self.contexts[key]

    def times(self, domain):
        """Return how often a domain's policy was asked for."""
        return sum(asked == (domain, "/.well-known/mta-sts.txt") for asked in self.asked)

    def __enter__(self):
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.ending.set()
        self.http.shutdown()
        self.http.server_close()


def main():
    parser = argparse.ArgumentParser(description="A little policy host for one domain.")
    for name in ("address", "certificate", "domain", "policy"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--port", type=int, default=443)
    options = parser.parse_args()
    with open(options.policy, encoding="ascii") as file:
        page = {"certificate": options.certificate, "body": file.read()}
    with PolicyHost(None, {options.domain: page}, options.address, options.port):
        threading.Event().wait()


if __name__ == "__main__":
    main()
