"""Sources that are decoded in a process of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from recordings import GENEROUS

from realtime.sources import Isolation, open_source
from realtime.sources.isolated import IsolatedSource


async def isolated(path: Path | str, isolation: Isolation = GENEROUS, **options: Any) -> Any:
    source = await open_source(str(path), **{"pace": "fast", **options}, isolation=isolation)
    assert isinstance(source, IsolatedSource)
    return source
