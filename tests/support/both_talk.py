"""How often the right one of two or three is taken for the speaker, when the lips of all move.

Films are made of pairs of talkers side by side: they speak in turn, each over pictures of the other
speaking at some other time. Then the same with their seats swapped. With a folder of laughs, a
third sits beside them, who says nothing and laughs in every other pause. In: the folder of the
clips. Out: a letter an utterance, and how many were right.
Run: ``python tests/support/both_talk.py ../shared/media [../shared/data/speech_more/emogator]``.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt
from recordings import frames_of, read, sound_of

from models.clips import read_clip
from models.faces import FaceFinder
from realtime.analyzers.local import LocalAnalyzer
from realtime.events import UtteranceResult
from realtime.media import SAMPLE_RATE, FrameThinner
from realtime.session import LiveSession
from realtime.sources import open_source

SIDE, RATE = 320, 25  # of the pictures
SEAT = 212  # pixels that one of three has: more than 640 in all, and faces would be made smaller
TALKERS = {
    "talker_grid_120s.mp4": 60.0,
    "talker_512.mp4": 7.7,
    "talker_700.mp4": 5.7,
    "talker_portrait_hevc.mp4": 19.0,
}
"""So many seconds of each are used."""

_PIECE_S, _PAUSE_S = 1.5, 0.8
_LAUGH_S = 1.6  # so much longer are the pauses beside somebody who laughs
_LEVEL = 0.05  # of the sound of each piece
_SPEAKS = 0.05  # of the mean power: so much is speech
_MOSTLY = 0.85  # of a piece is

Film = list[npt.NDArray[np.uint8]]


@dataclass(frozen=True)
class Talker:
    """Who speaks in a clip.

    Attributes:
        film: grey squares around the face, from beginning to end.
        rest: the longest time in which nobody speaks, and back again.
        pieces: squares and sound of where somebody speaks all the time.
    """

    film: Film
    rest: Film
    pieces: list[tuple[Film, npt.NDArray[np.float32]]]

    @classmethod
    def of(cls, film: Film, sound: npt.NDArray[np.float32]) -> Talker:
        """Cut out the pieces."""
        length = round(_PIECE_S * RATE)
        samples = SAMPLE_RATE // RATE
        power = np.square(sound[: len(film) * samples].reshape(-1, samples)).mean(axis=1)
        speaks = np.convolve(power, np.ones(5) / 5, "same") > _SPEAKS * power.mean()
        runs = [
            list(run)
            for loud, run in itertools.groupby(range(len(speaks)), speaks.__getitem__)
            if not loud
        ]
        rest = [film[place] for place in max(runs, key=len)]
        pieces, first = [], 0
        while first + length <= len(speaks):
            if speaks[first : first + length].mean() < _MOSTLY:
                first += 1
                continue
            shown = film[first : first + length]
            said = sound[first * samples : (first + length) * samples]
            pieces.append((shown, levelled(said)))
            first += length
        return cls(film, rest + rest[::-1], pieces)


@dataclass(frozen=True)
class Laughs:
    """A third in the picture, who only laughs.

    Attributes:
        of: whose face it is; the lips rest but in a laugh, where they move as if that one spoke.
        sound: the laugh.
    """

    of: Talker
    sound: npt.NDArray[np.float32]


def levelled(sound: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The sound, as loud as any other."""
    return sound * np.float32(_LEVEL / np.sqrt(np.square(sound).mean()))


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


