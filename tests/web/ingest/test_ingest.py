"""Media by WebSocket, from a client that knows nothing but the socket, on a real server."""

from __future__ import annotations

import asyncio
import io
import json
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import av
import PIL.Image
import pytest
import pytest_asyncio
from av.audio.resampler import AudioResampler
from talks import Talk
from web_client import Client, rest_of, serving
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from web.settings import Limits, ServerSettings

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client() -> AsyncIterator[Client]:
    async with serving(
        ServerSettings(
            limits=Limits(
                idle_s=3, max_sessions=2, max_message_kb=64, max_message_rate=100, max_frame_rate=40
            )
        )
    ) as client:
        await client.hub.ready()
        yield client


def sound(time_s: float, samples: bytes) -> bytes:
    return struct.pack("<Bd", 0, time_s) + samples


def jpeg(time_s: float, data: bytes) -> bytes:
    return struct.pack("<Bd", 1, time_s) + data


def messages(clip: Path, seconds: float, *, audio: bool, video: bool) -> Iterator[bytes]:
    """The first seconds of a clip as a device would send it, its clock having run for an hour."""
    with av.open(str(clip)) as container:
        resampler = AudioResampler("s16", "mono", 16_000)
        for frame in container.decode():
            time_s = frame.time or 0.0
            if time_s > seconds:
                return
            if isinstance(frame, av.VideoFrame):
                if video:
                    data = io.BytesIO()
                    PIL.Image.fromarray(frame.to_ndarray(format="rgb24")).save(data, "JPEG")
                    yield jpeg(3600 + time_s, data.getvalue())
            elif isinstance(frame, av.AudioFrame) and audio:
                for piece in resampler.resample(frame):
                    yield sound(3600 + (piece.time or 0.0), piece.to_ndarray().tobytes())


async def begin(socket: ClientConnection, **start: Any) -> str:
    await socket.send(json.dumps({"type": "start", "name": "Ada", **start}))
    started = json.loads(await socket.recv())
    assert started["type"] == "started"
    return str(started["session"])


async def send(
    client: Client, clip: Path, seconds: float, *, audio: bool = True, video: bool = True
) -> tuple[str, list[dict[str, Any]]]:
    async with client.connect("/api/ingest") as socket:
        id = await begin(socket, audio=audio, video=video)
        events = asyncio.create_task(rest_of(socket))
        for message in messages(clip, seconds, audio=audio, video=video):
            await socket.send(message)
        await socket.send(json.dumps({"type": "end"}))
        return id, await events


def of_type(type: str, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [event for event in events if event["type"] == type]


@pytest.mark.slow
async def test_what_is_sent_is_analysed_and_told_on_the_same_socket(
    client: Client, long_talk: Talk
) -> None:
    id, events = await send(client, long_talk.path, 14)
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert events[-1]["type"] == "session.ended"
    assert events[-1]["reason"] == "end"
    # It was sent faster than it was said: partial texts may be left out.
    assert {warning["code"] for warning in of_type("warning", events)} <= {"overload"}
    results = of_type("utterance.result", events)
    said = [sentence for sentence in long_talk.sentences if sentence.end < 13]
    assert len(results) >= len(said) - 1
    for result in results[:-1]:
        assert any(
            abs(result["start"] - sentence.start) < 0.5 and abs(result["end"] - sentence.end) < 0.5
            for sentence in said
        )
        assert len(result["faces"]) == 5
        assert result["modalities"] == ["visual", "acoustic", "textual"]
    session = await client.json(f"/api/sessions/{id}")
    assert (session["kind"], session["name"], session["state"]) == ("ingest", "Ada", "ended")


async def test_sound_alone_is_enough(client: Client, talk: Talk) -> None:
    _, events = await send(client, talk.path, 8, video=False)
    results = of_type("utterance.result", events)
    assert results
    assert all(result["faces"] == [] for result in results)


async def test_pictures_alone_are_enough(client: Client, talk: Talk) -> None:
    _, events = await send(client, talk.path, 3, audio=False)
    (result,) = of_type("utterance.result", events)
    assert result["modalities"] == ["visual"]
    assert len(result["faces"]) == 5


@pytest.mark.slow
async def test_whoever_goes_without_a_word_has_ended(client: Client, talk: Talk) -> None:
    async with client.connect("/api/ingest") as socket:
        id = await begin(socket)
        for message in messages(talk.path, 4, audio=True, video=True):
            await socket.send(message)
    events = await client.events(id)
    assert events[-1]["reason"] == "end"
    assert of_type("utterance.result", events)


async def test_stopping_the_session_closes_the_socket(client: Client) -> None:
    async with client.connect("/api/ingest") as socket:
        id = await begin(socket)
        await socket.send(sound(0.0, bytes(32_000)))
        await client.http.post(f"/api/sessions/{id}/stop")
        events = await rest_of(socket)
    assert events[-1]["reason"] == "stopped"


async def refusal(socket: ClientConnection) -> tuple[str, int]:
    """Code of the error told last, and the code with which the server closed."""
    last = [json.loads(message) async for message in _all(socket)][-1]
    return last["error"]["code"], socket.close_code or 0


async def _all(socket: ClientConnection) -> AsyncIterator[str | bytes]:
    """Messages until the server closes, however it does."""
    try:
        async for message in socket:
            yield message
    except Exception:
        assert socket.close_code not in (None, 1006, 1011)


@pytest.mark.parametrize(
    "first",
    [
        "hello",
        json.dumps({"type": "begin"}),
        json.dumps({"type": "start", "audio": False, "video": False}),
        json.dumps({"type": "start", "name": "x" * 81}),
        sound(0.0, bytes(640)),
    ],
)
async def test_a_conversation_begins_with_a_start(client: Client, first: str | bytes) -> None:
    async with client.connect("/api/ingest") as socket:
        await socket.send(first)
        assert await refusal(socket) == ("bad_message", 1008)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        sound(0.0, b""),
        sound(0.0, b"odd"),
        sound(float("nan"), bytes(640)),
        sound(float("inf"), bytes(640)),
        jpeg(0.0, b"not announced"),
        b"\x07" + bytes(640),
        json.dumps({"type": "start"}),
    ],
)
async def test_what_is_no_media_ends_the_session(client: Client, message: str | bytes) -> None:
    async with client.connect("/api/ingest") as socket:
        id = await begin(socket, video=False)
        await socket.send(sound(0.0, bytes(640)))
        await socket.send(message)
        assert await refusal(socket) == ("bad_message", 1008)
    assert (await client.events(id))[-1]["type"] == "session.ended"


