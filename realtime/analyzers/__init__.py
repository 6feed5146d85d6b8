"""Where the models are: in this process (`local`), or on a Ray cluster (`cluster`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.errors import UsageError
from models.worker import STUCK_S

if TYPE_CHECKING:
    from realtime.analysis import Analyzer


def load_analyzer(
    where: str = "local", profile: str = "embedded", stt: str = "auto", stuck_s: float = STUCK_S
) -> Analyzer:
    """All models, ready to be used; takes seconds.

    Args:
        where: ``local``: in this process; ``ray``: on the Ray cluster that this machine belongs to,
            and without one on a cluster of this machine alone; ``ray:ADDRESS``: on that cluster.
        profile: the emotion model: ``embedded``, ``paper``, or the path of a checkpoint.
        stt: the speech-to-text engine, see `models.stt.load_transcriber`.
        stuck_s: seconds after which whatever gives no answer is given up: the utterance fails, and
            all else goes on.

    Raises:
        UsageError: there is no such place, engine or profile, or a checkpoint cannot be read.
        MissingWeights: weights are not on this machine.
    """
    if where == "local":
        from realtime.analyzers.local import LocalAnalyzer

        return LocalAnalyzer.load(profile, stt, stuck_s=stuck_s)
    address = check_cluster(where)
    from realtime.analyzers.cluster import ClusterAnalyzer

    return ClusterAnalyzer.load(address, profile, stt, stuck_s=stuck_s)


def check_cluster(where: str) -> str | None:
    """The address in ``ray`` or ``ray:ADDRESS``; None: it is left to Ray.

    Raises:
        UsageError: `where` is neither, or Ray is not installed.
    """
    kind, _, address = where.partition(":")
    if kind != "ray":
        raise UsageError(f"no analyzer '{where}': choose local, ray or ray:ADDRESS")
    try:
        import ray  # noqa: F401
    except ImportError:
        raise UsageError(
            "--analyzer ray needs Ray, which is not installed: pip install 'ray[serve]'"
        ) from None
    return address or None
