"""How often the right one of two is taken for the speaker, when the lips of both move.

Films are made of pairs of talkers side by side: they speak in turn, each over pictures of the other
speaking at some other time. Then the same with their seats swapped. In: the folder of the clips.
Out: a letter an utterance, and how many were right.
Run: ``python tests/support/both_talk.py ../shared/media``.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt
from recordings import frames_of, read, sound_of

from models.faces import FaceFinder
from realtime.analyzers.local import LocalAnalyzer
from realtime.events import UtteranceResult
from realtime.media import SAMPLE_RATE, FrameThinner
from realtime.session import LiveSession
from realtime.sources import open_source

SIDE, RATE = 320, 25  # of the pictures
TALKERS = {
    "talker_grid_120s.mp4": 60.0,
    "talker_512.mp4": 7.7,
    "talker_700.mp4": 5.7,
    "talker_portrait_hevc.mp4": 19.0,
}
"""So many seconds of each are used."""

_PIECE_S, _PAUSE_S = 1.5, 0.8
_LEVEL = 0.05  # of the sound of each piece
_SPEAKS = 0.05  # of the mean power: so much is speech
_MOSTLY = 0.85  # of a piece is

Film = list[npt.NDArray[np.uint8]]


@dataclass(frozen=True)
class Talker:
    """Pieces in which somebody speaks all the time, each with a pause after it: grey squares around
    the face, and the sound."""

    pieces: list[tuple[Film, npt.NDArray[np.float32]]]

    @classmethod
    def of(cls, film: Film, sound: npt.NDArray[np.float32]) -> Talker:
        """Cut out the pieces."""
        length, pause = round(_PIECE_S * RATE), round(_PAUSE_S * RATE)
        samples = SAMPLE_RATE // RATE
        power = np.square(sound[: len(film) * samples].reshape(-1, samples)).mean(axis=1)
        speaks = np.convolve(power, np.ones(5) / 5, "same") > _SPEAKS * power.mean()
        pieces, first = [], 0
        while first + length <= len(speaks):
            if speaks[first : first + length].mean() < _MOSTLY:
                first += 1
                continue
            shown = film[first : first + length]
            said = sound[first * samples : (first + length) * samples]
            said = said * np.float32(_LEVEL / np.sqrt(np.square(said).mean()))
            pieces.append(([*shown, *[shown[-1]] * pause], np.pad(said, (0, pause * samples))))
            first += length
        return cls(pieces)


async def talker(clip: Path, seconds: float) -> Talker:
    """Who speaks in the first seconds of a clip."""
    items = await read(clip, thinner=FrameThinner(longest_side=1280))
    frames = frames_of(items)
    x, y, width, height = FaceFinder().detect([frames[0].image])[0][0].box
    shape = frames[0].film[0].image.shape
    side = min(round(2.2 * height), *shape)
    left, top = (
        min(max(0, round(middle - side / 2)), room - side)
        for middle, room in ((x + width / 2, shape[1]), (y + height / 2, shape[0]))
    )
    pictures = [picture for frame in frames for picture in frame.film]
    times = np.array([picture.time for picture in pictures])
    wanted = np.abs(times - np.arange(round(seconds * RATE))[:, None] / RATE).argmin(axis=1)
    squares = [
        np.asarray(cv2.resize(picture.image[top : top + side, left : left + side], (SIDE, SIDE)))
        for picture in pictures
    ]
    sound = sound_of(items)
    missing = len(wanted) * SAMPLE_RATE // RATE - len(sound)
    return Talker.of([squares[place] for place in wanted], np.pad(sound, (0, max(0, missing))))


def film(path: Path, left: Talker, right: Talker, seed: int, count: int = 20) -> list[bool]:
    """Film both side by side, who speak so often in turn; whether each turn is the left one's."""
    rng = np.random.default_rng(seed)
    turns = [bool(turn) for turn in rng.permutation([True, False] * (count // 2))]
    pictures: list[tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]] = []
    sounds = []
    for of_left in turns:
        (shown_left, said_left), (shown_right, said_right) = (
            who.pieces[rng.integers(len(who.pieces))] for who in (left, right)
        )
        pictures += zip(shown_left, shown_right, strict=True)
        sounds.append(said_left if of_left else said_right)
    sound = np.concatenate(sounds).astype(np.float32)
    side_by_side(path, pictures, sound)
    return turns


def side_by_side(
    path: Path,
    pictures: Iterable[tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]],
    sound: npt.NDArray[np.float32],
) -> None:
    """Write a film of pairs of grey squares, uint8 (320, 320) each, over sound at 16 kHz."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=RATE)
        video.width, video.height, video.pix_fmt = 2 * SIDE, SIDE, "yuv420p"
        video.bit_rate = 4_000_000
        audio = container.add_stream("aac", rate=SAMPLE_RATE, layout="mono")
        for pair in pictures:
            picture = np.repeat(np.hstack(pair)[:, :, None], 3, 2)
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture)))
        container.mux(video.encode())
        block = av.AudioFrame.from_ndarray(sound[None], "fltp", "mono")
        block.sample_rate, block.time_base, block.pts = SAMPLE_RATE, Fraction(1, SAMPLE_RATE), 0
        container.mux(audio.encode(block))
        container.mux(audio.encode())


async def judged(analyzer: LocalAnalyzer, clip: Path, turns: list[bool]) -> str:
    """A letter an utterance: ``o`` for the right face, ``x`` for the other, ``-`` for none."""
    letters = []
    session = LiveSession(await open_source(str(clip), "fast"), analyzer)
    async for event in session.events():
        if isinstance(event, UtteranceResult):
            turn = int((event.start + event.end) / 2 / (_PIECE_S + _PAUSE_S))
            left = [face.box[0] + face.box[2] / 2 < SIDE for face in event.faces]
            letters.append("-" if not left else "o" if left[0] == turns[turn] else "x")
    return "".join(letters)


async def main(media: Path) -> None:
    """Print the letters of every pair, and how many of the first and of all are right."""
    talkers = {name: await talker(media / name, seconds) for name, seconds in TALKERS.items()}
    analyzer = LocalAnalyzer.load()
    told = []
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "pair.mp4"
        for seed, (left, right) in enumerate(itertools.permutations(talkers, 2)):
            turns = film(clip, talkers[left], talkers[right], seed)
            told.append(await judged(analyzer, clip, turns))
            sys.stdout.write(f"{left:26}{right:26}{told[-1]}\n")
    analyzer.close()
    for name, part in (("first utterances", slice(0, 1)), ("all", slice(None))):
        letters = "".join(one[part] for one in told)
        sys.stdout.write(f"{name}: {letters.count('o')} of {len(letters)} right\n")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
