"""The least of an RTSP server: a tone as G.711 in RTP, or a silence at any step before it."""

from __future__ import annotations

import socketserver
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import av
from recordings import as_written, tone

TONE_S = 3

STEPS = ["OPTIONS", "DESCRIBE", "SETUP", "PLAY", "RTP"]
"""What a player asks for, in this order; and what it gets at last."""

_SDP = (
    b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=tone\r\nt=0 0\r\n"
    b"m=audio 0 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na=control:sound\r\n"
)


@contextmanager
def rtsp_camera(*, hangs_at: str | None = None) -> Iterator[str]:
    """Serve `TONE_S` of a tone, in real time or sooner; the URL.

    Args:
        hangs_at: the one of `STEPS` that is never done, though the connection stays; "RTP" stops
            in the middle. None: all are done.
    """
    over = threading.Event()
    camera = type("Camera", (_Camera,), {"hangs_at": hangs_at, "over": over})
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), camera) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            yield f"rtsp://127.0.0.1:{server.server_address[1]}/camera"
        finally:
            over.set()
            server.shutdown()


class _Camera(socketserver.StreamRequestHandler):
    hangs_at: str | None
    over: threading.Event

    def handle(self) -> None:
        while request := self._request():
            method = request[0].split()[0]
            if method == self.hangs_at:
                self.over.wait()
                return
            number = next(line for line in request if line.lower().startswith("cseq"))
            headers, body = [number], b""
            if method == "DESCRIBE":
                body = _SDP
                headers += ["Content-Type: application/sdp", f"Content-Length: {len(body)}"]
            elif method == "SETUP":
                headers += ["Transport: RTP/AVP/TCP;unicast;interleaved=0-1", "Session: 1"]
            elif method == "OPTIONS":
                headers += ["Public: DESCRIBE, SETUP, PLAY, TEARDOWN"]
            self._send("\r\n".join(["RTSP/1.0 200 OK", *headers, "", ""]).encode() + body)
            if method == "PLAY":
                return self._play()

    def _request(self) -> list[str]:
        lines = []
        while line := self.rfile.readline().decode().strip():
            lines.append(line)
        return lines

    def _play(self) -> None:
        encoder = av.CodecContext.create("pcm_mulaw", "w")
        encoder.sample_rate, encoder.layout, encoder.format = 8000, "mono", "s16"
        sound = as_written(tone(TONE_S, 8000))
        packets = 50 * TONE_S
        for n in range(packets):
            if n == packets // 2 and self.hangs_at == "RTP":
                self.over.wait()
                return
            frame = av.AudioFrame.from_ndarray(sound[:, n * 160 : n * 160 + 160], "s16", "mono")
            frame.sample_rate, frame.pts = 8000, n * 160
            payload = b"".join(bytes(packet) for packet in encoder.encode(frame))
            rtp = struct.pack(">BBHII", 0x80, 0, n, n * 160, 1) + payload
            self._send(struct.pack(">cBH", b"$", 0, len(rtp)) + rtp)
            time.sleep(0.015)

    def _send(self, data: bytes) -> None:
        with suppress(ConnectionError):  # the player may have gone
            self.wfile.write(data)
