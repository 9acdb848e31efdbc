"""Acting as a user, and back."""

import os

import pytest

from sendmail_py.host.privileges import effective


@pytest.mark.real(root=True)
def test_root_acts_as_a_user_for_the_length_of_the_block() -> None:
    groups = os.getgroups()
    try:
        with effective(1, 2, [2, 3]):
            assert (os.geteuid(), os.getegid(), os.getgroups()) == (1, 2, [2, 3])
            assert os.getuid() == 0
        assert (os.geteuid(), os.getegid(), os.getgroups()) == (0, 0, [])
    finally:
        os.setgroups(groups)


@pytest.mark.real(root=True)
def test_root_is_back_after_an_exception() -> None:
    groups = os.getgroups()
    try:
        with pytest.raises(ValueError), effective(1, 1, []):
            raise ValueError
        assert os.geteuid() == 0
    finally:
        os.setgroups(groups)
