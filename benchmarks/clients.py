"""SMTP clients that say nothing, or little: clients.py HOST COUNT, at the peer's end.

It opens so many connections, says "ready" when all are greeted, and then for each line of its input how many
milliseconds a new connection waits for its greeting, QUIT said after it.
"""

import resource
import socket
import sys
import time


def greeted(host: str) -> socket.socket:
    """Return a connection that has had its greeting."""
    end = socket.create_connection((host, 25), timeout=60)
    heard = b""
    while not heard.endswith(b"\n"):
        more = end.recv(1000)
        if not more:
            raise OSError(f"not greeted: {heard!r}")
        heard += more
    if not heard.startswith(b"220 "):
        raise OSError(f"not welcome: {heard!r}")
    return end


def main() -> None:
    host, count = sys.argv[1], int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
    idle = [greeted(host) for _ in range(count)]
    print("ready", flush=True)
    for _ in sys.stdin:
        started = time.monotonic()
        with greeted(host) as end:
            print((time.monotonic() - started) * 1000, flush=True)
            end.sendall(b"QUIT\r\n")
    for end in idle:
        end.close()


if __name__ == "__main__":
    main()