def film(
    path: Path, left: Talker, right: Talker, seed: int, count: int = 20, third: Laughs | None = None
) -> list[bool]:
    """Film them side by side, who speak so often in turn; whether each turn is the left one's."""
    rng = np.random.default_rng(seed)
    turns = [bool(turn) for turn in rng.permutation([True, False] * (count // 2))]
    pause_s = _pause_s(third)
    rows: list[tuple[npt.NDArray[np.uint8], ...]] = []
    sounds = []
    for number, of_left in enumerate(turns):
        (shown_left, said_left), (shown_right, said_right) = (
            who.pieces[rng.integers(len(who.pieces))] for who in (left, right)
        )
        shown = [
            [*squares, *[squares[-1]] * round(pause_s * RATE)]
            for squares in (shown_left, shown_right)
        ]
        pause = np.zeros(round(pause_s * SAMPLE_RATE), np.float32)
        if third:
            still = [third.of.rest[n % len(third.of.rest)] for n in range(len(shown[0]))]
            if number % 2:
                laugh = levelled(third.sound[: round(_LAUGH_S * SAMPLE_RATE)])
                begin = round(_PAUSE_S * SAMPLE_RATE) // 2
                pause[begin : begin + len(laugh)] = laugh
                begins = len(shown_left) + begin * RATE // SAMPLE_RATE
                first = rng.integers(len(third.of.film))
                for n in range(len(laugh) * RATE // SAMPLE_RATE):
                    still[begins + n] = third.of.film[(first + n) % len(third.of.film)]
            shown.append(still)
        rows += (
            tuple(map(partial(_seated, seat=_seat(third)), row)) for row in zip(*shown, strict=True)
        )
        sounds += [said_left if of_left else said_right, pause]
    side_by_side(path, rows, np.concatenate(sounds).astype(np.float32))
    return turns


def _pause_s(third: Laughs | None) -> float:
    return _PAUSE_S + _LAUGH_S * (third is not None)


def _seat(third: Laughs | None) -> int:
    return SEAT if third else SIDE


def _seated(square: npt.NDArray[np.uint8], seat: int) -> npt.NDArray[np.uint8]:
    """The middle of a square, so many pixels wide."""
    left = (SIDE - seat) // 2
    return square[:, left : left + seat]


def side_by_side(
    path: Path,
    rows: Iterable[tuple[npt.NDArray[np.uint8], ...]],
    sound: npt.NDArray[np.float32],
) -> None:
    """Write a film of rows of grey pictures, uint8 (320, width) each, over sound at 16 kHz."""
    first, *rest = rows
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=RATE)
        video.width, video.height, video.pix_fmt = np.hstack(first).shape[1], SIDE, "yuv420p"
        video.bit_rate = 4_000_000
        audio = container.add_stream("aac", rate=SAMPLE_RATE, layout="mono")
        for row in (first, *rest):
            picture = np.repeat(np.hstack(row)[:, :, None], 3, 2)
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture)))
        container.mux(video.encode())
        block = av.AudioFrame.from_ndarray(sound[None], "fltp", "mono")
        block.sample_rate, block.time_base, block.pts = SAMPLE_RATE, Fraction(1, SAMPLE_RATE), 0
        container.mux(audio.encode(block))
        container.mux(audio.encode())


async def judged(
    analyzer: LocalAnalyzer, clip: Path, turns: list[bool], third: Laughs | None = None
) -> str:
    """A letter an utterance of the two: ``o`` for the right face, ``x`` another, ``-`` none."""
    letters = []
    session = LiveSession(await open_source(str(clip), "fast"), analyzer)
    async for event in session.events():
        if isinstance(event, UtteranceResult):
            turn, time = divmod((event.start + event.end) / 2, _PIECE_S + _pause_s(third))
            if time > _PIECE_S:
                continue  # a laugh
            seats = [int((face.box[0] + face.box[2] / 2) // _seat(third)) for face in event.faces]
            right = 0 if turns[int(turn)] else 1
            letters.append("-" if not seats else "o" if seats[0] == right else "x")
    return "".join(letters)


def laughter(folder: Path) -> list[npt.NDArray[np.float32]]:
    """Some people's bursts of voice labelled Amusement, one each, of EmoGator's files."""
    return [read_clip(file) for file in sorted(folder.glob("*-02-*.opus"))[:50]]


async def main(media: Path, laughs: Path | None) -> None:
    """Print the letters of every pair, and how many of the first and of all are right."""
    talkers = {name: await talker(media / name, seconds) for name, seconds in TALKERS.items()}
    sounds = laughter(laughs) if laughs else []
    analyzer = LocalAnalyzer.load()
    told = []
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "pair.mp4"
        for seed, (left, right) in enumerate(itertools.permutations(talkers, 2)):
            other = next(name for name in talkers if name not in (left, right))
            third = Laughs(talkers[other], sounds[seed]) if sounds else None
            turns = film(clip, talkers[left], talkers[right], seed, third=third)
            told.append(await judged(analyzer, clip, turns, third))
            sys.stdout.write(f"{left:26}{right:26}{told[-1]}\n")
    analyzer.close()
    for name, part in (("first utterances", slice(0, 1)), ("all", slice(None))):
        letters = "".join(one[part] for one in told)
        sys.stdout.write(f"{name}: {letters.count('o')} of {len(letters)} right\n")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]) if sys.argv[2:] else None))
