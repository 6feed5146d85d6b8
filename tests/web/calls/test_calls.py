"""Calls of two people with different clips, over a real server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio
import web_client
import websockets
from aiortc.contrib.media import MediaPlayer
from talks import Talk
from web_client import application, loading
from webrtc_client import (
    SDP,
    Publication,
    Repeated,
    View,
    nothing_left,
    offer_of,
    peer,
    serving,
    until,
)

from web.settings import Limits, ServerSettings

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with serving(application()) as client:
        yield client


async def new_call(http: httpx.AsyncClient, name: str) -> str:
    created = await http.post("/api/calls", json={"name": name})
    assert created.status_code == 201
    room: str = created.json()["room"]
    assert created.json() == {"room": room, "name": name, "link": f"/calls/{room}"}
    return room


def follow(http: httpx.AsyncClient, room: str) -> websockets.connect:
    return websockets.connect(f"ws://{http.base_url.netloc.decode()}/api/calls/{room}/events")


@pytest.mark.slow
async def test_two_people_see_and_hear_each_other_and_are_told_apart(
    http: httpx.AsyncClient, talk: Talk, other_talk: Talk
) -> None:
    room = await new_call(http, "Host")
    told: list[tuple[str, str]] = []
    async with nothing_left(), follow(http, room) as socket:

        async def listen() -> None:
            async for message in socket:
                change = json.loads(message)
                if "session" in change:
                    told.append((change["type"], change["session"]["name"]))

        listening = asyncio.create_task(listen())
        people = []
        for name, clip in (("Ada", talk.path), ("Bob", other_talk.path)):
            tracks = (Repeated(clip, kind) for kind in ("audio", "video"))
            person = Publication(http)
            people.append(await person.begin(*tracks, query=f"?room={room}&name={name}"))
        ada, bob = people
        seen_by_ada, seen_by_bob = View(http), View(http)
        await asyncio.gather(seen_by_ada.begin(bob.session), seen_by_bob.begin(ada.session))
        await until(lambda: seen_by_ada.loudest > 500 and seen_by_bob.loudest > 500)
        await until(lambda: seen_by_ada.picture and seen_by_bob.picture)
        assert seen_by_ada.picture is not None
        assert seen_by_bob.picture is not None
        assert (seen_by_bob.picture.width, seen_by_bob.picture.height) == talk.size
        assert (seen_by_ada.picture.width, seen_by_ada.picture.height) == other_talk.size
        await until(lambda: told.count(("participant.joined", "Bob")) == 1)

        state = (await http.get(f"/api/calls/{room}")).json()
        assert (state["room"], state["name"]) == (room, "Host")
        assert [person["name"] for person in state["participants"]] == ["Ada", "Bob"]
        assert {person["kind"] for person in state["participants"]} == {"call"}

        await http.post(f"/api/sessions/{ada.session}/pause", json={"paused": True})
        await until(lambda: ("participant.changed", "Ada") in told)

        await bob.end()
        await until(lambda: ("participant.left", "Bob") in told)
        await until(seen_by_ada.ended.is_set)
        heard = seen_by_bob.count["audio"]
        await until(lambda: seen_by_bob.count["audio"] > heard + 10)
        state = (await http.get(f"/api/calls/{room}")).json()
        assert [person["name"] for person in state["participants"]] == ["Ada"]
        await ada.end()
        await until(lambda: ("participant.left", "Ada") in told)
        await seen_by_ada.pc.close()
        await seen_by_bob.pc.close()
        await socket.close()
        await listening
    everyone = (await http.get("/api/sessions")).json()["sessions"]
    assert {person["name"] for person in everyone if person["room"] == room} == {"Ada", "Bob"}


async def test_rooms_are_kept_apart(http: httpx.AsyncClient, sentence: Talk) -> None:
    mine, other = await new_call(http, ""), await new_call(http, "")
    assert mine != other
    player = MediaPlayer(str(sentence.path))
    person = await Publication(http).begin(player.audio, query=f"?room={mine}&name=Ada")
    assert len((await http.get(f"/api/calls/{mine}")).json()["participants"]) == 1
    assert (await http.get(f"/api/calls/{other}")).json()["participants"] == []
    listed = (await http.get("/api/calls")).json()["calls"]
    assert [call["room"] for call in listed[:2]] == [other, mine]
    await person.end()


async def test_a_follower_is_told_first_who_is_there(
    http: httpx.AsyncClient, sentence: Talk
) -> None:
    room = await new_call(http, "")
    player = MediaPlayer(str(sentence.path))
    person = await Publication(http).begin(player.audio, query=f"?room={room}&name=Ada")
    async with nothing_left(), follow(http, room) as socket:
        first = json.loads(await socket.recv())
        assert (first["type"], first["session"]["id"]) == ("participant.joined", person.session)
        await http.delete(f"/api/sessions/{person.session}")
        while (change := json.loads(await socket.recv()))["type"] != "participant.left":
            pass
        assert change["session"]["state"] == "ended", "forgotten, and told all the same"
        await person.pc.close()
        await socket.close()


async def test_a_room_that_is_not_there(http: httpx.AsyncClient) -> None:
    answer = await http.get("/api/calls/nowhere")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "unknown_room")
    async with follow(http, "nowhere") as socket:
        assert json.loads(await socket.recv())["error"]["code"] == "unknown_room"
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await socket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1008


@pytest_asyncio.fixture(loop_scope="module")
async def small() -> AsyncIterator[httpx.AsyncClient]:
    """A client of a server with little room."""
    limits = Limits(max_rooms=2, max_participants=1, max_viewers=1)
    with loading() as load:
        async with web_client.serving(ServerSettings(limits=limits), load) as client:
            yield client.http


@pytest.mark.slow
async def test_there_are_no_more_people_and_calls_than_may_be(
    small: httpx.AsyncClient, sentence: Talk
) -> None:
    clip = sentence.path
    first, second = await new_call(small, ""), await new_call(small, "")
    inside = Publication(small)
    await inside.begin(Repeated(clip, "audio"), query=f"?room={first}")
    outside = peer()
    outside.addTransceiver("audio", "sendonly")
    offer = await offer_of(outside)
    full = await small.post(f"/whip?room={first}", content=offer, headers=SDP)
    assert (full.status_code, full.json()["error"]["code"]) == (503, "full")
    assert "1 people are in this call" in full.json()["error"]["message"]
    await outside.close()

    third = await new_call(small, "")  # in place of the second, in which nobody is
    kept = [call["room"] for call in (await small.get("/api/calls")).json()["calls"]]
    assert kept == [third, first]
    assert second not in kept
    other = Publication(small)
    await other.begin(Repeated(clip, "audio"), query=f"?room={third}")
    many = await small.post("/api/calls", json={})
    assert (many.status_code, many.json()["error"]["code"]) == (503, "full")
    await inside.end()
    await other.end()


@pytest.mark.slow
async def test_there_are_no_more_viewers_than_may_be(
    small: httpx.AsyncClient, sentence: Talk
) -> None:
    publication = Publication(small)
    await publication.begin(Repeated(sentence.path, "audio"))
    viewer = await View(small).begin(publication.session, "audio")
    path = f"/whep/{publication.session}"
    wrong = await small.post(path, content="v=0", headers=SDP)
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (503, "full")
    await viewer.end()
    wrong = await small.post(path, content="v=0", headers=SDP)
    assert wrong.status_code == 400
    again = await View(small).begin(publication.session, "audio")  # what failed takes no place
    await again.end()
    await publication.end()
