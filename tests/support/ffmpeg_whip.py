"""Publishes a clip by FFmpeg's WHIP muxer: CLIP URL OPTIONS; ends when standard input says so."""

from __future__ import annotations

import json
import sys
import threading
import time

import av

clip, url, options = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
enough = threading.Event()


def listen() -> None:
    sys.stdin.read(1)
    enough.set()


threading.Thread(target=listen, daemon=True).start()

source = av.open(clip)
target = av.open(url, "w", format="whip", options=options)
video = target.add_stream("libx264", rate=25, options={"preset": "ultrafast", "bf": "0"})
video.width, video.height, video.pix_fmt = 384, 288, "yuv420p"
video.profile = "Baseline"
video.gop_size = 25
audio = target.add_stream("libopus", rate=48_000, layout="stereo")
resampler = av.AudioResampler("s16", "stereo", 48_000, 960)

began = time.monotonic()
for frame in source.decode(audio=0, video=0):
    time.sleep(max(0.0, frame.time - (time.monotonic() - began)))
    if enough.is_set():
        break
    if isinstance(frame, av.VideoFrame):
        frame.pict_type = av.video.frame.PictureType.NONE
        target.mux(video.encode(frame))
    else:
        for part in resampler.resample(frame):
            target.mux(audio.encode(part))
target.close()
