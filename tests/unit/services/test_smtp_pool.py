"""How long a session is used again."""

import time
from types import SimpleNamespace

import pytest

from sendmail_py.core.config import Config, Setting
from sendmail_py.services.smtp_pool import SessionPool


def pool(**settings):
    return SessionPool(Config({name: Setting(value, "test") for name, value in settings.items()}), None)


@pytest.mark.parametrize(("count", "age", "worn"), [(1, 0, False), (99, 299, False), (100, 0, True), (1, 301, True)])
def test_a_session_wears_out_by_messages_and_by_time(count, age, worn):
    session = SimpleNamespace(count=count, since=time.monotonic() - age)
    assert pool().worn_out(session) is worn


def test_zero_is_no_limit():
    session = SimpleNamespace(count=10**6, since=time.monotonic() - 10**6)
    assert not pool(smtp_connection_reuse_count_limit="0", smtp_connection_reuse_time_limit="0").worn_out(session)
