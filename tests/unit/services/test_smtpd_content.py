"""The content of a message while it comes in: what it costs to hold it."""

import tracemalloc

from sendmail_py.services.smtpd_content import Incoming


def test_content_that_comes_in_small_pieces_takes_little_more_memory_than_it_has_octets():
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        content = Incoming(lambda: -1, 0)
        for number in range(20_000):
            content.write(b"%02d\n" % (number % 100))
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert content.whole() == b"".join(b"%02d\n" % (number % 100) for number in range(20_000))
    assert taken < 2 * content.size
