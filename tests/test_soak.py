"""The soak in its short form: a minute of visitors, after which nothing has grown."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest
from checkout import REPO


@pytest.mark.timeout(400)
def test_a_minute_of_visitors_leave_nothing_behind(shared: Path, tmp_path: Path) -> None:
    clip = shared / "media" / "talker_grid_120s.mp4"
    table, picture = tmp_path / "soak.csv", tmp_path / "soak.png"
    command = [sys.executable, "tests/support/soak.py", str(clip), "--minutes", "1"]
    done = subprocess.run(
        [*command, "--csv", str(table), "--plot", str(picture)],
        cwd=REPO,
        capture_output=True,
        text=True,
        timeout=390,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    with table.open(encoding="utf-8") as file:
        samples = list(csv.DictReader(file))
    assert len(samples) > 10
    assert max(int(sample["running"]) for sample in samples) >= 2
    assert picture.stat().st_size > 10_000
