"""Some of the damaged files of `damaged_media.py`, which makes as many as one likes."""

from __future__ import annotations

from pathlib import Path

import pytest
from damaged_media import upload_all
from talks import Talk

pytestmark = pytest.mark.slow


@pytest.mark.timeout(600)
async def test_damaged_uploads_end_in_results_or_clear_errors(
    talk: Talk, other_talk: Talk, upright_talk: Talk, crowd: Path, sentence: Talk
) -> None:
    paths = [talk.path, other_talk.path, upright_talk.path, crowd, sentence.path]
    report = await upload_all(paths, files=10, seed=6)
    assert report.faults == []
    assert sum(report.ends.values()) == 10
    assert len(report.ends) >= 3  # or they were all damaged alike
