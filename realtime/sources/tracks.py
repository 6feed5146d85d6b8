"""Which tracks of a recording are analysed: of sound, the one asked for, or one that is not silent.

In: an opened container. Out: its tracks, and how much is heard in each of them.
"""

from __future__ import annotations

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Disposition, Stream
from av.video.stream import VideoStream

from models.errors import UsageError
from realtime.sources.mixing import Downmixer

SILENT = 1e-3
"""Magnitude, -60 dBFS, up to which a sample counts as silent."""

HEARD_S = 0.05
"""A track is silent that has only so much sound beyond that: a click, as where a microphone was
switched off. Ordinary speech has it in a word, speech with peaks of -50 dBFS in two sentences."""

LISTEN_S = 300.0
"""How much of a recording is listened to before it is clear that a track is silent; decoding so
much sound takes about a second."""


def audio_tracks(container: InputContainer) -> list[AudioStream]:
    """The tracks of sound that can be decoded, in their order."""
    return [stream for stream in container.streams.audio if stream.codec_context is not None]


def best_audio(container: InputContainer) -> AudioStream | None:
    """The track that FFmpeg takes for the best one: the default one, or that with most channels."""
    tracks = audio_tracks(container)
    best = container.streams.best("audio")
    return next((track for track in tracks if track is best), tracks[0] if tracks else None)


def best_video(container: InputContainer) -> VideoStream | None:
    """The container's best video that can be decoded; cover art is not video."""
    video = [
        s
        for s in container.streams.video
        if s.codec_context is not None and not s.disposition & Disposition.attached_pic
    ]
    best = container.streams.best("video")
    return next((s for s in video if s is best), video[0] if video else None)


def chosen_track(tracks: list[AudioStream], wanted: str, name: str) -> AudioStream:
    """The track of this number, from 1, or language; `UsageError` that lists the tracks of `name`.

    A language may be given by its first letters, or with its country: ``en`` and ``en-US`` find
    ``eng``.
    """
    letters = wanted.lower().partition("-")[0]
    for number, track in enumerate(tracks, 1):
        language = track.metadata.get("language", "").lower()
        if wanted == str(number) or (letters and language.startswith(letters)):
            return track
    raise UsageError(
        f"{name} has no track of sound {wanted}: choose one of {', '.join(listed(tracks))}"
    )


def listed(tracks: list[AudioStream]) -> list[str]:
    """Each track by its number and, where it is known, its language: ``2 (eng)``."""
    languages = [track.metadata.get("language", "und") for track in tracks]
    return [
        f"{number} ({language})" if language != "und" else f"{number}"
        for number, language in enumerate(languages, 1)
    ]


def heard(container: InputContainer, first: int) -> dict[int, float]:
    """How many seconds of each track of sound are not silent, by the index of its stream.

    Tracks without any packet are left out. Listening ends as soon as the track of index `first` is
    not a silent one; of a single track, with its first packet.
    """
    tracks = {track.index: track for track in audio_tracks(container)}
    mixers = {index: Downmixer() for index in tracks}
    seconds: dict[int, float] = {}
    began_s: float | None = None
    try:
        for packet in container.demux(list(tracks.values())):
            if packet.dts is None:  # the last of each stream is empty
                continue
            index = packet.stream.index
            seconds.setdefault(index, 0.0)
            if len(tracks) == 1:
                break
            time_s = float(packet.dts * packet.time_base)
            began_s = time_s if began_s is None else began_s
            seconds[index] += _heard(tracks[index], packet, mixers[index])
            if seconds.get(first, 0.0) > HEARD_S or time_s - began_s > LISTEN_S:
                break
    except (av.error.FFmpegError, IndexError):
        pass  # what is damaged is told where it is analysed
    return seconds


def _heard(track: AudioStream, packet: av.Packet[Stream], mixer: Downmixer) -> float:
    try:
        return sum(
            np.count_nonzero(np.abs(mixer.mix(frame)[0]) > SILENT) / frame.sample_rate
            for frame in track.decode(packet)
        )
    except av.error.FFmpegError:
        return 0.0
