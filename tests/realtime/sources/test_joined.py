"""Recordings that were joined end to end: where each begins, and that each is heard."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from playing import events_of, results, warnings_of
from recordings import as_written, codes, film, frames_of, read, refusal, sound_of, tone, write
from talks import Talk

from realtime.analyzers.local import LocalAnalyzer
from realtime.media import SAMPLE_RATE, Media, SourceNotice
from realtime.sources import joined

FRAGMENTED = {"movflags": "frag_keyframe+empty_moov"}


def wave(seconds: float = 1.0) -> bytes:
    data = bytes(2 * round(seconds * SAMPLE_RATE))
    form = struct.pack("<IHHIIHH", 16, 1, 1, SAMPLE_RATE, 2 * SAMPLE_RATE, 2, 16)
    body = b"WAVEfmt " + form + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


def box(kind: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">I", 8 + len(content)) + kind + content


def fragment(time: int, track: int = 1) -> bytes:
    header = box(b"tfhd", bytes(4) + struct.pack(">I", track))
    when = box(b"tfdt", b"\1\0\0\0" + struct.pack(">Q", time))
    return box(b"moof", box(b"mfhd", bytes(8)) + box(b"traf", header + when)) + box(b"mdat", b"a")


def page(kind: int) -> bytes:
    """Of Ogg: 2 is the first page of a stream, 4 its last, 0 any other."""
    return b"OggS\0" + bytes([kind]) + bytes(20) + b"\2\1\3" + bytes(4)


def starts(*pieces: bytes) -> list[int]:
    """Which of `pieces` are found to begin a recording, by their numbers."""
    borders = np.cumsum([0, *map(len, pieces)]).tolist()
    return [borders.index(start) for start in joined.starts(io.BytesIO(b"".join(pieces)))]


# --- where they begin ---


FTYP, MOOV, FREE = box(b"ftyp", b"isom"), box(b"moov", b"one"), box(b"free", bytes(9))


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ([wave(), wave(), wave()], [0, 1, 2]),
        ([wave(), b"LIST", wave()], [0]),
        # Whoever wrote an odd number of bytes may have forgotten the one that fills it up.
        ([b"RIFF" + struct.pack("<I", 5) + b"WAVE.", wave()], [0, 1]),
        ([b"RIFF" + struct.pack("<I", 5) + b"WAVE.\0", wave()], [0, 1]),
        # Whoever streams does not know the size.
        ([b"RIFF\xff\xff\xff\xffWAVE", wave()], [0]),
        ([b"RF64\xff\xff\xff\xffWAVEds64" + struct.pack("<IQ", 28, 28) + bytes(8), wave()], [0, 1]),
        # The second gigabyte of a long AVI is none of its own.
        ([b"RIFF\4\0\0\0AVI ", b"RIFF\4\0\0\0AVIX", b"RIFF\4\0\0\0AVI "], [0, 2]),
        ([FTYP, MOOV + box(b"mdat"), FTYP, MOOV + box(b"mdat")], [0, 2]),
        ([FTYP, FREE + box(b"mdat") + MOOV, FTYP, FREE + box(b"mdat") + MOOV], [0, 2]),
        ([FTYP + MOOV, box(b"mdat"), wave(), FTYP + MOOV], [0, 2, 3]),
        ([FTYP + MOOV, struct.pack(">I", 0) + b"mdat", FTYP + MOOV], [0]),
        ([FTYP + MOOV, struct.pack(">I4sQ", 1, b"mdat", 16), FTYP, MOOV + box(b"mdat")], [0, 2]),
        # A server of live streams repeats what a segment needs.
        ([FTYP + MOOV, fragment(0), FTYP + MOOV, fragment(9), FTYP + MOOV, fragment(18)], [0]),
        ([FTYP + MOOV, fragment(5, 1) + fragment(90, 2), FTYP + MOOV, fragment(9, 1)], [0]),
        ([FTYP + MOOV, fragment(0), fragment(9), FTYP + MOOV, fragment(0)], [0, 3]),
        ([FTYP + MOOV, fragment(0), FTYP + box(b"moov", b"two"), fragment(9)], [0, 2]),
        ([b"caff\0\1\0\0" + b"data" + struct.pack(">q", 1) + b".", wave()], [0, 1]),
        ([b"caff\0\1\0\0" + b"data" + struct.pack(">q", -1) + b".", wave()], [0]),
        # Two streams begin together; and what is damaged is looked at no further.
        ([page(2) + page(2) + page(0), page(4), page(2) + page(2), page(0), page(2)], [0, 2, 4]),
        ([page(2) + page(0), b"?", page(2) + page(0)], [0]),
        ([page(2) + page(4), wave()], [0, 1]),
        ([b"\x1a\x45\xdf\xa3\x80", b"\x18\x53\x80\x67\xff" + bytes(20), wave()], [0]),
    ],
)
def test_where_recordings_begin(pieces: list[bytes], expected: list[int]) -> None:
    assert starts(*pieces) == expected


MAGIC = st.sampled_from([magic + bytes(at) + kind for magic, at, kind, _ in joined._FORMATS])


@given(content=st.lists(MAGIC | st.binary(max_size=40) | st.just(FTYP + MOOV)).map(b"".join))
def test_whatever_is_damaged_gives_places_in_the_file(content: bytes) -> None:
    found = joined.starts(io.BytesIO(content))
    assert found == sorted({0, *found})
    assert found[-1] <= len(content)


@pytest.mark.slow
@pytest.mark.parametrize(
    "content",
    [
        FTYP + FREE[:8].replace(b"\x11", b"\x08") * 1_000_000,
        b"FLV\1\5\0\0\0\x09\0\0\0\0" + b"\x08" + bytes(14) * 1_000_000,
        b"caff\0\1\0\0" + bytes(12) * 1_000_000,
        (b"OggS" + bytes(24)) * 1_000_000,
        b"\x1a\x45\xdf\xa3\x80" + b"\xec\x80" * 1_000_000,
    ],
)
def test_a_file_of_many_small_parts_is_not_read_to_its_end(content: bytes) -> None:
    class Counting(io.BytesIO):
        reads = 0

        def read(self, size: int | None = -1) -> bytes:
            self.reads += 1
            return super().read(size)

    file = Counting(content)
    assert joined.starts(file) == [0]
    assert file.reads <= joined.MAX_READS


# --- what is heard ---


@pytest.mark.slow
@pytest.mark.parametrize(
    ("suffix", "codec"),
    [
        *(("wav", "pcm_s16le"), ("w64", "pcm_s16le"), ("caf", "pcm_s16le"), ("au", "pcm_s16be")),
        *(
            ("mov", "pcm_s16le"),
            ("m4a", "aac"),
            ("flv", "aac"),
            ("mkv", "aac"),
            ("avi", "pcm_s16le"),
        ),
        *(("webm", "libopus"), ("asf", "libmp3lame"), ("aiff", "pcm_s16be")),
    ],
)
async def test_the_speech_of_each_piece_is_found(
    talk: Talk, tmp_path: Path, analyzer: LocalAnalyzer, suffix: str, codec: str
) -> None:
    whole = sound_of(await read(talk.path))
    quiet = np.zeros(SAMPLE_RATE, np.float32)
    pieces = []
    for number, said in enumerate(talk.sentences):
        speech = whole[round(said.start * SAMPLE_RATE) : round(said.end * SAMPLE_RATE)]
        rate = 48000 if codec == "libopus" else 16000
        sound = np.repeat(np.concatenate((quiet, speech, quiet)), rate // 16000)[np.newaxis]
        pieces.append(write(tmp_path / f"{number}.{suffix}", [(0, sound)], rate, codec=codec))
    events = await events_of(join(tmp_path / f"joined.{suffix}", *pieces), analyzer)
    [first, second] = results(events)
    length = talk.sentences[0].end - talk.sentences[0].start
    assert (first.start, second.start) == pytest.approx((0.9, 2.9 + length), abs=0.3)
    assert [warning.code for warning in warnings_of(events)] == ["source.clocks"]


def told(items: list[Media], code: str) -> list[str]:
    return [item.message for item in items if isinstance(item, SourceNotice) and item.code == code]


def pitch(items: list[Media], second: float) -> int:
    """Of half a second, in Hz."""
    start = round(second * SAMPLE_RATE)
    spectrum = np.abs(np.fft.rfft(sound_of(items)[start : start + SAMPLE_RATE // 2]))
    return 2 * int(np.argmax(spectrum))


def join(path: Path, *pieces: Path) -> Path:
    path.write_bytes(b"".join(piece.read_bytes() for piece in pieces))
    return path


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi", "flv"])
async def test_each_piece_has_its_own_rate_channels_and_size(tmp_path: Path, suffix: str) -> None:
    a = write(
        tmp_path / f"a.{suffix}",
        [(0, tone(2, 22050, hz=440))],
        22050,
        codec="aac",
        frames=film(2),
        video_codec="libx264",
    )
    b = write(
        tmp_path / f"b.{suffix}",
        [(0, tone(3, 44100, channels=2, hz=700))],
        44100,
        codec="aac",
        frames=film(3),
        size=(320, 200),
        video_codec="libx264",
    )
    c = write(tmp_path / f"c.{suffix}", [(0, tone(2, 44100, hz=900))], 44100, codec="aac")
    for first, second, third, hz in ((a, b, c, (440, 700, 900)), (c, b, a, (900, 700, 440))):
        items = await read(join(tmp_path / f"j.{suffix}", first, second, third))
        assert len(sound_of(items)) / SAMPLE_RATE == pytest.approx(7, abs=0.2)
        assert [pitch(items, at) for at in (1, 3.5, 6.2)] == pytest.approx(hz, abs=4)
        frames = frames_of(items)
        assert {frame.image.shape for frame in frames} == {(120, 160, 3), (200, 320, 3)}
        assert len(frames) == pytest.approx(25, abs=2)


@pytest.mark.parametrize(
    ("suffix", "codec", "first_hz"),
    [
        *(("opus", "libopus", 48000), ("oga", "flac", 48000), ("aac", "aac", 24000)),
        *(
            ("flac", "flac", 44100),
            ("wv", "wavpack", 44100),
            ("tta", "tta", 44100),
            ("voc", "pcm_s16le", 22050),
        ),
    ],
)
async def test_sound_alone_has_its_own_rate_and_channels_too(
    tmp_path: Path, suffix: str, codec: str, first_hz: int
) -> None:
    other_hz = 48000 if codec != "flac" else 16000
    pieces = [
        write(
            tmp_path / f"{hz}.{suffix}",
            [(0, tone(3, rate, channels=channels, hz=hz))],
            rate,
            codec=codec,
        )
        for hz, rate, channels in ((440, first_hz, 1), (700, other_hz, 2), (900, first_hz, 1))
    ]
    items = await read(join(tmp_path / f"joined.{suffix}", *pieces))
    assert len(sound_of(items)) / SAMPLE_RATE == pytest.approx(9, abs=0.2)
    assert [pitch(items, at) for at in (2, 5, 8)] == pytest.approx([440, 700, 900], abs=4)
    assert codes(items) == ["source.clocks"] * (suffix != "aac")  # which has no timestamps


def fragmented(folder: Path, options: dict[str, str], **more: Any) -> list[Path]:
    """Two recordings of 3 s, each with a tone of its own: 440 and 700 Hz."""
    return [
        write(
            folder / f"{hz}.mp4",
            [(0, tone(3, 48000, hz=hz))],
            48000,
            codec="aac",
            options=options,
            **more,
        )
        for hz in (440, 700)
    ]


async def test_fragmented_recordings_are_heard_whole(tmp_path: Path) -> None:
    pieces = fragmented(tmp_path, FRAGMENTED, frames=film(3))
    items = await read(join(tmp_path / "joined.mp4", *pieces))
    assert len(sound_of(items)) / SAMPLE_RATE == pytest.approx(6, abs=0.15)
    assert [pitch(items, at) for at in (2.4, 5.4)] == pytest.approx([440, 700], abs=4)
    assert codes(items) == ["source.clocks"]


async def test_fragments_that_begin_anew_without_a_header_are_heard_whole(tmp_path: Path) -> None:
    """As of a stream over HTTP that was interrupted: FFmpeg discards the first of them."""
    options = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "frag_duration": "1000000"}
    pieces = [piece.read_bytes() for piece in fragmented(tmp_path, options)]
    path = tmp_path / "joined.mp4"
    ends = [piece.rindex(b"mfra") - 4 for piece in pieces]
    path.write_bytes(pieces[0][: ends[0]] + pieces[1][pieces[1].index(b"moof") - 4 : ends[1]])
    items = await read(path)
    assert len(sound_of(items)) / SAMPLE_RATE == pytest.approx(6, abs=0.1)
    assert [pitch(items, at) for at in (2.4, 3.3, 5.4)] == pytest.approx([440, 700, 700], abs=4)
    assert codes(items) == ["source.clocks"]


@pytest.mark.parametrize("suffix", ["ts", "mpg"])
async def test_each_piece_has_streams_of_its_own(tmp_path: Path, suffix: str) -> None:
    """Of MPEG-TS, other numbers; of MPEG-PS, other codecs, which have other numbers."""
    pieces = [
        write(
            tmp_path / f"{hz}.{suffix}",
            [(0, tone(4, 48000, hz=hz))],
            48000,
            codec=codec if suffix == "mpg" else "mp2",
            frames=film(4),
            video_codec="mpeg1video" if suffix == "mpg" else "libx264",
            options={"mpegts_start_pid": str(hz)} if suffix == "ts" else {},
        )
        for hz, codec in ((440, "mp2"), (700, "ac3"), (900, "mp2"))
    ]
    items = await read(join(tmp_path / f"joined.{suffix}", *pieces))
    assert len(sound_of(items)) / SAMPLE_RATE == pytest.approx(12, abs=0.2)
    assert [pitch(items, at) for at in (2, 4.5, 7, 9, 11)] == pytest.approx(
        [440, 700, 700, 900, 900], abs=4
    )
    assert len(frames_of(items)) == pytest.approx(60, abs=2)
    assert "source.clocks" in codes(items)


async def test_tracks_side_by_side_are_not_taken_for_pieces(tmp_path: Path) -> None:
    path = tmp_path / "two.ts"
    with av.open(str(path), "w") as out:
        tracks = [out.add_stream("mp2", rate=48000, layout="mono") for _ in range(2)]
        for stream in tracks:
            stream.bit_rate = 32_000
        sounds = [as_written(tone(8, 48000, hz=hz)) for hz in (440, 700)]
        for n in range(0, 8 * 48000, 1152):
            for stream, sound in zip(tracks, sounds, strict=True):
                piece = np.ascontiguousarray(sound[:, n : n + 1152])
                frame = av.AudioFrame.from_ndarray(piece, "s16", "mono")
                frame.sample_rate, frame.pts = 48000, n
                out.mux(stream.encode(frame))
        for stream in tracks:
            out.mux(stream.encode())
    items = await read(path)
    assert len(sound_of(items)) / SAMPLE_RATE == pytest.approx(8, abs=0.1)
    assert [pitch(items, at) for at in (1, 4, 7)] == pytest.approx([440] * 3, abs=4)
    assert codes(items) == ["audio.track"]


async def test_titles_between_mp3s_are_no_damage(tmp_path: Path) -> None:
    pieces = [
        write(
            tmp_path / f"{hz}.mp3",
            [(0, tone(2, 44100, hz=hz))],
            44100,
            codec="libmp3lame",
            options={"write_id3v1": "1"},
        )
        for hz in (440, 700)
    ]
    items = await read(join(tmp_path / "joined.mp3", *pieces))
    assert len(sound_of(items)) / SAMPLE_RATE == pytest.approx(4, abs=0.2)
    assert [pitch(items, at) for at in (1, 3)] == pytest.approx([440, 700], abs=4)
    assert codes(items) == []


async def test_a_piece_that_cannot_be_heard_is_passed_over(tmp_path: Path) -> None:
    mute = write(tmp_path / "mute.mp4", frames=film(1))
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes(FTYP + MOOV + box(b"mdat", bytes(99)))
    good = write(tmp_path / "good.m4a", [(0, tone(2, 44100))], 44100, codec="aac")
    for pieces, number in (((mute, good), 1), ((good, mute), 2), ((good, damaged), 2)):
        items = await read(join(tmp_path / "joined.mp4", *pieces))
        assert len(sound_of(items)) / SAMPLE_RATE == pytest.approx(2, abs=0.1)
        [message] = told(items, "source.corrupt")
        assert f"recording {number} of 2 is passed over: joined.mp4" in message
    assert "has no sound" in await refusal(str(join(tmp_path / "joined.mp4", mute, mute)))


async def test_pieces_beyond_what_is_opened_are_told(tmp_path: Path) -> None:
    path = tmp_path / "many.wav"
    path.write_bytes(wave(0.1) * (joined.MAX_PIECES + 5))
    items = await read(path)
    assert len(sound_of(items)) == joined.MAX_PIECES * SAMPLE_RATE // 10
    assert "100 recordings" in told(items, "source.clocks")[0]


async def test_any_name_of_a_joined_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a,b:,,end,5,,:c d.wav"
    path.write_bytes(wave(1) + wave(2))
    assert len(sound_of(await read(path))) == 3 * SAMPLE_RATE
