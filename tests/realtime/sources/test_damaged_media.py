"""Some of the damaged files of `damaged_media.py`, which makes as many as one likes."""

from __future__ import annotations

from pathlib import Path

import pytest
from damaged_media import upload_all

pytestmark = pytest.mark.slow


@pytest.mark.timeout(600)
async def test_damaged_uploads_end_in_results_or_clear_errors(shared: Path) -> None:
    report = await upload_all(shared / "media", files=16, seed=6)
    assert report.faults == []
    assert sum(report.ends.values()) == 16
    assert len(report.ends) >= 3  # or they were all damaged alike
