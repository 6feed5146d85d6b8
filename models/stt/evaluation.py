"""How many words a recogniser gets wrong, and how long it takes.

In: an engine, and a folder of clips with what is said in them. Out: a `WordReport`.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import av
import jiwer
from transformers.models.whisper.english_normalizer import EnglishTextNormalizer

from models.clips import read_clip
from models.errors import UsageError
from models.stt.transcriber import Transcriber

_SAMPLE_RATE = 16_000


@dataclass(frozen=True, slots=True)
class ClipWords:
    """One clip: what was said and heard, and how the two differ.

    Attributes:
        clip: path of the clip below the folder.
        said, heard: as compared: see `compared`.
        words: how many were said.
        substitutions, deletions, insertions: the fewest that turn what was said into what was
            heard.
        clip_s: length of the clip.
        took_s: wall seconds of the recogniser.
    """

    clip: str
    said: str
    heard: str
    words: int
    substitutions: int
    deletions: int
    insertions: int
    clip_s: float
    took_s: float


@dataclass(frozen=True, slots=True)
class WordReport:
    """What one engine made of a folder of clips."""

    engine: str
    clips: tuple[ClipWords, ...]

    @property
    def error_rate(self) -> float:
        """Substitutions, deletions and insertions over all words said."""
        return _errors(self.clips) / sum(one.words for one in self.clips)

    @property
    def real_time_factor(self) -> float:
        """Seconds of work for one second of sound, one clip at a time."""
        return sum(one.took_s for one in self.clips) / sum(one.clip_s for one in self.clips)

    def __str__(self) -> str:
        width = max(len(one.clip) for one in self.clips)
        lines = [f"{'':{width}}  words  subst  delet  insert  word error rate"]
        lines += [_line(one.clip, width, (one,)) for one in self.clips]
        lines.append(_line("total", width, self.clips))
        lines.append(f"{self.engine}, {self.real_time_factor:.2f} s of work for 1 s of sound")
        return "\n".join(lines)

    def to_json(self) -> str:
        """The figures, the clips' among them, as one JSON object."""
        figures = {
            "engine": self.engine,
            "word_error_rate": self.error_rate,
            "real_time_factor": self.real_time_factor,
            "clips": [asdict(one) for one in self.clips],
        }
        return json.dumps(figures, indent=2)


def evaluate(
    transcriber: Transcriber, folder: Path, on_progress: Callable[[int, int], None]
) -> WordReport:
    """Have an engine hear all clips of a folder, one after the other.

    What is said stands in ``transcripts.tsv`` files in the folder or below it, a line a clip beside
    it: its name, with or without the ending, a tab, the words; or in a text file beside the clip
    that is named as it is but for the ending ``.txt``. Clips without a transcript are left out.

    Args:
        on_progress: called with the number of clips heard so far and that of all.

    Raises:
        UsageError: there are no clips with transcripts, or one cannot be read.
        AnalysisError: the engine failed.
    """
    said = dict(sorted(_transcripts(folder)))
    if not said:
        raise UsageError(
            f"no transcripts in {folder}: they are expected in transcripts.tsv (clip, tab, words) "
            "or in CLIP.txt beside each clip"
        )
    _hear(transcriber, folder, *next(iter(said.items())))  # the first time is slower: it loads
    heard = []
    for clip, words in said.items():
        heard.append(_hear(transcriber, folder, clip, words))
        on_progress(len(heard), len(said))
    return WordReport(transcriber.name, tuple(heard))


def compared(text: str) -> str:
    """A text as it is compared: as Whisper's authors do, so that only other words are errors.

    Case and punctuation go, numbers are written in digits apart from letters, contractions are
    written out, "um" and "uh" are left out. Without their list of British and American spellings.
    """
    plain = re.sub(r"\.{2,}", " ", text.replace("\u2019", "'"))  # which it does not know
    words: str = _NORMALIZER(plain)
    return words


_NORMALIZER = EnglishTextNormalizer({})  # type: ignore[no-untyped-call]


def _hear(transcriber: Transcriber, folder: Path, clip: Path, text: str) -> ClipWords:
    try:
        samples = read_clip(clip)
    except (av.error.FFmpegError, IndexError) as error:
        raise UsageError(f"{clip} has no sound that can be read ({error})") from error
    began = time.perf_counter()
    transcript = transcriber.transcribe(samples).result()
    took = time.perf_counter() - began
    said, heard = compared(text), compared(transcript.text)
    if not said:
        raise UsageError(f"the transcript of {clip} has no words: leave the clip out")
    found = jiwer.process_words(said, heard)
    return ClipWords(
        clip=str(clip.relative_to(folder)),
        said=said,
        heard=heard,
        words=len(said.split()),
        substitutions=found.substitutions,
        deletions=found.deletions,
        insertions=found.insertions,
        clip_s=len(samples) / _SAMPLE_RATE,
        took_s=took,
    )


def _transcripts(folder: Path) -> Iterator[tuple[Path, str]]:
    """Each clip that has a transcript, and the transcript."""
    for table in folder.rglob("transcripts.tsv"):
        for number, line in enumerate(table.read_text(encoding="utf-8").splitlines(), 1):
            name, tab, text = line.partition("\t")
            clip = _clip_named(table.parent, name)
            if not tab or clip is None:
                raise UsageError(f"{table}, line {number}: no tab, or no clip named '{name}' there")
            yield clip, text
    for transcript in folder.rglob("*.txt"):
        clip = _clip_named(transcript.parent, transcript.stem)
        if clip is not None:
            yield clip, transcript.read_text(encoding="utf-8")


def _clip_named(folder: Path, name: str) -> Path | None:
    """The file of this name, with any ending but those of texts."""
    exact = folder / name
    if exact.is_file():
        return exact
    clips = (p for p in folder.iterdir() if p.stem == name and p.suffix not in _TEXTS)
    return next(clips, None)


_TEXTS = (".txt", ".tsv", ".json")


def _errors(clips: tuple[ClipWords, ...]) -> int:
    return sum(one.substitutions + one.deletions + one.insertions for one in clips)


def _line(name: str, width: int, clips: tuple[ClipWords, ...]) -> str:
    words, substitutions, deletions, insertions = (
        sum(getattr(one, what) for one in clips)
        for what in ("words", "substitutions", "deletions", "insertions")
    )
    return (
        f"{name:{width}}  {words:5}  {substitutions:5}  {deletions:5}  {insertions:6}"
        f"  {_errors(clips) / words:15.1%}"
    )
