"""Every weight file of the program: what it is for, where it lives, what it costs and allows.

In: a name. Out: the path of its file, fetched if `download` is asked; or one line that says what is
missing and how to get it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from models.catalogue import WEIGHTS, File, Weights
from models.errors import MissingWeights, UsageError


@dataclass(frozen=True, slots=True)
class Listed:
    """One line of the list of weights.

    Attributes:
        weights: what it is.
        where: its path when it is on this machine, else None.
    """

    weights: Weights
    where: Path | None


def weights_folder() -> Path:
    """Where weights that come with no package are kept: $LIVE_EMOTION_WEIGHTS, or the cache."""
    chosen = os.environ.get("LIVE_EMOTION_WEIGHTS")
    return Path(chosen) if chosen else Path.home() / ".cache" / "live-emotion"


def resolve(name: str) -> Path:
    """The file, or folder, of the weights of this name.

    The weights folder goes before the package, so that a newer file can stand in for one.

    Raises:
        MissingWeights: it is not on this machine.
        KeyError: the program has no weights of this name.
    """
    weights = WEIGHTS[name]
    where = _find(weights)
    if where is None:
        raise MissingWeights(
            f"the weights {name} (about {weights.size_mb:g} MB; {weights.purpose}) are not on "
            f"this machine: {weights.source}; they belong at {weights_folder() / weights.path}"
        )
    return where


def is_here(name: str) -> bool:
    """Whether the weights of this name are on this machine.

    Raises:
        KeyError: the program has no weights of this name.
    """
    return _find(WEIGHTS[name]) is not None


def listing() -> list[Listed]:
    """All weights the program knows, here or not."""
    return [Listed(weights, _find(weights)) for weights in WEIGHTS.values()]


def download(name: str, on_progress: Callable[[int, int], None]) -> Path:
    """Fetch weights into the weights folder, unless they are there.

    They appear whole or not at all: what has arrived so far waits in PATH.partial, from where the
    next call goes on. They come from their publisher or, if $LIVE_EMOTION_MIRROR names a folder or
    an address where everything lies as in the weights folder, from there.

    Args:
        on_progress: called with the bytes that are here so far and about how many there are.

    Returns:
        Where they are.

    Raises:
        UsageError: there are no such weights, they cannot be downloaded, or another program is
            downloading them.
        MissingWeights: they could not be had; says why, how big they are and where to put them.
    """
    from filelock import FileLock, Timeout

    from models.fetching import FetchError, fetch

    weights = _downloadable(name)
    target = weights_folder() / weights.path
    partial = target.with_name(f"{target.name}.partial")
    total = round(weights.size_mb * 1e6)
    arrived = 0

    def tell(of_this_file: int) -> None:
        so_far = arrived + of_this_file
        on_progress(so_far, max(so_far, total))

    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{target}.lock", timeout=0):
            if target.exists():
                return target
            _require_room(weights, partial)
            partial.mkdir(exist_ok=True)
            for file in weights.files:
                if not (partial / file.name).exists():
                    fetch(
                        _address(weights, file),
                        partial / file.name,
                        size=file.size,
                        known_hash=file.known_hash,
                        on_bytes=tell,
                    )
                arrived += (partial / file.name).stat().st_size
                tell(0)
            if len(weights.files) == 1:
                os.replace(partial / weights.files[0].name, target)
                shutil.rmtree(partial)
            else:
                os.replace(partial, target)
    except Timeout:
        raise UsageError(f"{name} is being downloaded by another program: wait for it") from None
    except FetchError as error:
        raise _cannot_be_had(weights, str(error)) from error
    except OSError as error:
        reason = f"{target.parent} cannot be written ({error.strerror})"
        raise _cannot_be_had(weights, reason) from error
    return target


def _downloadable(name: str) -> Weights:
    weights = WEIGHTS.get(name)
    if weights is None:
        names = ", ".join(one.name for one in WEIGHTS.values() if one.files)
        raise UsageError(f"no weights are named '{name}'; to download there are: {names}")
    if not weights.files:
        where = _find(weights)
        here = f"; it is here, at {where}" if where else ""
        raise UsageError(f"{name} is not for download: {weights.source}{here}")
    return weights


def _require_room(weights: Weights, partial: Path) -> None:
    here = sum(file.stat().st_size for file in partial.glob("*"))
    free_mb = (shutil.disk_usage(weights_folder()).free + here) / 1e6
    if free_mb < weights.size_mb:
        reason = f"there is room for {free_mb:.0f} MB only"
        raise _cannot_be_had(weights, reason)


def _address(weights: Weights, file: File) -> str:
    mirror = os.environ.get("LIVE_EMOTION_MIRROR")
    if not mirror:
        return file.url
    if "://" not in mirror:
        mirror = Path(mirror).absolute().as_uri()
    path = weights.path if len(weights.files) == 1 else f"{weights.path}/{file.name}"
    return f"{mirror.rstrip('/')}/{path}"


def _cannot_be_had(weights: Weights, reason: str) -> MissingWeights:
    addresses = [_address(weights, file).rpartition("/") for file in weights.files]
    names = ", ".join(name for _, _, name in addresses)
    return MissingWeights(
        f"{weights.name} could not be downloaded: {reason}; try again, or put {names} of "
        f"{addresses[0][0]} (about {weights.size_mb:g} MB) at {weights_folder() / weights.path}"
    )


def _find(weights: Weights) -> Path | None:
    place = weights_folder() / weights.path
    return place if place.exists() else _in_package(weights)


def _in_package(weights: Weights) -> Path | None:
    """Where they are in their package, which is not imported."""
    package, _, inside = weights.package.partition("/")
    spec = find_spec(package) if package else None
    places = spec.submodule_search_locations if spec is not None else None
    for place in places or ():
        path = Path(place) / inside
        if path.exists() and all(_is_same(path / file.name, file) for file in weights.files):
            return path
    return None


@cache
def _is_same(path: Path, file: File) -> bool:
    """Whether a file in a package is the one that is meant: other versions have other files."""
    if not path.is_file() or path.stat().st_size != file.size:
        return False
    return _sha256(path) == file.known_hash


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def require_vouched(path: Path) -> None:
    """For weights that are a program: `UsageError` unless PATH.sha256 holds the hash of `path`.

    So nothing runs that came to this place without its user's knowledge.
    """
    note = path.with_name(f"{path.name}.sha256")
    told = note.read_text(encoding="utf-8", errors="replace").split() if note.is_file() else []
    if told[:1] != [_sha256(path)]:
        raise UsageError(
            f"{path} is a program, and {note.name} beside it does not hold its hash: if you trust "
            f"it, sha256sum {path} > {note}"
        )
