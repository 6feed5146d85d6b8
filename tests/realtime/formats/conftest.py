"""A store for tests of what is taken away."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from realtime.storage.store import SessionStore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SessionStore]:
    opened = SessionStore(tmp_path / "s.sqlite")
    yield opened
    opened.close()
