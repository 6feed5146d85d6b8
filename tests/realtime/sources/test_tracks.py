"""Which track of sound is heard: the one asked for, or one that is not silent."""

from __future__ import annotations

from contextlib import aclosing
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from recordings import GENEROUS, as_written, codes, read, refusal, sound_of, tone

from models.errors import UsageError
from realtime.media import SAMPLE_RATE, SourceNotice
from realtime.sources import open_source

CLICK = -1.0


def film(path: Path, *tracks: tuple[str, float | None]) -> Path:
    """2 s of black pictures, and for each language a tone of so many hertz; 0: silence; None: not a
    packet."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=5)
        video.width, video.height, video.pix_fmt = 64, 64, "yuv420p"
        sounds = []
        for language, hz in tracks:
            stream = container.add_stream("pcm_s16le", rate=SAMPLE_RATE, layout="mono")
            stream.metadata["language"] = language
            sounds.append((stream, hz))
        for n in range(10):
            picture = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8))
            picture.pts = n
            container.mux(video.encode(picture))
            for stream, hz in sounds:
                if hz is not None:
                    sound = tone(2, hz=hz) if hz > 0 else np.zeros((1, 2 * SAMPLE_RATE), np.float32)
                    if hz == CLICK:
                        sound[0, :400] = 0.5 * np.exp(-np.arange(400) / 50)
                    piece = as_written(sound[:, n * 3200 : (n + 1) * 3200])
                    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(piece), "s16", "mono")
                    frame.sample_rate, frame.pts = SAMPLE_RATE, n * 3200
                    container.mux(stream.encode(frame))
        container.mux(video.encode())
        for stream, hz in sounds:
            if hz is not None:
                container.mux(stream.encode())
    return path


async def heard(path: Path, **options: Any) -> tuple[int, list[SourceNotice]]:
    """The pitch that is heard, in hertz, and what is told."""
    items = await read(path, **options)
    spectrum = np.abs(np.fft.rfft(sound_of(items)[:SAMPLE_RATE]))
    return int(np.argmax(spectrum)), [item for item in items if isinstance(item, SourceNotice)]


async def test_the_first_of_two_tracks_is_heard_and_told(tmp_path: Path) -> None:
    hz, [notice] = await heard(film(tmp_path / "a.mkv", ("eng", 440), ("deu", 700)))
    assert hz == 440
    assert notice.code == "audio.track"
    assert "1 (eng), 2 (deu): 1 (eng) is heard; --audio-track chooses" in notice.message


@pytest.mark.parametrize("first", [0, None])
async def test_a_silent_first_track_makes_way(tmp_path: Path, first: float | None) -> None:
    path = film(tmp_path / "a.mkv", ("eng", first), ("deu", 700))
    hz, [notice] = await heard(path)
    assert hz == 700
    reason = ", because 1 (eng) is silent" if first == 0 else ""  # FFmpeg passes over an empty one
    assert f"2 (deu) is heard{reason}; " in notice.message
    isolated, [same] = await heard(path, isolation=GENEROUS)
    assert (isolated, same) == (hz, notice)


async def test_a_track_with_nothing_but_a_click_is_silent(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mkv", ("eng", CLICK), ("deu", 700))
    hz, [notice] = await heard(path)
    assert hz == 700
    assert "because 1 (eng) is silent" in notice.message


async def test_tracks_that_are_all_silent_are_one_silent_recording(tmp_path: Path) -> None:
    items = await read(film(tmp_path / "a.mkv", ("eng", 0), ("deu", 0)))
    assert not sound_of(items).any()
    assert codes(items) == ["audio.track"]


@pytest.mark.parametrize(
    ("wanted", "hz"),
    [("1", 440), ("2", 700), ("3", 900), ("deu", 700), ("en-US", 440), ("FRA", 900)],
)
async def test_a_track_is_chosen_by_number_or_language(
    tmp_path: Path, wanted: str, hz: int
) -> None:
    path = film(tmp_path / "a.mkv", ("eng", 440), ("deu", 700), ("fra", 900))
    assert await heard(path, audio_track=wanted) == (hz, [])
    assert await heard(path, audio_track=wanted, isolation=GENEROUS) == (hz, [])


@pytest.mark.parametrize("wanted", ["0", "4", "jpn", "-1", ""])
async def test_a_track_that_is_not_there_is_refused_with_those_that_are(
    tmp_path: Path, wanted: str
) -> None:
    path = film(tmp_path / "a.mkv", ("eng", 440), ("deu", 700), ("und", 900))
    message = await refusal(str(path), audio_track=wanted)
    assert f"no track of sound {wanted}: choose one of 1 (eng), 2 (deu), 3" in message


@pytest.mark.parametrize("options", [{}, {"audio_track": "1"}])
async def test_a_track_without_a_packet_is_no_sound(tmp_path: Path, options: Any) -> None:
    message = await refusal(str(film(tmp_path / "a.mkv", ("eng", None))), **options)
    assert "a.mkv has no sound: its track of sound is empty" in message


async def test_one_track_is_nothing_to_tell(tmp_path: Path) -> None:
    assert await heard(film(tmp_path / "a.mkv", ("eng", 440))) == (440, [])


async def test_a_webcam_has_no_tracks() -> None:
    with pytest.raises(UsageError, match="webcam has no tracks of sound"):
        async with aclosing(await open_source("webcam", audio_track="1")):
            pass
