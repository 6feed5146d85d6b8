"""When words are taken to have been said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_recognisers import tone

from models.stt.word_times import word_times

Audio = npt.NDArray[np.float32]


def test_words_take_the_loud_parts_by_their_length() -> None:
    pause = np.zeros(8000, np.float32)
    sound = np.concatenate([pause, tone(300, 1.0), pause, tone(300, 1.0), pause])
    one, other = word_times("four five", sound)
    assert (one.start, one.end) == pytest.approx((0.5, 1.5), abs=0.021)
    assert (other.start, other.end) == pytest.approx((2.0, 3.0), abs=0.021)
    short, long = word_times("a thousand", tone(300, 1.1))
    assert short.end == long.start == pytest.approx(0.2, abs=0.021)


@given(st.lists(st.text("abc", min_size=1), max_size=30), st.integers(0, 40_000), st.integers(0))
def test_times_are_in_order_and_within_the_utterance(
    words: list[str], length: int, seed: int
) -> None:
    samples = np.random.default_rng(seed).normal(0, 0.1, length).astype(np.float32)
    found = word_times(" ".join(words), samples)
    assert [word.text for word in found] == (words if length else [])
    times = [time for word in found for time in (word.start, word.end)]
    assert times == sorted(times)
    assert all(0 <= time <= length / 16_000 for time in times)


def test_words_are_where_the_corpus_says(
    shared: Path, decode: Callable[[Path], Audio], talker_truth: list[dict[str, Any]]
) -> None:
    sound = decode(shared / "media/talker_grid_120s.mp4")
    errors = []
    for utterance in talker_truth:
        began = utterance["start"] - 0.1
        said = sound[int(began * 16_000) : int((utterance["end"] + 0.1) * 16_000)]
        words = word_times(utterance["text"], said)
        for word, (start, end, text) in zip(words, utterance["words"], strict=True):
            assert word.text == text
            errors += [abs(began + word.start - start), abs(began + word.end - end)]
    assert np.median(errors) < 0.1
    assert np.percentile(errors, 90) < 0.2
