"""Which processes of the SMTP server master keeps, when reload after reload leaves one behind whose clients stay."""

import selectors
from dataclasses import dataclass, field

from sendmail_py.core.config import Config, Setting
from sendmail_py.host.syslog import Log
from sendmail_py.services.listening import Listening


@dataclass(eq=False)
class Process:
    told: list = field(default_factory=list)
    is_leaving: bool = False

    def tell(self, record):
        self.told.append(record["do"])
        return True


def test_the_oldest_of_many_that_reloads_have_replaced_end_so_that_there_is_always_room_for_another():
    texts = {"smtpd_tls_security_level": "none", "myhostname": "here.test"}
    config = Config({name: Setting(text, "test") for name, text in texts.items()})
    with selectors.DefaultSelector() as selector:
        listening = Listening(selector, lambda: None)
        log = Log("x", "master", "mail", 2)
        processes = []
        for _ in range(19):
            for process in processes:
                process.is_leaving = True  # a reload; its client stays
            processes.append(Process())
            assert listening.start(lambda name, descriptors: processes[-1], config, log)
    assert [bool(process.told) for process in processes] == [True] * 2 + [False] * 17
    assert processes[0].told[0] == "stop"
