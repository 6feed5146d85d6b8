"""The embedded recogniser on real speech, in its real processes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import psutil
import pytest
from processes import decoders

from models.errors import AnalysisError
from models.stt import Transcript
from models.stt.sphinx import SphinxTranscriber

Audio = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def sphinx() -> Iterator[SphinxTranscriber]:
    transcriber = SphinxTranscriber(processes=2)
    yield transcriber
    transcriber.close()


def transcribe(sphinx: SphinxTranscriber, audio: Audio, piece: int) -> Transcript:
    stream = sphinx.stream()
    for i in range(0, len(audio), piece):
        stream.accept(audio[i : i + piece])
    return stream.finish().result(60)


@pytest.fixture(scope="module")
def sentence(shared: Path, decode: Callable[[Path], Audio]) -> Audio:
    return decode(shared / "media/speech/LJ001-0008.wav")


def test_words_of_a_clear_sentence(sphinx: SphinxTranscriber, sentence: Audio) -> None:
    transcript = transcribe(sphinx, sentence, 3200)
    assert transcript.text == "as never been surpassed"  # said: "has never been surpassed."
    assert [w.text for w in transcript.words] == transcript.text.split()
    times = [t for w in transcript.words for t in (w.start, w.end)]
    assert times == sorted(times)
    assert times[-1] <= len(sentence) / 16_000 + 0.02
    assert transcript.engine == "sphinx"


def test_transcript_depends_on_the_utterance_alone(
    sphinx: SphinxTranscriber, sentence: Audio, shared: Path, decode: Callable[[Path], Audio]
) -> None:
    alone = transcribe(sphinx, sentence, 3200)
    transcribe(sphinx, 0.02 * decode(shared / "media/speech/LJ001-0002.wav"), 3200)
    assert transcribe(sphinx, sentence, 3200) == alone
    assert transcribe(sphinx, sentence, 701) == alone
    assert transcribe(sphinx, sentence, len(sentence)) == alone


def test_partial_text_comes_while_speech_goes_on(
    sphinx: SphinxTranscriber, sentence: Audio
) -> None:
    stream = sphinx.stream()
    partials = [
        stream.accept(sentence[i : i + 3200]).result(30) for i in range(0, len(sentence), 3200)
    ]
    stream.cancel()
    assert any(partials[: len(partials) // 2])


def test_an_empty_piece_changes_nothing(sphinx: SphinxTranscriber, sentence: Audio) -> None:
    stream = sphinx.stream()
    text = stream.accept(sentence).result(30)
    assert stream.accept(sentence[:0]).result(30) == text
    assert stream.finish().result(30).text


def test_more_streams_than_processes_all_finish(sphinx: SphinxTranscriber, sentence: Audio) -> None:
    alone = transcribe(sphinx, sentence, 3200)
    streams = [sphinx.stream() for _ in range(5)]
    for stream in streams:
        stream.accept(sentence)
    streams[3].cancel()
    futures = [stream.finish() for i, stream in enumerate(streams) if i != 3]
    assert [future.result(60) for future in futures] == [alone] * 4


@pytest.mark.parametrize("audio", [np.zeros(0), np.zeros(16_000), np.ones(400)])
def test_nothing_said_gives_no_words(sphinx: SphinxTranscriber, audio: Audio) -> None:
    transcript = transcribe(sphinx, audio.astype(np.float32), 3200)
    assert transcript.text == ""
    assert transcript.words == ()


def test_a_dead_process_fails_its_utterance_and_the_next_gets_another(sentence: Audio) -> None:
    before = decoders()
    transcriber = SphinxTranscriber(processes=1)
    try:
        stream = transcriber.stream()
        stream.accept(sentence[:3200]).result(30)
        (with_sphinx,) = decoders() - before
        with_sphinx.kill()
        with pytest.raises(AnalysisError, match="ended") as failure:
            stream.finish().result(30)
        assert failure.value.stage == "stt"
        assert "surpassed" in transcribe(transcriber, sentence, 3200).text
    finally:
        transcriber.close()


def test_closing_leaves_no_process_behind() -> None:
    before = decoders()
    transcriber = SphinxTranscriber(processes=1)
    while not (started := decoders() - before):
        time.sleep(0.01)
    waiting = [transcriber.stream(), transcriber.stream()][1].finish()
    transcriber.close()
    with pytest.raises(AnalysisError):
        waiting.result(10)
    assert gone(started)


halting = pytest.mark.skipif(os.name == "nt", reason="Windows halts no process")


@halting
def test_a_halted_process_is_ended_and_its_utterance_fails(sentence: Audio) -> None:
    before = decoders()
    transcriber = SphinxTranscriber(processes=1, stuck_s=10)
    try:
        stream = transcriber.stream()
        stream.accept(sentence[:3200]).result(60)
        (halted,) = decoders() - before
        halted.suspend()
        behind = transcriber.stream()  # there is no other process: it waits, and is not blamed
        behind.accept(sentence)
        with pytest.raises(AnalysisError, match="no answer for 10 s") as failure:
            stream.finish().result(60)
        assert failure.value.stage == "stt"
        assert "surpassed" in behind.finish().result(60).text
        assert gone({halted})
    finally:
        transcriber.close()


@halting
def test_closing_ends_halted_processes_too(sentence: Audio) -> None:
    before = decoders()
    transcriber = SphinxTranscriber(processes=2)
    streams = [transcriber.stream(), transcriber.stream()]
    for stream in streams:
        stream.accept(sentence[:3200]).result(60)
    streams[0].cancel()  # one has something to do, one has not
    halted = decoders() - before
    for process in halted:
        process.suspend()
    waiting = streams[1].finish()
    transcriber.close()
    with pytest.raises(AnalysisError):
        waiting.result(20)
    assert len(halted) == 2
    assert gone(halted)


def gone(processes: set[psutil.Process]) -> bool:
    """Whether they end, and leave no zombie behind."""
    deadline = time.monotonic() + 20
    while any(process.is_running() for process in processes) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not any(process.is_running() for process in processes)
