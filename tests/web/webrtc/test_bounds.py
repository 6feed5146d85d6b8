"""What a peer can make aiortc hold or count through is bounded: aiortc's own parts, guarded."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest
from aioice.ice import StunProtocol
from aioice.stun import Message
from aiortc import RTCSessionDescription, rate
from aiortc import rtcrtpreceiver as receiving
from aiortc.contrib.media import MediaRelay
from aiortc.jitterbuffer import JitterFrame
from aiortc.mediastreams import AudioStreamTrack
from aiortc.rtcsctptransport import SCTP_DATA_FIRST_FRAG, DataChunk
from aiortc.rtp import RTCP_RTPFB_NACK, RTP_HISTORY_SIZE, RtcpRtpfbPacket, RtpPacket
from webrtc_client import knock, offer_of, peer, until

from web.webrtc import bounds
from web.webrtc.packets import MAX_CHECKS, MAX_DISCOVERED, guard


async def test_frames_that_wait_for_a_late_decoder_are_bounded() -> None:
    pc = peer()
    transceiver = pc.addTransceiver("video")
    guard(pc)
    receiver: Any = transceiver.receiver
    waiting = receiver._RTCRtpReceiver__decoder_queue
    asked_for_a_key_frame = receiver._RTCRtpReceiver__decoder_error
    for number in range(100):
        waiting.put((None, JitterFrame(bytes(500_000), number)))
    assert waiting.qsize() * 500_000 <= bounds.MAX_UNDECODED_BYTES
    assert asked_for_a_key_frame.is_set()
    assert waiting.get()[1].timestamp == 0
    waiting.put((None, JitterFrame(bytes(500_000), 100)))
    assert waiting.qsize() * 500_000 <= bounds.MAX_UNDECODED_BYTES, "there is room for one again"
    waiting.put(None)
    assert waiting.get() is None, "whoever ends the decoder does not wait for what it has not read"
    await pc.close()


async def test_pieces_of_messages_without_an_end_are_bounded() -> None:
    pc = peer()
    pc.createDataChannel("events")
    guard(pc)
    sctp = pc.sctp
    assert sctp is not None
    sctp._last_received_tsn = 0
    for number in range(1, 2000):
        piece = DataChunk(flags=SCTP_DATA_FIRST_FRAG if number == 1 else 0)
        piece.tsn, piece.stream_id, piece.user_data = number, number % 7, bytes(1000)
        await sctp._receive_data_chunk(piece)
        piece.tsn, piece.stream_id = 100_000 + 2 * number, 1000 + number
        await sctp._receive_data_chunk(piece)
    held = sum(len(stream.reassembly) for stream in sctp._inbound_streams.values())
    assert held <= bounds.MAX_FRAGMENTS
    assert len(sctp._sack_misordered) <= bounds.MAX_FRAGMENTS
    assert len(sctp._inbound_streams) <= bounds.MAX_STREAMS
    await pc.close()


async def test_addresses_that_a_peer_speaks_from_are_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before it has connected, and afterwards; it connects in spite of them, and stays."""
    theirs, ours = peer(), peer()
    theirs.createDataChannel("events")
    offer = await offer_of(theirs)
    await ours.setRemoteDescription(RTCSessionDescription(offer, "offer"))
    guard(ours)
    assert ours.sctp is not None
    ice = ours.sctp.transport.transport._connection
    check, checks = ice.check_incoming, 0

    def counting(*request: Any) -> None:
        nonlocal checks
        checks += 1
        check(*request)

    def discovered() -> int:
        return sum(each.type == "prflx" for each in ice._remote_candidates)

    monkeypatch.setattr(ice, "check_incoming", counting)
    await ours.setLocalDescription()
    answer = ours.localDescription.sdp
    await until(lambda: ice._early_checks_done)
    knock(offer, answer, ports=300)
    await until(lambda: checks >= 300)
    assert discovered() == MAX_DISCOVERED
    await theirs.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    await until(lambda: theirs.connectionState == ours.connectionState == "connected")
    before = checks
    knock(offer, answer, ports=300)
    await until(lambda: checks >= before + 300)
    assert discovered() == MAX_DISCOVERED
    assert theirs.connectionState == ours.connectionState == "connected"
    await theirs.close()
    await ours.close()


