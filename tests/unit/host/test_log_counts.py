"""What a process counts, while several of its threads write log lines."""

import socket
import sys
import threading

from sendmail_py.host.log_counts import LogCounts, decode

THREADS, TIMES, TRANSPORTS = 6, 300, 50


def test_threads_count_at_one_time_and_every_event_is_counted_once() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, theirs:
        ours.setblocking(False)
        counts = LogCounts(theirs.fileno(), "qmgr")
        theirs.setblocking(False)
        failed: list[Exception] = []
        sums: list[float] = []

        def count(thread: int) -> None:
            try:
                for n in range(TIMES):
                    transport = f"t{thread}.{n % TRANSPORTS}"
                    counts.take([{"event": "delivery", "level": "info", "message": "", "status": transport}])
            except Exception as error:
                failed.append(error)

        def collect() -> None:
            while True:
                try:
                    data = ours.recv(1 << 18)
                except BlockingIOError:
                    return
                sums.extend(v for (name, _), v in decode(data).items() if name == "deliveries_total")

        threads = [threading.Thread(target=count, args=(number,)) for number in range(THREADS)]
        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            for thread in threads:
                thread.start()
            while any(thread.is_alive() for thread in threads):
                collect()
        finally:
            sys.setswitchinterval(interval)
        collect()
        counts.take([])
        collect()
        assert failed == [] and sum(sums) == THREADS * TIMES
