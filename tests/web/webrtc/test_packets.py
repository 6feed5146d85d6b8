"""Packets that are no STUN, or only half of it: they are dropped, and the connection goes on."""

from __future__ import annotations

import asyncio
import logging
import random
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aioice import stun
from aiortc import RTCDataChannel, RTCPeerConnection, RTCSessionDescription
from webrtc_client import offer_of, peer, until

from web.webrtc.packets import guard

PACKETS = 10_000


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[RTCDataChannel, RTCPeerConnection, list[str]]]:
    """A channel of a peer, us, guarded, and what we hear through the channel."""
    theirs, ours = peer(), peer()
    channel = theirs.createDataChannel("events")
    heard: list[str] = []
    ours.on("datachannel", lambda channel: channel.on("message", heard.append))
    await ours.setRemoteDescription(RTCSessionDescription(await offer_of(theirs), "offer"))
    guard(ours)
    await ours.setLocalDescription()
    await theirs.setRemoteDescription(ours.localDescription)
    await until(lambda: channel.readyState == "open")
    try:
        yield channel, ours, heard
    finally:
        await theirs.close()
        await ours.close()


def damaged(dice: random.Random, username: str, password: str) -> Iterator[bytes]:
    """Endless: noise; and what a peer who has the password may send, of any attributes at all."""
    kinds = [kind for kind, *_ in stun.ATTRIBUTES]
    while True:
        attributes = b""
        for kind in dice.choices(kinds, k=dice.randrange(5)):
            length = dice.choice([0, 1, 2, 3, 4, 8, 20, dice.randrange(100)])
            value = dice.randbytes(length + stun.padding_length(length))
            attributes += struct.pack("!HH", kind, length) + value
        if dice.random() < 0.7:
            name = username.encode()
            padded = name + bytes(stun.padding_length(len(name)))
            attributes += struct.pack("!HH", 0x0006, len(name)) + padded
        type = dice.choice([*stun.Method]) | dice.choice([*stun.Class])
        head = struct.pack("!HHI", type, len(attributes), stun.COOKIE) + dice.randbytes(12)
        if dice.random() < 0.7:
            signature = stun.message_integrity(head + attributes, password.encode())
            attributes += struct.pack("!HH", 0x0008, len(signature)) + signature
        packet = bytearray(stun.set_body_length(head, len(attributes)) + attributes)
        if dice.random() < 0.3:
            packet[dice.randrange(len(packet))] = dice.randrange(256)
        if dice.random() < 0.1:
            del packet[dice.randrange(len(packet)) :]
        yield bytes(packet) if dice.random() < 0.9 else dice.randbytes(dice.randrange(100))


async def test_what_cannot_be_read_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever sends it: the peer, or a stranger."""
    faults: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
    async with connected() as (channel, ours, heard):
        assert ours.sctp is not None
        ice = ours.sctp.transport.transport._connection
        (nominated,) = ice._nominated.values()
        strangers = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(50)]
        for stranger in strangers:
            stranger.bind(("127.0.0.1", 0))
        addresses = [nominated.remote_addr, *(stranger.getsockname() for stranger in strangers)]
        dice = random.Random(7)
        username = f"{ice.local_username}:{ice.remote_username}"
        packets = damaged(dice, username, ice.local_password)
        for number in range(PACKETS):
            nominated.protocol.datagram_received(next(packets), dice.choice(addresses))
            if number % 100 == 0:
                await asyncio.sleep(0)
        channel.send("still here")
        await until(lambda: heard == ["still here"])
        for stranger in strangers:
            stranger.close()
    assert faults == []
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
