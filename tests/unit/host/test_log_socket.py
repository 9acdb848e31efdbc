"""Several threads that log at one time: each line goes out once, and nobody falls over another's."""

import contextlib
import socket
import sys
import threading
import time
from pathlib import Path

from sendmail_py.host.log_socket import LogSocket

THREADS, TIMES = 6, 400


def test_each_line_of_several_threads_goes_out_once(tmp_path: Path) -> None:
    path = str(tmp_path / "log")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
        daemon.bind(path)
        daemon.settimeout(0.2)
        log = LogSocket(path, str.encode)
        failed: list[Exception] = []
        heard: list[bytes] = []

        def write(thread: int) -> None:
            try:
                for number in range(TIMES):
                    log.send([f"{thread}.{number}"])
            except Exception as error:
                failed.append(error)

        threads = [threading.Thread(target=write, args=(number,)) for number in range(THREADS)]
        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            for thread in threads:
                thread.start()
            end = time.monotonic() + 60
            while len(heard) < THREADS * TIMES and not failed and time.monotonic() < end:
                with contextlib.suppress(TimeoutError):
                    heard.append(daemon.recv(100))
                if not any(thread.is_alive() for thread in threads):
                    log.send([])  # what it has kept
        finally:
            sys.setswitchinterval(interval)
        for thread in threads:
            thread.join(60)
        log.send([])
        with contextlib.suppress(TimeoutError):
            while True:
                heard.append(daemon.recv(100))
    assert failed == []
    assert sorted(heard) == sorted(f"{t}.{n}".encode() for t in range(THREADS) for n in range(TIMES))
