"""One peer connection: a publisher, whose media a session analyses, or a viewer of such media.

In: an SDP offer. Out: the answer; of a publisher, a `WebRTCSource`, its media relayed to viewers,
and its session's events through the data channel `events`.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from contextlib import suppress

from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCDataChannel,
    RTCIceServer,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.contrib.media import MediaRelay
from aiortc.sdp import candidate_from_sdp

from realtime.media import FrameThinner
from realtime.sources.webrtc import WebRTCSource
from web.errors import ApiError
from web.sessions.hosted import Hosted, wire
from web.settings import ServerSettings
from web.webrtc.bounds import bound_relay
from web.webrtc.offer import MAX_CANDIDATES, Offer, bounded_lines, is_usable
from web.webrtc.packets import guard

logger = logging.getLogger(__name__)

CONNECT_S = 10.0
"""How long a peer may take from its offer to its connection."""

OPEN_CHANNEL_S = 1.0
"""How long, once connected, a publisher may take to open the channel `events` before we do."""

FAREWELL_S = 2.0
"""How long the last events of a session may take through the data channel."""

SETTLE_S = 2.0
"""How long a connection that is being made may go on to be, before it is closed."""

CLOSE_S = 10.0
"""How long a connection may take to close."""

MAX_BUFFERED_BYTES = 256 * 1024
"""Of a data channel: whoever reads it slowly makes its own events wait, and nobody else's."""


class Peer(ABC):
    """One peer connection that answers an offer.

    Args:
        owner: the guest whose it is; None: the host.

    Attributes:
        owner: as given.
        connected: set once media flows.
        gone: set when the connection is over, or is to be: whoever keeps the peer then closes it.
        closed: set when all is released.
        problem: why it is over, in one line; None: because the peer wished so.
    """

    receives = False  # media of the peer
    channels = False  # whether it may ask for data channels

    def __init__(self, settings: ServerSettings, name: str, owner: str | None) -> None:
        self.name = name
        self.owner = owner
        self.connected = asyncio.Event()
        self.gone = asyncio.Event()
        self.closed = asyncio.Event()
        self.problem: str | None = None
        self._settled = asyncio.Event()
        # Without a list of its own, aiortc would ask a STUN server of a third party.
        servers = [
            RTCIceServer(
                urls=list(server.urls), username=server.username, credential=server.credential
            )
            for server in settings.ice_servers
        ]
        self._pc = RTCPeerConnection(RTCConfiguration(iceServers=servers))
        self._pc.on("connectionstatechange", self._follow_state)
        loop = asyncio.get_running_loop()
        self._patience = loop.call_later(CONNECT_S, self._fail, "did not connect in time")

    async def accept(self, offer: str) -> str:
        """The answer to `offer`, by which the connection is made; `ApiError` if it cannot be."""
        self._offer = Offer(offer, receives=self.receives, channels=self.channels)
        try:
            await self._pc.setRemoteDescription(RTCSessionDescription(self._offer.text, "offer"))
            self._arrange()
            guard(self._pc)
            await self._pc.setLocalDescription()
        except ApiError:
            raise
        except Exception as error:  # aiortc has no exception of its own for an offer
            raise ApiError(
                400,
                "bad_offer",
                f"the SDP offer cannot be used ({repr(error)[:200]}): send one of WebRTC's",
            ) from error
        return self._offer.answered(str(self._pc.localDescription.sdp))

    async def trickle(self, fragment: str) -> None:
        """Take the candidates in an SDP fragment; `ApiError` if they cannot be taken."""
        mid: str | None = None
        for line in bounded_lines(fragment):
            attribute, _, value = line.removeprefix("a=").partition(":")
            if attribute == "ice-ufrag" and value not in self._offer.usernames:
                raise ApiError(
                    422, "ice_restart", "ICE cannot be restarted here: publish again instead"
                )
            if attribute == "mid":
                mid = value
            elif attribute == "end-of-candidates":
                await self._pc.addIceCandidate(None)
            elif attribute == "candidate":
                try:
                    await self._take_candidate(value, mid)
                except (ValueError, IndexError, AssertionError) as error:
                    raise ApiError(
                        400, "bad_candidate", f"no ICE candidate with its mid: {line[:200]}"
                    ) from error

    async def close(self) -> None:
        """Close the connection. Idempotent."""
        self._patience.cancel()
        if self._pc.connectionState == "connecting":
            # Closed in the middle of it, aiortc leaves tasks behind that nobody can end.
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._settled.wait(), SETTLE_S)
        try:
            # aiortc waits for tasks of its own: for ever, should one of them have broken off.
            await asyncio.wait_for(self._pc.close(), CLOSE_S)
        except Exception:
            logger.exception("a connection cannot be closed in order")  # and not whose: a name
        self.closed.set()

    @abstractmethod
    def _arrange(self) -> None:
        """Decide, between offer and answer, what flows; `ApiError` if nothing can."""

    async def _take_candidate(self, text: str, mid: str | None) -> None:
        if mid is None:
            raise ValueError("it is of no medium")
        if is_usable(text) and self._offer.candidates < MAX_CANDIDATES:
            self._offer.candidates += 1
            candidate = candidate_from_sdp(text)
            candidate.sdpMid = mid
            await self._pc.addIceCandidate(candidate)

    def _follow_state(self) -> None:
        if self._pc.connectionState != "connecting":
            self._settled.set()
        match self._pc.connectionState:
            case "connected":
                self._patience.cancel()
                self.connected.set()
            case "failed" if self.connected.is_set():
                self._fail("was lost: its network, or its program, went away")
            case "failed" if self._pc.iceConnectionState == "completed":
                self._fail(
                    "failed to encrypt (DTLS): an FFmpeg built with GnuTLS needs a certificate on "
                    "the curve P-256, by its options cert_file and key_file"
                )
            case "failed":
                self._fail("found no way through the network: a TURN server may help")
            case "closed":
                self.gone.set()

    def _fail(self, problem: str) -> None:
        self.problem = f"the connection of {self.name} {problem}"
        self.gone.set()


