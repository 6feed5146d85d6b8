"""Fixtures every test file may use: talks that are made here; real clips, or a skip that names what
is missing."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import talks
from checkout import REPO, require_or_skip
from made_once import made_once
from recordings import film, tone, write
from talks import Talk
from xdist.scheduler import LoadFileScheduling
from xdist.workermanage import WorkerController

# A shell has what runs in its background ignore Ctrl-C, and `nohup` a hangup: so would the programs
# that tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


IN_REAL_TIME = (
    "tests/web/static/",
    "tests/test_run_live.py",
    "tests/realtime/analyzers/test_cluster.py",
    "tests/realtime/test_session.py",
    "tests/realtime/test_open_utterance.py",
    "tests/test_faults.py",
    "tests/web/webrtc/",
    "tests/realtime/sources/",
    "tests/web/sessions/",
    "tests/web/access/",
    "tests/web/calls/",
    "tests/web/ingest/",
    "tests/web/test_load.py",
)
"""Where most tests wait for media that play, and need the cores when these come. The longest come
first."""

LONG = ("tests/realtime/analyzers/", "tests/test_", "tests/models/training/", "tests/web/")
"""What comes first of the others, so that what is left for the end is short."""

AHEAD = ("gw0", "gw1")
"""Workers for tests in real time, and for others when there are no more of these."""

if "PYTEST_XDIST_WORKER" in os.environ:
    # All cores are taken: a second thread of a network would only wait for the first.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if os.environ["PYTEST_XDIST_WORKER"] not in AHEAD and hasattr(os, "nice"):
        os.nice(5)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests in real time come first, in that order, and then long files."""
    order = (*IN_REAL_TIME, *LONG)

    def place(item: pytest.Item) -> int:
        return next((n for n, path in enumerate(order) if item.nodeid.startswith(path)), 99)

    items.sort(key=place)


class Scheduling(LoadFileScheduling):
    """A file's tests share a process, and all of the pages' do: one browser at a time is enough.

    Workers beyond those ahead take no test in real time, and leave the cores to those that do.
    """

    def _split_scope(self, nodeid: str) -> str:
        pages = nodeid.startswith(IN_REAL_TIME[0])
        return "pages" if pages else str(super()._split_scope(nodeid))

    def _assign_work_unit(self, node: WorkerController) -> None:
        if scope := self._next(node):
            self.workqueue.move_to_end(scope, last=False)
            super()._assign_work_unit(node)

    def _reschedule(self, node: WorkerController) -> None:
        if self._next(node) or not self.workqueue:
            super()._reschedule(node)
        elif not node.shutting_down:
            node.shutdown()

    def _next(self, node: WorkerController) -> str | None:
        """What is next for this worker: a file, or the pages."""
        ahead = [one for one in self.nodes if one.gateway.id in AHEAD and not one.shutting_down]
        takes_all = node in ahead or not ahead  # without them somebody must
        return next((x for x in self.workqueue if takes_all or not _in_real_time(x)), None)


def _in_real_time(scope: str) -> bool:
    return scope == "pages" or scope.startswith(IN_REAL_TIME)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling:
    """Of `pytest -n`."""
    return Scheduling(config, log)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real clips and data beside the repository."""
    folder = REPO.parent / "shared"
    if not (folder / "media" / "README.md").is_file():
        require_or_skip("../shared, the folder of real clips and data")
    return folder


@pytest.fixture(scope="session")
def decode() -> Callable[[Path], npt.NDArray[np.float32]]:
    """A function that decodes a whole clip at once: float32 (n,), 16 kHz mono."""
    import av

    def decode_file(path: Path) -> npt.NDArray[np.float32]:
        with av.open(str(path)) as container:
            resampler = av.AudioResampler("flt", "mono", 16_000)
            parts = [
                out.to_ndarray()[0]
                for frame in [*container.decode(audio=0), None]
                for out in resampler.resample(frame)
            ]
        return np.concatenate(parts)

    return decode_file


@pytest.fixture(scope="session")
def speech() -> npt.NDArray[np.float32]:
    """A synthetic voice says a sentence: float32 (n,), 16 kHz mono."""
    from models.training.heard import spoken

    if shutil.which("espeak-ng") is None:
        require_or_skip("espeak-ng, the synthetic voice")
    return spoken(0, "This is what was said.")


@pytest.fixture(scope="session")
def talker_truth(shared: Path) -> list[dict[str, Any]]:
    """The 40 utterances of the standard clip: ``start`` and ``end`` in seconds, ``text``."""
    truth = json.loads((shared / "media" / "talker_grid_120s.json").read_text(encoding="utf-8"))
    utterances: list[dict[str, Any]] = truth["utterances"]
    return utterances


@pytest.fixture(scope="session")
def talks_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the recordings lie in which somebody speaks, made here once for all workers."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "talks"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def talk(talks_folder: Path) -> Talk:
    """A woman says two sentences: H.264 and AAC."""
    return made_once(talks_folder / "talk.mp4", partial(talks.film, texts=talks.SENTENCES[:2]))


@pytest.fixture(scope="session")
def other_talk(talks_folder: Path) -> Talk:
    """Another voice says two other sentences: MPEG-4, which no browser plays, and AAC."""
    film = partial(
        talks.film,
        texts=talks.SENTENCES[2:4],
        voice=talks.MAN,
        size=(512, 512),
        mirrored=True,
        codec="mpeg4",
    )
    return made_once(talks_folder / "other_talk.mp4", film)


@pytest.fixture(scope="session")
def upright_talk(talks_folder: Path) -> Talk:
    """Two sentences, filmed with a telephone: a high picture, HEVC and AAC."""
    film = partial(talks.film, texts=talks.SENTENCES[:2], size=(288, 384), codec="libx265")
    return made_once(talks_folder / "upright_talk.mp4", film)


@pytest.fixture(scope="session")
def crowd(talks_folder: Path) -> Path:
    """Three faces in view, and nobody speaks."""
    return made_once(talks_folder / "crowd.mp4", partial(talks.film_crowd, seconds=3))


@pytest.fixture(scope="session")
def nobody(talks_folder: Path) -> Path:
    """Sound without speech, and no face."""

    def make(path: Path) -> Path:
        return write(path, [(0, tone(3))], codec="aac", frames=film(3), size=(320, 240))

    return made_once(talks_folder / "nobody.mp4", make)


@pytest.fixture(scope="session")
def long_talk(talks_folder: Path) -> Talk:
    """A woman says twelve sentences, in more than half a minute."""
    return made_once(talks_folder / "long_talk.mp4", partial(talks.film, texts=talks.SENTENCES))


@pytest.fixture(scope="session")
def sentence(talks_folder: Path) -> Talk:
    """A sentence without a picture: FLAC."""
    return made_once(
        talks_folder / "sentence.flac", partial(talks.record, texts=talks.SENTENCES[:1])
    )


@pytest.fixture(scope="session")
def monologue(talks_folder: Path) -> Talk:
    """Four sentences without a picture and hardly a pause, ten seconds long: FLAC."""
    record = partial(talks.record, texts=talks.SENTENCES[2:6], pauses_s=(0.3, 0.3, 0.3, 1.0))
    return made_once(talks_folder / "monologue.flac", record)


@pytest.fixture(scope="session")
def halting(talks_folder: Path) -> Path:
    """Who speaks halts twice for 0.4 s in the middle: long, but not long enough."""
    texts = [talks.SENTENCES[number] for number in (0, 1, 4, 6)]
    record = partial(talks.record, texts=texts, pauses_s=(0.4, 1.0, 0.4, 1.0))
    return made_once(talks_folder / "halting.flac", record).path
