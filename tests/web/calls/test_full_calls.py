"""Who has a place in a call, and who does not keep others out: over a real server with a token."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest
from rooms import Room, code_of
from webrtc_client import SDP, offer_of, peer, until

from web.sessions.hosted import Hosted
from web.webrtc import peers

pytestmark = pytest.mark.asyncio(loop_scope="module")

FRAGMENT = {"Content-Type": "application/trickle-ice-sdpfrag"}


async def test_one_guest_takes_one_place(room: Room) -> None:
    greedy, ada = await room.browser(), await room.browser()
    host = room.client.http
    for _ in range(5):
        assert (await room.knock(greedy)).status_code == 201
    assert await room.present() == []
    real = await room.join(greedy, "Greedy")
    again = await room.join(greedy, "Greedy")  # as after a break of the network
    await until(lambda: real.pc.connectionState == "closed")
    of_ada = await room.join(ada)
    assert await room.present() == ["Greedy", "Ada"]
    third = await room.browser()
    assert code_of(await room.knock(third)) == (503, "full")
    of_host = await room.join(host, "Host")
    assert await room.present() == ["Greedy", "Ada", "Host"]
    await of_host.end()

    pc = peer()
    pc.addTransceiver("audio", "recvonly")
    offer = await offer_of(pc)
    for _ in range(6):
        answer = await greedy.post(f"/whep/{of_ada.session}", content=offer, headers=SDP)
        assert answer.status_code in (201, 503)
    await pc.close()
    await room.watch(host, of_ada.session)
    await room.watch(host, of_ada.session)
    await room.watch(ada, again.session)


async def test_who_does_not_connect_takes_nobodys_place(room: Room) -> None:
    knocks = [await room.knock(await room.browser()) for _ in range(4)]  # more than may run
    assert {knock.status_code for knock in knocks} == {201}
    await room.join(await room.browser(), "Ada")
    await room.join(await room.browser(), "Ben")
    await room.join(room.client.http, "Host")
    assert await room.present() == ["Ada", "Ben", "Host"]
    for knock in knocks:
        location = knock.headers["location"]
        trickle = partial(room.client.http.patch, location, headers=FRAGMENT)
        while (await trickle()).status_code != 404:  # noqa: ASYNC110 - until it is let go
            await asyncio.sleep(0.1)


async def test_who_never_connects_keeps_out_nobody_else(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "MAX_CONNECTING", 3)
    sessions = room.client.hub.sessions

    async def knock(address: str) -> Hosted:
        browser = await room.browser(address=address)
        answer = await room.knock(browser, patience_s=60)
        assert answer.status_code == 201
        return sessions[answer.headers["location"].rpartition("/")[2]]

    ada = await knock("127.0.0.1")
    many = [await knock("127.0.0.2") for _ in range(5)]
    assert not ada.over, "who comes from another address"
    assert [one.over for one in many] == [True, True, True, False, False]
    await until(lambda: not {one.id for one in many[:3]} & sessions.keys())

    call = (await room.client.http.post("/api/calls", json={})).json()
    other = Room(room.client, call, room.clip)
    await other.join(await other.browser(), "Ben")
    assert not any(one.over for one in [ada, *many[3:]]), "those of another call do not count"
    await room.join(await room.browser(), "Cem")
    await room.join(room.client.http, "Host")
    assert [ada.over, many[3].over, many[4].over] == [False, True, False]
    await other.aclose()


async def test_who_never_connects_was_never_in_the_call(room: Room) -> None:
    """The models are still loading, which keeps no session."""
    spy, late = await room.browser(), await room.browser()
    sessions = room.client.hub.sessions
    knocked = (await room.knock(spy)).headers["location"].rpartition("/")[2]
    assert knocked in sessions
    assert await room.present() == []
    assert (await room.client.http.post(f"{room.path}/link")).status_code == 201
    assert code_of(await spy.get(room.path)) == (403, "old_link"), "it was not in"
    await until(lambda: knocked not in sessions)
    assert (await room.client.http.get(f"/api/sessions/{knocked}")).status_code == 404
    room.link = (await room.client.json(room.path))["link"]

    ada = await room.browser()
    first = await room.join(ada)
    again = (await room.knock(ada)).headers["location"].rpartition("/")[2]
    assert await room.present() == [""], "while she comes again, from another network"
    await room.client.http.post(f"{room.path}/link")
    assert (await ada.get(room.path)).status_code == 200
    await until(lambda: again not in sessions)
    assert await room.present() == [], "but has not come"
    assert sessions[first.session].dismissed.is_set()
    assert code_of(await room.knock(late)) == (403, "old_link")
