"""The soak in its short form: half a minute of visitors, after which nothing has grown."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest
from checkout import REPO
from talks import Talk


@pytest.mark.timeout(400)
def test_visitors_leave_nothing_behind(long_talk: Talk, tmp_path: Path) -> None:
    table, picture = tmp_path / "soak.csv", tmp_path / "soak.png"
    command = [sys.executable, "tests/support/soak.py", str(long_talk.path), "--minutes", "0.4"]
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
    assert len(samples) > 8
    assert max(int(sample["running"]) for sample in samples) >= 2
    assert picture.stat().st_size > 10_000
