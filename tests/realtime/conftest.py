"""What several files of tests on sessions use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from realtime.storage.store import SessionStore

if TYPE_CHECKING:
    from realtime.analyzers.local import LocalAnalyzer


@pytest.fixture(scope="module")
def analyzer() -> Iterator[LocalAnalyzer]:
    import networks  # PyTorch, which most files do without

    analyzer = networks.load()
    yield analyzer
    analyzer.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "kept" / "sessions.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[SessionStore]:
    opened = SessionStore(path)
    yield opened
    opened.close()
