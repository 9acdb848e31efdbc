"""Submits messages and times each: submitter.py ROOT UID COUNT PARALLEL MESSAGE PATTERN WORD...

It goes into the chroot ROOT, becomes UID, and runs WORD... PATTERN COUNT times, PARALLEL at once,
%d in PATTERN being a number from 0 to MODULUS of `%d:MODULUS`. Prints as JSON the wall time, the CPU
time of all that it ran, and the latencies, from before the start until after the exit. A failed
start ends it with status 1.
"""

import json
import os
import resource
import sys
import threading
import time


def main() -> None:
    root, uid, count, parallel, message, pattern, *words = sys.argv[1:]
    content = os.open(message, os.O_RDONLY)
    os.chroot(root)
    os.chdir("/")
    os.setgroups([])
    os.setgid(int(uid))
    os.setuid(int(uid))
    text, _, modulus = pattern.partition(":")
    numbers = iter(range(int(count)))
    latencies: list[float] = []
    begun: list[float] = []  # seconds since the epoch
    failed: list[int] = []

    def work() -> None:
        for number in numbers:
            recipient = text % (number % int(modulus)) if modulus else text
            actions = [
                (os.POSIX_SPAWN_OPEN, 0, f"/proc/self/fd/{content}", os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0),
            ]
            begun.append(time.time())
            started = time.perf_counter()
            pid = os.posix_spawn(words[0], [*words, recipient], {"PATH": "/usr/sbin:/usr/bin"}, file_actions=actions)
            status = os.waitpid(pid, 0)[1]
            latencies.append(time.perf_counter() - started)
            if status:
                failed.append(status)

    threads = [threading.Thread(target=work) for _ in range(int(parallel))]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wall, used = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    print(json.dumps({"wall": wall, "cpu": used.ru_utime + used.ru_stime, "latencies": latencies, "begun": begun}))
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