@pytest.mark.parametrize(
    ("samples", "guess"), [(960, "48 kHz mono or 24 kHz stereo"), (640, "16 kHz stereo")]
)
async def test_sound_of_another_rate_or_in_stereo_is_one_error(
    client: Client, samples: int, guess: str
) -> None:
    async with client.connect("/api/ingest") as socket:
        id = await begin(socket, video=False)
        with suppress(ConnectionClosed):
            for number in range(100):
                await socket.send(sound(number / 50, bytes(2 * samples)))
        last = [json.loads(message) async for message in _all(socket)][-1]
    assert last["error"]["code"] == "wrong_rate"
    assert "samples and times do not agree" in last["error"]["message"]
    assert guess in last["error"]["message"]
    assert of_type("warning", await client.events(id)) == []


async def test_nothing_comes_after_the_end(client: Client) -> None:
    async with client.connect("/api/ingest") as socket:
        await begin(socket)
        await socket.send(sound(0.0, bytes(32_000)))
        await socket.send(json.dumps({"type": "end"}))
        await socket.send(sound(2.0, bytes(640)))
        async for _ in _all(socket):
            pass
        assert socket.close_code in (1000, 1008)  # the session may have ended before


@pytest.mark.slow
async def test_silence_of_the_client_ends_the_session(client: Client) -> None:
    async with client.connect("/api/ingest") as socket:
        id = await begin(socket)
        assert await refusal(socket) == ("idle", 1008)
    assert (await client.events(id))[-1]["type"] == "session.ended"


async def test_messages_have_a_limit(client: Client) -> None:
    async with client.connect("/api/ingest") as socket:
        await begin(socket)
        await socket.send(sound(0.0, bytes(64 * 1024)))
        async for _ in _all(socket):
            pass
        assert socket.close_code == 1009


async def test_too_many_messages_end_the_conversation(client: Client) -> None:
    """Sound of one sample each: what they hold does not pay for them."""
    async with client.connect("/api/ingest") as socket:
        id = await begin(socket, video=False)
        with suppress(ConnectionClosed):
            for number in range(20_000):
                await socket.send(sound(number / 16_000, bytes(2)))
        assert await refusal(socket) == ("too_fast", 1008)
    assert (await client.events(id))[-1]["type"] == "session.ended"


@pytest.mark.slow
async def test_a_recording_may_be_sent_as_fast_as_it_is_analysed(long_talk: Talk) -> None:
    """In time, these are far more messages a second than are taken; in media, fewer."""
    limits = Limits(max_message_rate=45, max_frame_rate=20)
    async with serving(ServerSettings(limits=limits)) as client:
        await client.hub.ready()
        _, events = await send(client, long_talk.path, 40)
    assert events[-1]["type"] == "session.ended"
    assert len(of_type("utterance.result", events)) > 8


async def test_too_many_pictures_for_their_time(client: Client) -> None:
    picture = io.BytesIO()
    PIL.Image.new("RGB", (64, 64)).save(picture, "JPEG")
    async with client.connect("/api/ingest") as socket:
        id = await begin(socket)
        with suppress(ConnectionClosed):
            for number in range(1000):
                await socket.send(jpeg(number / 1000, picture.getvalue()))
        assert await refusal(socket) == ("too_many_pictures", 1008)
    assert (await client.events(id))[-1]["type"] == "session.ended"


async def test_no_more_clients_than_sessions_that_may_run(client: Client) -> None:
    async with client.connect("/api/ingest") as one, client.connect("/api/ingest") as two:
        ids = [await begin(one), await begin(two)]
        async with client.connect("/api/ingest") as three:
            await three.send(json.dumps({"type": "start"}))
            assert await refusal(three) == ("full", 1013)
        for id in ids:
            await client.http.post(f"/api/sessions/{id}/stop")
        await rest_of(one)
        await rest_of(two)
