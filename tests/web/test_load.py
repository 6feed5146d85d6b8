"""Load past the limit: who is in is served as if alone, everybody else is told."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import networks
import numpy as np
import pytest
from talks import Talk
from web_client import Client, serving
from websockets.exceptions import ConnectionClosed

from web.settings import Limits, ServerSettings

pytestmark = pytest.mark.slow

STRANGERS = 10
UTTERANCES = 3  # about 10 s

FULL = "2 sessions are running, as many as may: stop one, or wait"


async def test_those_who_are_in_keep_their_results_and_the_others_are_told(
    long_talk: Talk, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = ServerSettings(limits=Limits(max_sessions=2), allow_paths=(long_talk.path.parent,))
    clip = long_talk.path
    async with serving(settings, networks.load) as client:
        await client.hub.ready()
        id = await begin(client, clip, "fast")
        await stop_after_enough(client, id)
        alone = await client.events(id)
        inside = [await begin(client, clip, "live") for _ in range(2)]
        refusals = []
        for number in range(STRANGERS):
            knock = by_http(client, clip) if number % 2 else by_websocket(client)
            refusals.append(await knock)
            await asyncio.sleep(0.7)
        await asyncio.gather(*(stop_after_enough(client, id) for id in inside))
        both = [await client.events(id) for id in inside]
    assert refusals == [("full", FULL)] * STRANGERS

    expected = found(alone)
    assert [result["utterance"] for result in expected] == list(range(1, UTTERANCES + 1))
    for events in both:
        assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
        # What else the machine does may cost partial texts and sounds, but nothing of the results.
        warned = {event["message"] for event in events if event["type"] == "warning"}
        assert warned <= {
            f"this machine does not keep up: {what} are left out"
            for what in ("partial texts", "sounds")
        }
        assert found(events) == expected
    delays = [
        event["latency"]["close_to_result"]
        for events in both
        for event in events
        if event["type"] == "utterance.result"
    ]
    with capsys.disabled():
        print(f"\nclose to result, 95 %: {np.percentile(delays, 95):.3f} s")  # noqa: T201


async def begin(client: Client, clip: Path, pace: str) -> str:
    answer = await client.upload(clip, pace=pace)
    assert answer.status_code == 201, answer.text
    id: str = answer.json()["id"]
    return id


async def stop_after_enough(client: Client, id: str) -> None:
    async with client.connect(f"/api/sessions/{id}/events") as feed:
        async for message in feed:
            if json.loads(message).get("utterance") == UTTERANCES + 1:
                await client.http.post(f"/api/sessions/{id}/stop")
                return


def found(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first results, without what tells the session and the wall clock."""
    results = [event for event in events if event["type"] == "utterance.result"]
    passing = {"session", "seq", "latency"}
    return [
        {key: value for key, value in result.items() if key not in passing}
        for result in results[:UTTERANCES]
    ]


async def by_http(client: Client, clip: Path) -> tuple[str, str]:
    status, code, message = await client.error(
        "POST", "/api/sessions", json={"source": str(clip), "pace": "live"}
    )
    assert status == 503
    return code, message


async def by_websocket(client: Client) -> tuple[str, str]:
    async with client.connect("/api/ingest") as socket:
        await socket.send(json.dumps({"type": "start", "name": "stranger"}))
        refusal = json.loads(await socket.recv())
        with pytest.raises(ConnectionClosed):
            await socket.recv()
    assert socket.close_code == 1013
    return refusal["error"]["code"], refusal["error"]["message"]
