"""The dialogs of dialogs/submission/*.txt with the submission port: after STARTTLS, or in clear (L: clear).

Each is played line by line, octet by octet, and with all that the client says at once.
"""

import pathlib
import ssl

import pytest

from tests.integration.smtp_server import Submission
from tests.protocol.test_server_dialogs import SocketServer, as_queued, play

DIALOGS = sorted((pathlib.Path(__file__).parent / "dialogs" / "submission").glob("*.txt"))
HOW = {"long_lines": ["lines", "at once"]}  # octet by octet these would take too long
WAYS = [(path, how) for path in DIALOGS for how in HOW.get(path.stem, ["lines", "bytes", "at once"])]


@pytest.fixture(scope="module")
def serving(tmp_path_factory):
    """An instance with a submission port, which keeps what it took."""
    instance = Submission(
        tmp_path_factory.mktemp("dialogs") / "s",
        {"alice": "secret", "bob": "geheim"},
        defer_transports="local, smtp",
        smtpd_reject_unlisted_recipient="no",
        smtpd_sender_login_maps="inline:{ {alice@here.test=alice}, {bob@here.test=bob}, {alice@a.test=alice} }",
        submission_options="-o always_add_missing_headers=no -o local_header_rewrite_clients=",
    )
    with instance:
        instance.start()
        yield instance


class SubmissionServer(SocketServer):
    """The submission port; a dialog begins after STARTTLS unless it is one in clear."""

    def __init__(self, instance, in_clear):
        super().__init__(instance, "submission_port")
        if in_clear:
            return
        self.end_point.sendall(b"STARTTLS\r\n")
        said = b""
        while said.count(b"\n") < 2:
            said += self.end_point.recv(4096)
        assert said.endswith(b"220 2.0.0 Ready to start TLS\r\n")
        self.end_point = ssl._create_unverified_context().wrap_socket(self.end_point)

    def end(self):
        if isinstance(self.end_point, ssl.SSLSocket):
            assert self.end_point.recv(4096) == b""
            self.end_point.close()
            return [self.read(queue_id) for queue_id in self.taken()]
        return super().end()


@pytest.mark.parametrize(("path", "how"), WAYS, ids=[f"{path.stem}-{how}" for path, how in WAYS])
def test_the_submission_port_answers_as_written(path, how, serving):
    expected, taken = play(path, how, SubmissionServer(serving, "L: clear" in path.read_text().splitlines()))
    assert [as_queued(line) for line in taken] == [as_queued(line) for line in expected]
