"""opendkim and rspamd, started for tests on loopback: the filters that people have.

with opendkim(path, "here.test", mode="s") as port: ... f"inet:127.0.0.1:{port}"
"""

import base64
import contextlib
import os
import signal
import subprocess
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.integration.instance import LIMIT, wait_until
from tests.servers.ports import free_port

RSPAMD = """
options {{
  pidfile = "{path}/pid"; tempdir = "{path}"; cache_file = "{path}/symbols"; hs_cache_dir = "{path}"; filters = "";
  url_tld = "{path}/tld"; control_socket = "{path}/control mode=0600";
  dns {{ nameserver = ["127.0.0.1"]; timeout = 0.1s; retransmits = 1; }}
}}
logging {{ type = "file"; filename = "{path}/log"; level = "error"; }}
lua = "{path}/rules.lua";
actions {{ reject = 15; add_header = 6; greylist = 4; }}
worker "rspamd_proxy" {{
  bind_socket = "127.0.0.1:{port}"; milter = yes; count = 1; timeout = 10s;
  upstream "local" {{ default = yes; self_scan = yes; }}
}}
"""
RULES = """
rspamd_config.MARKED = {
  callback = function(task) return task:get_header('Subject') == 'marked' end, score = 7.0, group = 'tests'
}
"""
OPENDKIM = """
Syslog no
Mode {mode}
Socket inet:{port}@127.0.0.1
Domain {domain}
Selector s1
KeyFile {path}/key
RequireSafeKeys no
TestPublicKeys {path}/public
Canonicalization relaxed/relaxed
InternalHosts {path}/internal
AlwaysAddARHeader yes
AuthservID checker.test
PidFile {path}/pid
"""


def listens(port: int) -> bool:
    """Say whether a program listens on a port, without connecting to it."""
    with open("/proc/net/tcp") as file:
        return any(line.split()[1] == f"0100007F:{port:04X}" and line.split()[3] == "0A" for line in file)


@contextlib.contextmanager
def running(command, port):
    """Run a program that is to listen on a port."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
    process = subprocess.Popen(command, **quiet)
    try:
        wait_until(lambda: listens(port) or process.poll() is not None, f"{command[0]} listens")
        assert process.poll() is None, f"{command[0]} does not run"
        yield port
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # rspamd takes its time to end
        process.wait(LIMIT)


@contextlib.contextmanager
def opendkim(path: Path, domain: str, mode: str, keys: Path | None = None):
    """Run opendkim; mode s signs what comes from loopback, v verifies what does. keys is where another's keys lie."""
    path.mkdir()
    port = free_port()
    if keys is None:
        key = rsa.generate_private_key(65537, 2048)
        form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        (path / "key").write_bytes(key.private_bytes(serialization.Encoding.PEM, *form))
        public = key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        record = f"s1._domainkey.{domain} v=DKIM1; k=rsa; p={base64.b64encode(public).decode()}\n"
        (path / "public").write_text(record)
        keys = path
    (path / "internal").write_text("127.0.0.0/8\n" if mode == "s" else "192.0.2.1\n")
    text = OPENDKIM.format(path=path, port=port, domain=domain, mode=mode)
    (path / "conf").write_text(text.replace(f"{path}/key", f"{keys}/key").replace(f"{path}/public", f"{keys}/public"))
    with running(["/usr/sbin/opendkim", "-f", "-x", str(path / "conf")], port):
        yield port


@contextlib.contextmanager
def rspamd(path: Path):
    """Run rspamd as a filter that knows the GTUBE pattern, and marks what has the subject "marked"."""
    path.mkdir()
    port = free_port()
    (path / "conf").write_text(RSPAMD.format(path=path, port=port))
    (path / "tld").write_text("test\ncom\n")
    (path / "rules.lua").write_text(RULES)
    with running(["/usr/bin/rspamd", "-f", "-i", "-u", "root", "-g", "root", "-c", str(path / "conf")], port):
        yield port
