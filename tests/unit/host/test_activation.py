"""Sockets from systemd, passed to a real process as it passes them."""

import fcntl
import os
import socket
import subprocess
import sys

ASK = """
import os, subprocess, sys
from sendmail_py.host.activation import passed_sockets
found, complaints = passed_sockets()
for name, place, end in found:
    print(name, place, end.get_inheritable())
print(complaints)
print("LISTEN_FDS" in os.environ, passed_sockets())
"""


def ask(ends: list[socket.socket], names: str = "", **environment: str) -> list[str]:
    """Start a process with these sockets as its descriptors from 3 on; returns the lines that it prints."""
    begin = [f"exec {3 + at}<&{end.fileno()};" for at, end in enumerate(ends)]
    text = f"{' '.join(begin)} LISTEN_PID=${{PID:-$$}} LISTEN_FDS={len(ends)} LISTEN_FDNAMES={names}"
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    done = subprocess.run(
        ["bash", "-c", f'{text} exec "$@"', "bash", sys.executable, "-c", ASK],
        pass_fds=[end.fileno() for end in ends],
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": root, **environment},
        timeout=60,
    )
    assert not done.stderr
    return done.stdout.splitlines()


def new_socket(family: socket.AddressFamily = socket.AF_INET) -> socket.socket:
    """Return a socket whose number is out of the way of those from 3 on."""
    with socket.socket(family) as end:
        return socket.socket(fileno=fcntl.fcntl(end.fileno(), fcntl.F_DUPFD, 40))


def listening(family: socket.AddressFamily = socket.AF_INET, address: str = "127.0.0.1") -> socket.socket:
    end = new_socket(family)
    end.bind((address, 0))
    end.listen()
    return end


def test_listening_sockets_are_taken_with_their_names_and_once() -> None:
    with listening() as one, listening(socket.AF_INET6, "::1") as two:
        lines = ask([one, two], "submission:mail.socket")
        assert lines == [
            f"submission 127.0.0.1:{one.getsockname()[1]} False",
            f"mail.socket [::1]:{two.getsockname()[1]} False",
            "[]",
            "False ([], [])",
        ]


def test_what_was_meant_for_another_process_is_left_alone() -> None:
    with listening() as one:
        assert ask([one], "smtp", PID="1") == ["[]", "False ([], [])"]


def test_a_socket_that_cannot_be_served_is_a_complaint() -> None:
    with new_socket() as end:
        assert ask([end], "smtp")[0] == (
            "['socket smtp of systemd: it does not listen; Accept=no is needed; nobody listens there']"
        )
