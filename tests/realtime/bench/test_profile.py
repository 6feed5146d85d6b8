"""Where the profile says that time goes, of work whose time is known."""

from __future__ import annotations

import sys
import threading
import time

import numpy as np
import pytest

from models.vad import WINDOW, load_vad
from realtime.bench.profile import profiled

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells it")


def test_time_goes_to_the_thread_and_the_stage_that_took_it() -> None:
    stream = load_vad().stream()
    taken: list[float] = []

    def listen() -> None:
        while time.thread_time() < 0.5:
            stream.probability(np.zeros(WINDOW, np.float32))
        taken.append(time.thread_time())

    with profiled() as profile:
        waiting = threading.Thread(target=time.sleep, args=[0.1], name="asleep")
        listening = threading.Thread(target=listen, name="listening")
        waiting.start()
        listening.start()
        listening.join()
    assert profile is not None
    assert profile.threads["listening"] == pytest.approx(taken[0], rel=0.1)
    assert profile.stages["VAD"].cpu > 0.8 * taken[0]
    assert profile.threads["asleep"] < 0.1
    assert profile.seconds > 0.5


def test_a_thread_that_works_in_short_pieces_is_not_lost() -> None:
    stream = load_vad().stream()
    taken: list[float] = []

    def listen() -> None:
        for _ in range(300):
            stream.probability(np.zeros(WINDOW, np.float32))
            over.wait(0.003)
        taken.append(time.thread_time())

    over = threading.Event()
    with profiled() as profile:
        thread = threading.Thread(target=listen, name="listening")
        thread.start()
        thread.join()
    assert profile is not None
    assert profile.stages["VAD"].cpu > 0.5 * taken[0]
