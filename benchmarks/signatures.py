"""Prints the median time of a DKIM signature with RSA-2048: signatures.py TREE MESSAGE COUNT.

What the SMTP client does for each message: the queue file is read, header and body are brought into the form that goes
out and hashed, and the hash is signed.
"""

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path


def main() -> None:
    """Sign one message many times."""
    tree, message, count = sys.argv[1:]
    sys.path.insert(0, tree)
    from sendmail_py.core.address import Address
    from sendmail_py.core.config import Config, Setting
    from sendmail_py.core.delivery import Delivery
    from sendmail_py.core.envelope import Envelope, Recipient, Submitter
    from sendmail_py.formats import queue_file
    from sendmail_py.host.dkim_keys import RSA, make_key
    from sendmail_py.host.syslog import Log
    from sendmail_py.services.smtp_dkim import DkimSigner

    with tempfile.TemporaryDirectory() as place:
        make_key(f"{place}/key.pem", RSA)
        domains = f"inline:{{ {{test.example = bench:{place}/key.pem}} }}"
        config = Config({"dkim_domains": Setting(domains, "bench")})
        signer = DkimSigner(config, Log.of(config, "bench", os.open(os.devnull, os.O_WRONLY)))
        content = Path(message).read_bytes()
        to = Recipient(Address.parse("bob@remote.example"))
        sender = Address.parse("alice@test.example")
        envelope = Envelope("Q1", time.time_ns() // 1000, sender, [to], Submitter(0, "", 0, "", ""))
        envelope.size = len(content)
        head = queue_file.render(envelope)
        file = Path(place, "queued")
        file.write_bytes(head + content)
        descriptor = os.open(file, os.O_RDONLY)
        taken = []
        for _ in range(int(count)):
            delivery = Delivery("Q1", descriptor, len(head), len(content), sender, [to])
            started = time.perf_counter()
            signed = signer._signatures(delivery)
            taken.append(time.perf_counter() - started)
            assert signed.startswith(b"DKIM-Signature:"), "nothing was signed"
    print(statistics.median(taken))


main()
