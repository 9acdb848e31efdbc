"""The records on the submit socket."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sendmail_py.formats import submit_records
from sendmail_py.formats.submit_records import DATA, RECORD_LIMIT, data_records, end_record, total_of


@given(st.binary(max_size=100), st.integers(1, 40))
def test_octets_come_back_whole_from_their_records(data: bytes, piece: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(submit_records, "_PIECE", piece)
        records = list(data_records(data))
    assert all(record[:1] == DATA and 1 < len(record) <= piece + 1 for record in records)
    assert b"".join(record[1:] for record in records) == data


def test_no_record_is_longer_than_the_reader_takes() -> None:
    assert max(map(len, data_records(bytes(200_000)))) == RECORD_LIMIT


@pytest.mark.parametrize("total", [0, 1, 10**12])
def test_the_end_says_how_many_octets_there_were(total: int) -> None:
    assert total_of(end_record(total)) == total


@pytest.mark.parametrize("record", [b"", b"e", b"e-1", b"e 1", b"x1", b"e1_0", b"e" + b"9" * 21, "e²".encode()])
def test_what_is_no_end_record_is_refused(record: bytes) -> None:
    with pytest.raises(ValueError, match="not an end record"):
        total_of(record)
