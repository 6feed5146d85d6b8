"""Where the profile says that time goes, of work whose time is known."""

from __future__ import annotations

import hashlib
import sys
import threading
import time
from collections.abc import Callable

import pytest
from checkout import REPO

from realtime.bench.profile import profiled

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells it")

_SPIN = """
def spin(seconds):
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        sha256(data)  # lets others have the interpreter meanwhile, as networks do
"""


@pytest.fixture
def spin() -> Callable[[float], None]:
    """What takes so many CPU seconds, as if it stood in the file of the VAD."""
    names = {"time": time, "sha256": hashlib.sha256, "data": bytes(200_000)}
    exec(compile(_SPIN, str(REPO / "models/vad.py"), "exec"), names)
    made: Callable[[float], None] = names["spin"]  # type: ignore[assignment]
    return made


def test_time_goes_to_the_thread_and_the_stage_that_took_it(spin: Callable[[float], None]) -> None:
    with profiled() as profile:
        asleep = threading.Thread(target=time.sleep, args=[0.1], name="asleep")
        listening = threading.Thread(target=spin, args=[0.5], name="listening")
        asleep.start()
        listening.start()
        listening.join()
    assert profile is not None
    assert profile.threads["listening"] == pytest.approx(0.5, abs=0.1)
    assert profile.stages["VAD"].cpu == pytest.approx(0.5, abs=0.1)
    assert profile.threads.get("asleep", 0.0) < 0.1
    assert profile.seconds > 0.4


def test_work_in_short_pieces_is_not_lost(spin: Callable[[float], None]) -> None:
    over = threading.Event()

    def listen() -> None:
        for _ in range(100):
            spin(0.003)
            over.wait(0.003)

    with profiled() as profile:
        thread = threading.Thread(target=listen, name="listening")
        thread.start()
        thread.join()
    assert profile is not None
    assert profile.stages["VAD"].cpu == pytest.approx(0.3, abs=0.1)
