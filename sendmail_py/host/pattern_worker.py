"""The process that holds keys against patterns: `python -IS host/pattern_worker.py SECONDS`.

A pattern can take for ever over a key that somebody chose for it, and nothing in a process of ours could end
that. So it happens here: one line of JSON in, one line out, and who takes longer than SECONDS over a
line is ended by a signal, also when the process that asked is gone.
"""

import json
import os
import signal
import sys


def serve(seconds: float) -> None:
    """Answer lines until there are no more."""
    from sendmail_py.formats.pattern_table import PatternTable

    tables: dict[int, PatternTable] = {}
    for line in sys.stdin:
        request = json.loads(line)
        number = request["table"]
        if "text" in request:
            tables[number] = PatternTable(request["text"], is_alias=False)
        if "forget" in request:
            tables.pop(request["forget"], None)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        found = [tables[number].look_up(key) for key in request["keys"]]
        signal.setitimer(signal.ITIMER_REAL, 0)
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGALRM])
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    serve(float(sys.argv[1]))
