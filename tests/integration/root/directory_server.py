"""A real LDAP server on a test machine: OpenLDAP's slapd, unpacked by make-postfix, with a directory of its own."""

import os
import subprocess
from pathlib import Path

from machine import Machine, wait_until

SLAPD = Path(os.environ.get("SLAPD_DIRECTORY", "/var/tmp/sendmail-py-slapd")) / "root"
PORT = 3890
BASE = "dc=example,dc=org"
_PLACE = "/var/lib/directory"
_CONFIGURATION = f"""\
include {SLAPD}/etc/ldap/schema/core.schema
include {SLAPD}/etc/ldap/schema/cosine.schema
include {SLAPD}/etc/ldap/schema/inetorgperson.schema
modulepath {SLAPD}/usr/lib/ldap
moduleload back_mdb
pidfile {_PLACE}/pid
access to attrs=userPassword by dn.base="cn=reader,{BASE}" read by anonymous auth
access to * by dn.base="cn=reader,{BASE}" read by anonymous auth
database mdb
maxsize 10485760
suffix {BASE}
directory {_PLACE}/data
"""
_ENTRIES = f"""\
dn: {BASE}
objectClass: dcObject
objectClass: organization
o: Example

dn: cn=reader,{BASE}
objectClass: organizationalRole
objectClass: simpleSecurityObject
userPassword: {{READER}}

dn: ou=people,{BASE}
objectClass: organizationalUnit
"""
_PERSON = """
dn: uid={user},ou=people,{base}
objectClass: inetOrgPerson
sn: {user}
cn: {user}
userPassword: {password}
"""


class DirectoryServer:
    """A context manager; users are names and what stands in userPassword, reader the password of who may read all."""

    def __init__(self, machine: Machine, users: dict[str, str], reader: str) -> None:
        self.machine = machine
        machine.script(f"rm -rf {_PLACE}; mkdir -p {_PLACE}/data")
        machine.path(f"{_PLACE}/conf").write_text(_CONFIGURATION)
        people = "".join(_PERSON.format(user=user, base=BASE, password=password) for user, password in users.items())
        machine.path(f"{_PLACE}/entries").write_text(_ENTRIES.replace("{READER}", reader) + people)
        machine.run(*self._words("-Tadd", "-l", f"{_PLACE}/entries"))

    def _words(self, *more: str) -> list[str]:
        libraries = f"LD_LIBRARY_PATH={SLAPD}/usr/lib/{os.uname().machine}-linux-gnu"
        return ["env", libraries, f"{SLAPD}/usr/sbin/slapd", *more, "-f", f"{_PLACE}/conf"]

    def __enter__(self) -> "DirectoryServer":
        words = self._words("-h", f"ldap://127.0.0.1:{PORT}", "-d", "0")
        self._process = subprocess.Popen(self.machine.command(words), stdin=subprocess.DEVNULL, stdout=2)
        connect = f"import socket; socket.create_connection(('127.0.0.1', {PORT}), 5)"
        try:
            wait_until(
                lambda: self.machine.run("python3", "-I", "-c", connect, check=False).returncode == 0, "slapd listens"
            )
        except AssertionError:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.machine.script(f"! test -e {_PLACE}/pid || kill $(cat {_PLACE}/pid)")
        self._process.wait(30)
