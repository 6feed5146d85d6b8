"""What a guest of a call may not do, and what its host can: over a real server with a token."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest
from aiortc import RTCSessionDescription
from party import TOKEN
from rooms import AS_HOST, Room, code_of, told
from talks import Talk
from web_client import loading, serving
from webrtc_client import SDP, Repeated, offer_of, peer, until

from web.settings import ServerSettings

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_only_the_person_resumes_what_they_paused(room: Room) -> None:
    ada = await room.browser()
    session = (await room.join(ada)).session
    path, host = f"/api/sessions/{session}/pause", room.client.http

    async def pause(by: httpx.AsyncClient, paused: bool) -> httpx.Response:
        return await by.post(path, json={"paused": paused})

    async with room.feed(ada) as feed:
        await told(feed, "participant.joined")
        assert (await pause(ada, True)).json()["paused_by"] == ["person"]
        assert (await told(feed, "participant.changed"))["session"]["paused_by"] == ["person"]
        assert code_of(await pause(host, False)) == (403, "paused_by_person")
        assert (await host.get(f"/api/sessions/{session}")).json()["paused"] is True

        assert (await pause(host, True)).json()["paused_by"] == ["host", "person"]
        assert (await told(feed, "participant.changed"))["session"]["paused_by"] == [
            "host",
            "person",
        ]
        resumed = (await pause(ada, False)).json()
        assert (resumed["paused"], resumed["paused_by"]) == (True, ["host"])
        assert code_of(await pause(ada, False)) == (403, "paused_by_host")
        assert (await pause(host, False)).json()["paused"] is False


async def test_who_watches_is_seen(room: Room) -> None:
    ada, spy = await room.browser(), await room.browser()
    session = (await room.join(ada)).session
    async with room.feed(ada) as feed:
        offer = {"content": "v=0", "headers": SDP}
        assert code_of(await spy.post(f"/whep/{session}", **offer)) == (403, "not_joined")
        await room.knock(spy)  # which is no joining, as long as it does not connect
        refused = await spy.post(f"/whep/{session}", **offer)
        assert code_of(refused)[0] in (403, 404), "when it is given up"

        seen = await room.join(spy, "Ben")
        while (await told(feed, "participant.joined"))["session"]["name"] != "Ben":
            pass
        view = await room.watch(spy, session)
        await seen.end()
        await until(lambda: view.pc.connectionState == "closed")
        assert code_of(await spy.post(f"/whep/{session}", **offer)) == (403, "not_joined")

        assert (await room.client.json(room.path))["watching"] is False
        by_host = await room.watch(room.client.http, session)
        assert (await told(feed, "host.changed"))["watching"] is True
        assert (await ada.get(room.path)).json()["watching"] is True
        await by_host.end()
        assert (await told(feed, "host.changed"))["watching"] is False


async def test_who_has_not_joined_does_not_learn_who_is_there(room: Room) -> None:
    ada, spy = await room.browser(), await room.browser()
    of_ada = await room.join(ada)
    async with room.feed(spy) as feed:
        state = (await spy.get(room.path)).json()
        assert (state["name"], state["participants"]) == ("Dr Example", None)
        await room.watch(room.client.http, of_ada.session)
        assert json.loads(await feed.recv()) == {"type": "host.changed", "watching": True}
        seen = await room.join(spy, "Ben")
        joined = [await told(feed, "participant.joined") for _ in range(2)]
        assert {one["session"]["name"] for one in joined} == {"Ada", "Ben"}
        people = (await spy.get(room.path)).json()["participants"]
        assert [person["name"] for person in people] == ["Ada", "Ben"]

        await room.client.http.post(f"/api/sessions/{seen.session}/stop")
        assert (await told(feed, "participant.left"))["session"]["name"] == "Ben"
        await room.join(await room.browser(), "Cem")
        await room.client.http.post(f"/api/sessions/{of_ada.session}/stop")
        message = json.loads(await feed.recv())
        assert (message["type"], message["session"]["name"]) == ("participant.left", "Ada")
        assert (await spy.get(room.path)).json()["participants"] is None


async def test_the_host_ends_a_call(room: Room) -> None:
    ada, late = await room.browser(), await room.browser()
    publication = await room.join(ada)
    async with room.feed(ada) as feed:
        assert (await ada.delete(room.path)).status_code == 403, "no guest does"
        assert (await room.client.http.delete(room.path)).status_code == 204
        while "error" not in (message := json.loads(await feed.recv())):
            pass
        assert message["error"]["code"] == "call_ended"
        await feed.wait_closed()
        assert (feed.close_code, feed.close_reason) == (1008, "call_ended")
    await until(lambda: publication.pc.connectionState == "closed")
    assert code_of(await room.knock(late)) == (410, "call_ended")
    page = await late.get(f"/calls/{room.room}", headers={"Accept": "text/html"})
    assert page.status_code == 410
    assert "This call is over" in page.text
    stranger = httpx.AsyncClient(base_url=room.client.http.base_url)
    assert code_of(await stranger.get(room.link)) == (410, "call_ended")
    await stranger.aclose()
    assert code_of(await room.client.http.get(room.path)) == (410, "call_ended")
    assert (await room.client.http.get(f"{room.path}/results.json")).status_code == 200
    assert (await ada.delete(f"/api/sessions/{publication.session}")).status_code == 204


async def test_the_host_removes_somebody_and_renews_the_link(room: Room) -> None:
    ada, ben = await room.browser(), await room.browser()
    host = room.client.http
    of_ada, of_ben = await room.join(ada, "Ada"), await room.join(ben, "Ben")
    view = await room.watch(ben, of_ada.session)
    removing = f"{room.path}/participants/{of_ben.session}"
    early = await room.browser()  # by the same link, and has not joined when Ben must go
    assert (await ada.delete(removing)).status_code == 403, "no guest does"
    async with room.feed(ben) as feed:
        assert (await host.delete(removing)).status_code == 204
        while "error" not in (message := json.loads(await feed.recv())):
            pass
        assert message["error"] == {
            "code": "removed",
            "message": "the host has removed you from this call",
        }
        await feed.wait_closed()
        assert feed.close_reason == "removed"
    assert await room.present() == ["Ada"]
    await until(lambda: of_ben.pc.connectionState == view.pc.connectionState == "closed")
    assert code_of(await ben.get(room.path)) == (403, "removed")
    assert code_of(await room.knock(ben)) == (403, "removed")
    assert code_of(await ben.post(f"/whep/{of_ada.session}")) == (403, "removed")
    page = await ben.get(f"/calls/{room.room}", headers={"Accept": "text/html"})
    assert "You were removed from this call" in page.text
    assert (await host.delete(f"{room.path}/participants/000000000000")).status_code == 404

    # That link is with Ben, who would come back by it with another browser.
    assert code_of(await early.get(room.path)) == (403, "old_link")
    assert code_of(await room.knock(early)) == (403, "old_link")
    async with httpx.AsyncClient(base_url=host.base_url) as another:
        assert code_of(await another.get(room.link)) == (403, "old_link")
    assert (await ada.get(room.path)).status_code == 200, "who was in stays in"
    room.link = (await host.get(room.path)).json()["link"]

    waiting = await room.browser()  # by that, and does not join yet
    assert (await ben.post(f"{room.path}/link")).status_code == 403, "no guest does"
    new = (await host.post(f"{room.path}/link")).json()["link"]
    assert (await host.get(room.path)).json()["link"].partition("?")[0] == new.partition("?")[0]
    assert code_of(await waiting.get(room.path)) == (403, "old_link")
    fresh = httpx.AsyncClient(base_url=host.base_url)
    assert code_of(await fresh.get(room.link)) == (403, "old_link")
    await fresh.aclose()
    assert (await ada.get(room.path)).status_code == 200, "who was in stays in"
    assert code_of(await ben.get(new)) == (403, "removed"), "for the call's rest"
    assert (await waiting.get(new)).status_code == 303
    assert (await waiting.get(room.path)).status_code == 200
    assert (await waiting.get(room.link)).status_code == 403
    assert (await waiting.get(room.path)).status_code == 200, "an old link takes nothing away"


async def test_by_an_old_link_nobody_comes_in_who_offered_before(room: Room) -> None:
    late = await room.browser()
    pc = peer()
    pc.addTransceiver(Repeated(room.clip, "audio"), "sendonly")
    path = f"/whip?room={room.room}&name=Late"
    answer = await late.post(path, content=await offer_of(pc), headers=SDP)
    assert answer.status_code == 201
    await room.client.http.post(f"{room.path}/link")
    await pc.setRemoteDescription(RTCSessionDescription(answer.text, "answer"))
    await until(lambda: pc.connectionState == "closed")
    assert await room.present() == []


async def test_guests_open_no_data_channels(room: Room) -> None:
    pc = peer()
    pc.addTransceiver("audio", "sendonly")
    pc.createDataChannel("events")
    offer = await offer_of(pc)
    guest = await room.browser()
    refused = await guest.post(f"/whip?room={room.room}", content=offer, headers=SDP)
    assert code_of(refused) == (400, "bad_offer")
    assert "sound and pictures only" in refused.json()["error"]["message"]
    assert await room.present() == []
    of_ada = await room.join(guest)
    refused = await guest.post(f"/whep/{of_ada.session}", content=offer, headers=SDP)
    assert code_of(refused) == (400, "bad_offer")
    await pc.close()


async def test_a_guest_erases_after_a_restart(sentence: Talk, tmp_path: Path) -> None:
    settings = ServerSettings(token=TOKEN, store=tmp_path / "sessions.sqlite")
    with loading() as load:
        async with serving(settings, load) as client:
            client.http.headers.update(AS_HOST)
            call = (await client.http.post("/api/calls", json={})).json()
            room = Room(client, call, sentence.path)
            joined = [await room.join(await room.browser()) for _ in range(2)]
            ids = [publication.session for publication in joined]
            tokens = [{"Erase-Token": publication.erase_token} for publication in joined]
            assert "erase-token" not in (await room.knock(client.http)).headers
            for kept in (settings.store, Path(f"{settings.store}-wal")):
                data = kept.read_bytes() if kept.exists() else b""
                assert tokens[0]["Erase-Token"].encode() not in data, "its hash alone is kept"
            await room.aclose()
        async with serving(settings, load) as client:
            path = f"/api/sessions/{ids[0]}"
            page = await client.http.get(call["link"], headers={"Accept": "text/html"})
            assert page.status_code == 401
            assert "Erase what was found of me" in page.text
            assert (await client.http.delete(path)).status_code == 401
            for wrong in (tokens[1], {"Erase-Token": "x"}):
                assert code_of(await client.http.delete(path, headers=wrong)) == (403, "forbidden")
            assert (await client.http.get(path, headers=tokens[0])).status_code == 401
            assert (await client.http.delete(path, headers=tokens[0])).status_code == 204
            assert (await client.http.get(path, headers=AS_HOST)).status_code == 404
            other = await client.http.get(f"/api/sessions/{ids[1]}", headers=AS_HOST)
            assert other.status_code == 200
