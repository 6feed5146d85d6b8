"""The table of utterances as a Parquet file, by PyArrow.

In: `Findings`. Out: bytes, a group of rows at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from io import BytesIO
from itertools import islice
from types import ModuleType

from models.errors import UsageError
from realtime.formats.findings import Findings
from realtime.formats.tables import UTTERANCES, Row, utterance_rows

ROWS, AT_ONCE = 500, 100
"""In a group, which is in memory: about 1 MB; and converted in one go, without a pause for others:
500 took 22 ms on a busy machine."""


def to_parquet(people: Iterable[Findings]) -> Iterator[bytes]:
    """One row an utterance, with the columns of `UTTERANCES`.

    Raises:
        UsageError: PyArrow is not installed.
    """
    return _groups(people, pyarrow())


def pyarrow() -> ModuleType:
    """PyArrow, with its Parquet; `UsageError` if it is not installed."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise UsageError(
            "Parquet needs PyArrow, which is not installed: pip install pyarrow"
        ) from error
    module: ModuleType = pyarrow
    return module


def _groups(people: Iterable[Findings], arrow: ModuleType) -> Iterator[bytes]:
    types = {str: arrow.string(), int: arrow.int64(), float: arrow.float64()}
    schema = arrow.schema([(name, types[kind]) for name, kind in UTTERANCES.items()])
    rows = utterance_rows(people)
    file = _Taken()
    with arrow.parquet.ParquetWriter(file, schema) as writer:
        while group := list(_batches(islice(rows, ROWS), arrow, schema)):
            writer.write_table(arrow.Table.from_batches(group))
            yield file.take()
    yield file.take()


def _batches(rows: Iterator[Row], arrow: ModuleType, schema: object) -> Iterator[object]:
    while some := list(islice(rows, AT_ONCE)):
        yield arrow.RecordBatch.from_pylist(some, schema)


class _Taken(BytesIO):
    """A file that is taken away as it is written."""

    _before = 0

    def tell(self) -> int:
        return self._before + super().tell()

    def close(self) -> None:
        """Stay open: what was written last is still to be taken."""

    def take(self) -> bytes:
        """What was written since the last time."""
        data = self.getvalue()
        self._before += len(data)
        self.seek(0)
        self.truncate()
        return data
