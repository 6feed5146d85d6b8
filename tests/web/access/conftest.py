"""What several files of tests on access use."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio
from party import TOKEN
from web_client import Client, loading, serving

from web.settings import Limits, ServerSettings


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def closed() -> AsyncIterator[Client]:
    """Of a server with a token, which a proxy makes known elsewhere."""
    origins = ("https://Emotions.example.org:443", "http://proxy.example:8080")
    settings = ServerSettings(token=TOKEN, origins=origins, limits=Limits(max_joins=1000))
    with loading() as load:
        async with serving(settings, load) as client:
            yield client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def opened() -> AsyncIterator[Client]:
    """Of a server that only this computer can reach."""
    with loading() as load:
        async with serving(ServerSettings(), load) as client:
            yield client
