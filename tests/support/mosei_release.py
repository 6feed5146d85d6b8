"""A small release of CMU-MOSEI, made up."""

import av
import numpy as np

from models.training.mosei_raw import build_mosei

VIDEOS = ("plain", "-a_b_", "c__1", "d0")  # as odd as the names of real ones


EACH = 8  # utterances a video


LENGTH_S, EVERY_S = 0.6, 0.75


IDS = [f"{video}_{number}" for video in VIDEOS for number in range(EACH)]


SPEECHLESS, SILENT = "d0_8", "mute_0"


def kinds(number):
    """Which emotions utterance `number` of `IDS` expresses: none, one or two of the six."""
    kind = number % 8
    return [kind] if kind < 6 else [] if kind == 6 else [number // 8, 5 - number // 8]


def sound(videos_ids):
    """Half a second of a chord for each utterance, a tone for each emotion; 16 kHz."""
    samples = np.zeros(int((len(videos_ids) * EVERY_S + 0.5) * 16_000), np.float32)
    for place, number in enumerate(videos_ids):
        time = np.arange(int(LENGTH_S * 16_000)) / 16_000
        tones = [np.sin(2 * np.pi * 250 * 1.6**kind * time) for kind in kinds(number)]
        start = int(place * EVERY_S * 16_000)
        samples[start : start + len(time)] = 0.3 * np.sum([0 * time, *tones], axis=0)
    return samples


def write_video(path, seconds, picture_at, samples=None):
    """10 frames a second, a key frame each 2 s, and the sound in AAC at 44.1 kHz."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=10, options={"g": "20"})
        video.width, video.height, video.pix_fmt = 320, 240, "yuv420p"
        audio = None
        if samples is not None:
            audio = container.add_stream("aac", rate=44_100, layout="stereo")
        for number in range(round(seconds * 10)):
            frame = av.VideoFrame.from_ndarray(picture_at(number / 10), format="rgb24")
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if audio is not None:
            frame = av.AudioFrame.from_ndarray(samples[None], format="flt", layout="mono")
            frame.sample_rate = 16_000
            resampler = av.AudioResampler("fltp", "stereo", 44_100)
            for block in [*resampler.resample(frame), *resampler.resample(None)]:
                container.mux(audio.encode(block))
            container.mux(audio.encode(None))


def build(raw, out, **options):
    return build_mosei(
        *(raw / name for name in ("videos", "transcripts", "labels", "splits")), out, **options
    )
