"""A Parquet file is opened by PyArrow, and equals the events."""

from __future__ import annotations

import io
import sys

import pytest
from found import FAILED, conversation, result, session
from pyarrow import parquet

from models.emotions import EMOTIONS
from models.errors import UsageError
from realtime.formats.findings import gather
from realtime.formats.parquet import ROWS, to_parquet
from realtime.formats.tables import UTTERANCES
from realtime.storage.store import SessionStore


def test_its_rows_equal_the_events(store: SessionStore) -> None:
    (found,) = conversation(store)
    table = parquet.read_table(io.BytesIO(b"".join(to_parquet([found]))))
    assert table.column_names == [*UTTERANCES]
    one, failed, *_ = table.to_pylist()
    first = next(found.results())
    assert {emotion: one[emotion] for emotion in EMOTIONS} == first.emotions
    assert (one["start_s"], one["end_s"], one["text"]) == (0.5, 1.75, first.transcript.text)
    assert (one["speaker"], one["utterance"], one["neutral"]) == ("=Ann", 1, first.neutral)
    assert (failed["failed"], failed["happiness"]) == ("stt: =it ended", None)


def test_many_rows_come_in_groups(store: SessionStore) -> None:
    told = [result(1, "a", 0.5)] * ROWS + [FAILED]
    pieces = [*to_parquet(gather([session(store, "Ada", *told)], {}))]
    assert len(pieces) == 3
    file = parquet.ParquetFile(io.BytesIO(b"".join(pieces)))
    assert file.num_row_groups == 2
    assert file.read().num_rows == ROWS + 1


def test_without_pyarrow_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UsageError, match=r"pip install pyarrow"):
        to_parquet([])