class Publisher(Peer):
    """One who sends sound, pictures or both, which we analyse, and send on to viewers.

    Args:
        address: from which the offer came; of IPv6, the network.
        alone: one person is to be seen; nobody looks for others.

    Attributes:
        address: as given.
        source: what is analysed; made by `accept`.
        hosted: its session; given by whoever begins that, before `live`.
        viewers: who watches, by id.
    """

    receives = True
    source: WebRTCSource
    hosted: Hosted
    viewers: dict[str, Viewer]

    def __init__(
        self,
        settings: ServerSettings,
        name: str,
        owner: str | None,
        *,
        address: str,
        alone: bool,
    ) -> None:
        super().__init__(settings, name, owner)
        self.address = address
        self.channels = owner is None  # the host alone reads what is found
        self.viewers = {}
        self._alone = alone
        self._limits = settings.limits
        self._tracks: dict[str, MediaStreamTrack] = {}  # the first of each kind
        self._relay = MediaRelay()
        self._telling: set[asyncio.Task[None]] = set()  # one a data channel
        self._pc.on("datachannel", self._take_channel)

    @property
    def came_in(self) -> bool:
        """Whether it was connected, and its session had a place."""
        return self.connected.is_set() and not self.hosted.connecting

    def _arrange(self) -> None:
        for transceiver in self._pc.getTransceivers():
            track = transceiver.receiver.track
            if track is None or track.kind in self._tracks:
                transceiver.direction = "inactive"  # nobody would drain it
            else:
                self._tracks[track.kind] = track
        if not self._tracks:
            raise ApiError(
                400, "no_media", "the offer sends neither sound nor pictures: add one of them"
            )
        self.source = WebRTCSource(
            self.name,
            self.relayed("audio"),
            self.relayed("video"),
            idle_s=self._limits.idle_s,
            max_frame_mpx=self._limits.max_frame_mpx,
            thinner=FrameThinner(film_rate=0) if self._alone else None,
        )

    def relayed(self, kind: str) -> MediaStreamTrack | None:
        """For one more consumer, the track of that kind, if there is one.

        Of pictures a consumer that is slow misses some, so that it is never late. Sound is whole.
        """
        track = self._tracks.get(kind)
        return track and bound_relay(self._relay.subscribe(track, buffered=kind == "audio"))

    async def flowing(self) -> None:
        """Wait until media flows; `ApiError` if the connection is not made.

        Before that the relay must not be asked: aiortc does not end a track that never began.
        """
        await first_of(self.connected, self.gone)
        if self.gone.is_set():
            raise ApiError(404, "not_published", f"{self.name} has gone: there is no media to send")

    async def live(self) -> None:
        """Serve until the session ends or the peer has gone; then release everything."""
        hosted = self.hosted
        serving = asyncio.create_task(self._serve())
        try:
            await first_of(hosted.ended, hosted.dismissed, self.gone)
            if self._telling and not self.gone.is_set() and not hosted.dismissed.is_set():
                await asyncio.wait(self._telling, timeout=FAREWELL_S)
            self.source.end(self.problem)
        finally:
            tasks = [serving, *self._telling]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.close()

    async def _serve(self) -> None:
        await self.connected.wait()
        self.source.start()
        if self._pc.sctp is None:
            self._waive_consent()
            return
        await asyncio.sleep(OPEN_CHANNEL_S)
        if not self._telling:
            self._take_channel(self._pc.createDataChannel("events"))

    def _waive_consent(self) -> None:
        """Go on without asking every 5 s whether we may send: we send nothing but RTCP.

        FFmpeg (8.1) leaves such requests (RFC 7675) unanswered once its media flows, and aioice,
        which cannot be told otherwise in public, would hang up after 30 s. That a publisher is
        there is seen by its media; when that stops, its source says so.
        """
        for transceiver in self._pc.getTransceivers():
            asking = transceiver.receiver.transport.transport._connection._query_consent_task
            if asking is not None:
                asking.cancel()

    def _take_channel(self, channel: RTCDataChannel) -> None:
        if channel.label == "events" and not self._telling:  # one is enough
            task = asyncio.create_task(self._tell(channel))
            self._telling.add(task)
            task.add_done_callback(self._telling.discard)

    async def _tell(self, channel: RTCDataChannel) -> None:
        changed = asyncio.Event()
        for change in ("open", "close", "bufferedamountlow"):
            channel.on(change, changed.set)

        async def writable(at_most: int) -> bool:
            """Wait until the channel holds at most so many bytes; False if it has closed."""
            channel.bufferedAmountLowThreshold = at_most
            while channel.readyState == "connecting" or channel.bufferedAmount > at_most:
                changed.clear()
                await changed.wait()
                if channel.readyState != "open":
                    break
            return bool(channel.readyState == "open")

        async for seq, event in self.hosted.follow():
            if not await writable(MAX_BUFFERED_BYTES):
                return
            channel.send(wire(seq, event))
        await writable(0)


class Viewer(Peer):
    """One who watches what a publisher sends."""

    def __init__(self, settings: ServerSettings, publisher: Publisher, owner: str | None) -> None:
        super().__init__(settings, f"a viewer of {publisher.name}", owner)
        self._publisher = publisher

    def _arrange(self) -> None:
        sent: set[str] = set()
        for transceiver in self._pc.getTransceivers():
            track = None if transceiver.kind in sent else self._publisher.relayed(transceiver.kind)
            if track is None:
                transceiver.direction = "inactive"
            else:
                transceiver.sender.replaceTrack(track)
                transceiver.direction = "sendonly"
                sent.add(transceiver.kind)
        if not sent:
            raise ApiError(
                400, "no_media", f"the offer asks for nothing that {self._publisher.name} sends"
            )


async def first_of(*events: asyncio.Event) -> None:
    """Wait until one of the events is set."""
    waits = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
