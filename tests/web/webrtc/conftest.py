"""A server that the tests of a file publish to."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest_asyncio
from web_client import application
from webrtc_client import serving, until

from web.settings import Limits, ServerSettings


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def http() -> AsyncIterator[httpx.AsyncClient]:
    """A client of a server whose publishers may be silent for 4 s."""
    app = application(ServerSettings(limits=Limits(idle_s=4)))
    async with serving(app) as client:
        await until(lambda: app.state.hub.state == "ready")
        yield client
