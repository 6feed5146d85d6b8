"""The threads that work for all sessions in turn."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError

import pytest

from realtime.inference import Inference, Rank


@pytest.fixture
def inference() -> Iterator[Inference]:
    inference = Inference()
    yield inference
    inference.close()


class Busy:
    """Keeps the thread busy until it is left, so that calls wait."""

    def __init__(self, inference: Inference) -> None:
        self._let_go = threading.Event()
        self._begun = threading.Event()
        self._lane = inference.lane()

    def __enter__(self) -> None:
        def wait() -> None:
            self._begun.set()
            assert self._let_go.wait(10)

        self._lane.submit(Rank.RESULT, wait)
        assert self._begun.wait(10)

    def __exit__(self, *_: object) -> None:
        self._let_go.set()


def test_a_call_gives_its_result_or_its_error(inference: Inference) -> None:
    lane = inference.lane()
    assert lane.submit(Rank.RESULT, lambda: 42).result(10) == 42
    with pytest.raises(ZeroDivisionError):
        lane.submit(Rank.RESULT, lambda: 1 / 0).result(10)
    assert lane.submit(Rank.RESULT, lambda: 43).result(10) == 43  # it goes on


def test_sounds_wait_for_all_else_and_keep_nobody_from_asking(inference: Inference) -> None:
    order: list[str] = []
    with Busy(inference):
        sound = inference.lane().submit(Rank.SOUND, lambda: order.append("sound"))
        assert inference.waiting == 0
        score = inference.lane().submit(Rank.PROVISIONAL, lambda: order.append("score"))
        assert inference.waiting == 1
    score.result(10)
    sound.result(10)
    assert order == ["score", "sound"]


def test_lanes_take_turns_and_each_keeps_its_order(inference: Inference) -> None:
    order: list[str] = []
    with Busy(inference):
        first, second = inference.lane(), inference.lane()
        futures = [
            lane.submit(Rank.FACES, lambda name=name: order.append(name))
            for lane, name in [(first, "a1"), (first, "a2"), (first, "a3"), (second, "b1")]
        ]
    for future in futures:
        future.result(10)
    assert order == ["a1", "b1", "a2", "a3"]


def test_the_most_urgent_goes_first_with_all_that_stands_before_it(inference: Inference) -> None:
    order: list[str] = []
    with Busy(inference):
        lanes = [inference.lane() for _ in range(3)]
        futures = [
            lanes[place].submit(rank, lambda name=name: order.append(name))
            for place, rank, name in [
                (0, Rank.PROVISIONAL, "provisional"),
                (1, Rank.FACES, "other faces"),
                (2, Rank.FACES, "faces"),
                (2, Rank.RESULT, "result"),
            ]
        ]
    for future in futures:
        future.result(10)
    assert order == ["faces", "result", "other faces", "provisional"]


def test_two_threads_work_for_two_lanes_at_once_and_never_for_one() -> None:
    inference = Inference(threads=2)
    meet = threading.Barrier(2)
    running, most = 0, 0

    def alone() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        time.sleep(0.05)
        running -= 1

    one, other = inference.lane(), inference.lane()
    both = [lane.submit(Rank.FACES, lambda: meet.wait(10)) for lane in (one, other)]
    for future in both:
        future.result(10)
    for future in [one.submit(Rank.FACES, alone) for _ in range(4)]:
        future.result(10)
    assert most == 1
    inference.close()


def test_it_says_how_many_results_wait_for_each_thread() -> None:
    inference = Inference(threads=2)
    with Busy(inference), Busy(inference):
        assert inference.behind == 0
        lanes = [inference.lane() for _ in range(5)]
        waiting = [lane.submit(Rank.RESULT, lambda: None) for lane in lanes]
        waiting.append(lanes[0].submit(Rank.RESULT, lambda: None))  # of the same utterance
        waiting.append(inference.lane().submit(Rank.FACES, lambda: None))
        assert inference.behind == 2
    for future in waiting:
        future.result(10)
    assert inference.behind == 0
    inference.close()


def test_what_is_cancelled_while_it_waits_is_never_begun(inference: Inference) -> None:
    order: list[str] = []
    lane = inference.lane()
    with Busy(inference):
        dropped = lane.submit(Rank.RESULT, lambda: order.append("dropped"))
        kept = lane.submit(Rank.RESULT, lambda: order.append("kept"))
        assert dropped.cancel()
    kept.result(10)
    assert order == ["kept"]


def test_after_the_end_nothing_is_begun() -> None:
    inference = Inference()
    lane = inference.lane()
    with Busy(inference):
        waiting = lane.submit(Rank.RESULT, lambda: None)
        closing = threading.Thread(target=inference.close)
        closing.start()
        with pytest.raises(CancelledError):
            waiting.result(10)
        with pytest.raises(CancelledError):
            lane.submit(Rank.RESULT, lambda: None).result(10)
        assert closing.is_alive()  # it waits for the call that runs
    closing.join(10)
    assert not closing.is_alive()


def test_closing_waits_for_the_call_that_runs_and_its_result_comes() -> None:
    inference = Inference()
    begun, let_go = threading.Event(), threading.Event()

    def work() -> int:
        begun.set()
        let_go.wait(10)
        return 42

    running = inference.lane().submit(Rank.RESULT, work)
    assert begun.wait(10)
    threading.Timer(0.2, let_go.set).start()
    inference.close()
    assert running.done()
    assert running.result() == 42
    inference.close()  # once more does no harm


def test_closing_gives_up_a_call_that_is_stuck() -> None:
    inference = Inference(stuck_s=1)
    begun, let_go = threading.Event(), threading.Event()
    stuck = inference.lane().submit(Rank.RESULT, lambda: (begun.set(), let_go.wait(60)))
    assert begun.wait(10)
    inference.close()
    with pytest.raises(TimeoutError):
        stuck.result(0)
    let_go.set()


def test_a_call_may_close_the_thread_it_runs_in() -> None:
    inference = Inference()
    assert inference.lane().submit(Rank.RESULT, inference.close).result(10) is None


@pytest.mark.slow
def test_a_call_that_is_stuck_fails_and_another_thread_goes_on_with_the_rest() -> None:
    inference = Inference(stuck_s=3)
    begun, let_go = threading.Event(), threading.Event()
    order: list[str] = []
    threads: list[threading.Thread] = []

    def never_ending() -> None:
        threads.append(threading.current_thread())
        begun.set()
        let_go.wait(60)

    lane, other = inference.lane(), inference.lane()
    stuck = lane.submit(Rank.RESULT, never_ending)
    assert begun.wait(10)
    rest = [
        lane.submit(Rank.FACES, lambda: order.append("a1")),
        lane.submit(Rank.FACES, lambda: order.append("a2")),
        other.submit(Rank.RESULT, lambda: order.append("b")),
    ]
    assert inference.waiting == 3
    assert not inference.stuck
    told = False
    while not stuck.done():
        told |= inference.stuck
        time.sleep(0.01)
    assert told
    with pytest.raises(TimeoutError, match="no answer for 3 s"):
        stuck.result()
    for future in rest:
        future.result(10)
    assert order == ["b", "a1", "a2"]
    assert (inference.stuck, inference.waiting) == (False, 0)

    let_go.set()  # it comes back after all, and ends
    threads[0].join(10)
    assert not threads[0].is_alive()
    assert lane.submit(Rank.RESULT, threading.current_thread).result(10) is not threads[0]
    inference.close()
