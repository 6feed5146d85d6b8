"""Where the checkout is, and what a test does that misses something on this machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NoReturn

import pytest

REPO = Path(__file__).resolve().parents[2]


def require_or_skip(missing: str) -> NoReturn:
    """Skip a test by the name of what it misses; in CI nothing may be missing, so fail there."""
    if os.environ.get("CI"):
        pytest.fail(f"CI must provide: {missing}")
    pytest.skip(f"not on this machine: {missing}")


def bytes_in(folder: Path) -> bytes:
    """All that the files of a folder, and of those in it, hold."""
    return b"".join(file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file())
