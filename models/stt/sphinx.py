"""The embedded engine: pocketsphinx, with the US English model inside its package.

In: samples of an utterance. Out: text so far, then words with times. The decoder holds Python's
interpreter lock while it decodes, so it lives in processes of its own, one utterance each.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from models.errors import AnalysisError
from models.stt import Transcriber, Transcript, TranscriptionStream, Word
from models.worker import STUCK_S

T = TypeVar("T")

logger = logging.getLogger(__name__)

# --- in the decoder's process ---------------------------------------------------------------------

_FRAMES_PER_SECOND = 100


class _Decoder:
    """A pocketsphinx decoder that hears every utterance as if it were its first."""

    def __init__(self) -> None:
        from pocketsphinx import Decoder

        # No second pass (fwdflat), fewer hypotheses a frame, fewer words that may end in one: an
        # utterance takes 0.09 instead of 0.15 of its duration, and its end 0.01 s instead of 0.1 to
        # 0.6. On LibriSpeech 60.2 % of the words are wrong instead of 58.9 %, on GRID 86.7 %
        # instead of 89.2 %. Narrower still, clear sentences suffer.
        self._decoder = Decoder(
            samprate=16_000, loglevel="FATAL", fwdflat=False, maxhmmpf=5000, wbeam=1e-16
        )
        # The decoder adapts its cepstral mean and its estimate of the noise to what it has heard;
        # starting each utterance from the same makes the transcript depend on that alone.
        self._first_mean = self._decoder.get_cmn(False)
        self._open = False

    def begin(self) -> None:
        if self._open:
            self._decoder.end_utt()
        self._decoder.start_stream()  # forgets the noise
        self._decoder.set_cmn(self._first_mean)
        self._decoder.start_utt()
        self._open = True

    def accept(self, samples: npt.NDArray[np.float32]) -> str:
        if len(samples):  # nothing is more than pocketsphinx can take
            pcm = np.clip(np.rint(samples * 32768), -32768, 32767).astype("<i2")
            self._decoder.process_raw(pcm.tobytes())
        return self._text()

    def finish(self) -> tuple[str, list[tuple[str, float, float]]]:
        self._decoder.end_utt()
        self._open = False
        words = [
            (
                segment.word.split("(")[0],  # "read(2)" is the second way to pronounce "read"
                segment.start_frame / _FRAMES_PER_SECOND,
                (segment.end_frame + 1) / _FRAMES_PER_SECOND,
            )
            for segment in self._decoder.seg() or []
            if segment.word[0] not in "<[+"  # silence and noises
        ]
        return self._text(), words

    def _text(self) -> str:
        hypothesis = self._decoder.hyp()
        return hypothesis.hypstr if hypothesis else ""


_decoder: _Decoder


def _start_process() -> None:
    """Load the decoder; leave Ctrl-C to the parent, and never outlive it."""
    import multiprocessing
    import multiprocessing.connection
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow_parent() -> None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(0)

    threading.Thread(target=follow_parent, daemon=True).start()
    global _decoder
    _decoder = _Decoder()


def _begin() -> None:
    _decoder.begin()


def _accept(samples: npt.NDArray[np.float32]) -> str:
    return _decoder.accept(samples)


def _finish() -> tuple[str, list[tuple[str, float, float]]]:
    return _decoder.finish()


# --- in the program's process ---------------------------------------------------------------------


class SphinxTranscriber(Transcriber):
    """A pool of decoder processes, started as they are needed.

    An utterance keeps its process from its first sample to its transcript. When all are taken,
    the next utterance waits with its samples until one is free.

    Args:
        processes: how many decoders at most (about 91 MiB each); None: six a core, because the
            speech of one person takes less than a tenth of one.
        stuck_s: seconds after which a process that gives no answer is ended. Its utterance fails,
            as if the process had died.
    """

    name = "sphinx"

    def __init__(self, processes: int | None = None, stuck_s: float = STUCK_S) -> None:
        self._stuck_s = stuck_s
        self._most = processes or 6 * (os.cpu_count() or 1)
        self._lock = threading.Lock()
        self._idle: list[_Process] = []
        self._busy: set[_Process] = set()
        self._waiting: deque[_SphinxStream] = deque()
        self._closed = threading.Event()
        # Loading takes a second: begin now, so that the first utterance does not wait for it.
        self._idle.append(_Process())
        threading.Thread(target=self._watch, name="recognisers", daemon=True).start()

    def stream(self) -> TranscriptionStream:
        """A stream for one utterance; see `Transcriber.stream`."""
        stream = _SphinxStream(self)
        with self._lock:
            closed = self._closed.is_set()
            process = None if closed else self._take_process()
            if not closed and process is None:
                self._waiting.append(stream)
        if closed:
            stream.fail("the speech recogniser was closed")
        elif process is not None:
            stream.run_on(process)
        return stream

    def expect(self, speakers: int) -> None:
        """Begin to load as many decoders as there are speakers; each takes a second of a core."""
        with self._lock:
            missing = min(speakers, self._most) - len(self._idle) - len(self._busy)
            if not self._closed.is_set():
                self._idle += [_Process() for _ in range(missing)]

    def close(self) -> None:
        """End all decoder processes."""
        with self._lock:
            self._closed.set()
            processes = [*self._idle, *self._busy]
            waiting, self._waiting = list(self._waiting), deque()
            self._idle.clear()
        for process in processes:
            process.kill()
        for stream in waiting:
            stream.fail("the speech recogniser was closed")

    def release(self, process: _Process, *, broken: bool) -> None:
        """A stream is done with its process: the next waiting stream gets it."""
        with self._lock:
            self._busy.discard(process)
            if self._closed.is_set():
                return
            if not broken:
                self._idle.append(process)
            stream = self._waiting.popleft() if self._waiting else None
            next_process = self._take_process() if stream else None
        if broken:
            process.shutdown(wait=False)
        if stream and next_process:
            stream.run_on(next_process)

    def forget(self, stream: _SphinxStream) -> None:
        """A stream was cancelled while it waited."""
        with self._lock:
            if stream in self._waiting:
                self._waiting.remove(stream)

    def _take_process(self) -> _Process | None:
        while self._idle:
            process = self._idle.pop()
            try:
                process.ask(int)
            except RuntimeError:  # it ended while it had nothing to do
                process.shutdown(wait=False)
                continue
            self._busy.add(process)
            return process
        if len(self._busy) >= self._most:
            return None
        process = _Process()
        self._busy.add(process)
        return process

    def _watch(self) -> None:
        """End each process that is stuck; whoever waits for its answer is told."""
        while not self._closed.wait(self._stuck_s / 4):
            with self._lock:
                processes = [*self._idle, *self._busy]
            for process in processes:
                if process.silent_s > self._stuck_s:
                    process.end = f"the speech recogniser gave no answer for {self._stuck_s:g} s"
                    logger.warning("%s: its process is killed", process.end)
                    process.kill()


class _Process(ProcessPoolExecutor):
    """One process with one decoder, which it begins to load at once.

    Attributes:
        end: how it came to its end, if it has.
    """

    def __init__(self) -> None:
        import multiprocessing

        # spawn: a fork would copy the locks and threads of torch and PortAudio in any state.
        super().__init__(
            max_workers=1,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_start_process,
        )
        self.end = "the speech recogniser's process ended"
        self._count = threading.Lock()
        self._owed = 0  # answers
        self._since = 0.0  # when it gave the last one, or was first asked
        self.ask(int)

    @property
    def silent_s(self) -> float:
        """For how many seconds an answer has been due; 0 if none is."""
        with self._count:
            return time.monotonic() - self._since if self._owed else 0.0

    def ask(self, function: Callable[..., T], *arguments: Any) -> Future[T]:
        """Have it call a function; raises BrokenProcessPool if it is known to have ended."""
        answer = self.submit(function, *arguments)
        with self._count:
            self._owed += 1
            if self._owed == 1:
                self._since = time.monotonic()
        answer.add_done_callback(self._answered)
        return answer

    def _answered(self, _: Future[Any]) -> None:
        with self._count:
            self._owed -= 1
            self._since = time.monotonic()

    def kill(self) -> None:
        """End it at once, even if it was halted; what it was asked fails."""
        workers = list((self._processes or {}).values())  # `kill_workers` does so from 3.14 on
        self.shutdown(wait=False, cancel_futures=True)
        for worker in workers:
            worker.kill()


class _SphinxStream(TranscriptionStream):
    """One utterance; calls queue here until it has a process, and in the process afterwards."""

    def __init__(self, pool: SphinxTranscriber) -> None:
        self._pool = pool
        self._lock = threading.Lock()
        self._process: _Process | None = None
        self._backlog: list[tuple[Future[Any], Callable[..., Any], tuple[Any, ...]]] = []
        self._failure: AnalysisError | None = None
        self._ended = False

    def accept(self, samples: npt.NDArray[np.float32]) -> Future[str]:
        return self._call(_accept, samples)

    def finish(self) -> Future[Transcript]:
        transcript: Future[Transcript] = Future()
        transcript.set_running_or_notify_cancel()

        def deliver(decoded: Future[tuple[str, list[tuple[str, float, float]]]]) -> None:
            self._end(broken=isinstance(decoded.exception(), AnalysisError))
            if error := decoded.exception():
                transcript.set_exception(error)
            else:
                text, words = decoded.result()
                transcript.set_result(Transcript(text, tuple(Word(*w) for w in words), "sphinx"))

        self._call(_finish).add_done_callback(deliver)
        return transcript

    def cancel(self) -> None:
        self._pool.forget(self)
        self._end(broken=False)

    def run_on(self, process: _Process) -> None:
        """A process is free: begin, and catch up with what was asked while waiting."""
        with self._lock:
            self._process = process
            backlog, self._backlog = self._backlog, []
            self._submit(Future(), _begin, ())
            for future, function, arguments in backlog:
                self._submit(future, function, arguments)

    def fail(self, message: str) -> None:
        """No process will ever come."""
        with self._lock:
            self._failure = AnalysisError("stt", message)
            backlog, self._backlog = self._backlog, []
        for future, _, _ in backlog:
            future.set_exception(self._failure)

    def _call(self, function: Callable[..., T], *arguments: Any) -> Future[T]:
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()  # nobody can cancel it any more
        with self._lock:
            if self._failure is not None:
                future.set_exception(self._failure)
            elif self._process is None:
                self._backlog.append((future, function, arguments))
            else:
                self._submit(future, function, arguments)
        return future

    def _submit(
        self, future: Future[T], function: Callable[..., T], arguments: tuple[Any, ...]
    ) -> None:
        process = self._process
        assert process is not None

        def deliver(done: Future[T]) -> None:
            error = None if done.cancelled() else done.exception()
            if done.cancelled() or isinstance(error, BrokenProcessPool):
                error = AnalysisError("stt", process.end)
            if error:
                future.set_exception(error)
            else:
                future.set_result(done.result())

        try:
            process.ask(function, *arguments).add_done_callback(deliver)
        except RuntimeError:  # the process broke earlier, or the pool was closed
            future.set_exception(AnalysisError("stt", process.end))

    def _end(self, *, broken: bool) -> None:
        """Give the process back, once."""
        with self._lock:
            if self._ended:
                return
            self._ended = True
            process = self._process
        if process is not None:
            self._pool.release(process, broken=broken)
