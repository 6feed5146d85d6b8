"""What several files of tests on sessions use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from realtime.storage.store import SessionStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "kept" / "sessions.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[SessionStore]:
    opened = SessionStore(path)
    yield opened
    opened.close()