def test_leaps_in_the_numbers_of_packets_are_not_counted_through(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counted = 0
    compare = receiving.uint16_gt

    def counting(a: int, b: int) -> bool:
        nonlocal counted
        counted += 1
        return compare(a, b)

    monkeypatch.setattr(receiving, "uint16_gt", counting)
    missing = receiving.NackGenerator()
    for number in range(50):
        missing.add(RtpPacket(sequence_number=number * 30_000 % 65_536))
        assert len(missing.missing) <= RTP_HISTORY_SIZE
    assert counted < 50 * 1000
    assert missing.add(RtpPacket(sequence_number=49 * 30_000 % 65_536 + 3)), "two are missing now"


async def test_who_always_claims_our_role_is_tried_a_few_times() -> None:
    theirs, ours = peer(), peer()
    theirs.createDataChannel("events")
    await ours.setRemoteDescription(RTCSessionDescription(await offer_of(theirs), "offer"))
    guard(ours)
    assert theirs.sctp is not None
    hostile = theirs.sctp.transport.transport._connection
    asked: Counter[tuple[str, int]] = Counter()

    def claim(message: Message, addr: tuple[str, int], protocol: StunProtocol) -> None:
        asked[addr] += 1
        hostile.respond_error(message, addr, protocol, (487, "Role Conflict"))

    hostile.request_received = claim  # type: ignore[method-assign]
    await ours.setLocalDescription()
    await theirs.setRemoteDescription(ours.localDescription)
    await until(lambda: ours.iceConnectionState == "failed")
    assert asked
    assert max(asked.values()) <= MAX_CHECKS
    await theirs.close()
    await ours.close()


def test_rates_are_counted_as_by_aiortc() -> None:
    rng = random.Random(1)
    (theirs,) = (each for each in rate.RateCounter.__bases__ if each is not object)
    for _ in range(20):
        one, other, now_ms = rate.RateCounter(1000, 8000), theirs(1000, 8000), 5
        for _ in range(300):
            now_ms += rng.choice([0, 1, 20, 400, 999, 1000, 1001, 3000])
            assert one.rate(now_ms) == other.rate(now_ms)
            value = rng.randrange(1500)
            one.add(value, now_ms)
            other.add(value, now_ms)
            if rng.random() < 0.02:
                one.reset()
                other.reset()


def test_a_silence_is_not_counted_through() -> None:
    """Each millisecond of it was, by what estimates the bit rate."""
    counter = rate.RateCounter(1000, 8000)
    counter.add(500, 0)
    counter.add(100, 10**12)  # that many steps would take a week
    counter.add(100, 10**12 + 100)
    assert counter.rate(10**12 + 200) == 8000 * 200 // 1000


async def test_what_a_viewer_has_sent_again_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    pc = peer()
    sender: Any = pc.addTransceiver("video").sender
    guard(pc)
    sent: list[bytes] = []

    async def send(data: bytes) -> None:
        sent.append(data)

    monkeypatch.setattr(sender.transport, "_send_rtp", send)
    packet = RtpPacket(payload_type=96, sequence_number=7, payload=bytes(1000))
    sender._RTCRtpSender__rtp_history[7] = packet
    report = RtcpRtpfbPacket(fmt=RTCP_RTPFB_NACK, ssrc=1, media_ssrc=2, lost=[7] * 5000)
    await sender._handle_rtcp_packet(report)
    assert 0 < len(sent) <= bounds.MAX_RESENT
    await pc.close()


async def test_sound_that_a_viewer_does_not_take_is_bounded() -> None:
    source = AudioStreamTrack()
    relay = MediaRelay()
    frames = 0

    async def recv() -> Any:
        nonlocal frames
        frames += 1
        await asyncio.sleep(0)
        return SimpleNamespace(number=frames)

    source.recv = recv  # type: ignore[method-assign]
    track = bounds.bound_relay(relay.subscribe(source))
    await track.recv()
    await until(lambda: frames > 3 * bounds.MAX_UNHEARD)
    first: Any = await track.recv()
    assert frames - first.number <= bounds.MAX_UNHEARD + 1, "the newest are kept"
    track.stop()
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
