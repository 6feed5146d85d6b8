"""The films of sessions: sealed files, found as long as their session is there."""

from __future__ import annotations

import errno
import io
import os
import random
import stat
import sys
from pathlib import Path

import pytest
from checkout import bytes_in
from storing import partial, row, until, written

from realtime.storage.keys import OVERHEAD, DamagedError, SessionKey
from realtime.storage.sealed import BLOCK, SealedFile
from realtime.storage.store import SessionStore
from realtime.storage.values import UnkeepableError

FILM = b"film of a face " * 5000


def test_a_sealed_file_is_read_and_written_like_any_other(tmp_path: Path) -> None:
    chance = random.Random(4)
    key, plain = SessionKey.new(), io.BytesIO()
    with SealedFile(tmp_path / "f", key, new=True) as file:
        for _ in range(200):
            at = chance.choice([0, chance.randint(0, plain.seek(0, 2)), plain.seek(0, 2)])
            data = chance.randbytes(chance.choice([1, 100, BLOCK, 3 * BLOCK + 5]))
            for each in (plain, file):
                each.seek(at)
                each.write(data)
            assert file.tell() == plain.tell()
    with io.BufferedReader(SealedFile(tmp_path / "f", key)) as file:
        assert file.read() == plain.getvalue()
        for at, whence in ((0, 0), (BLOCK - 3, 0), (7, 1), (-BLOCK - 9, 2), (0, 2)):
            assert file.seek(at, whence) == plain.seek(at, whence)
            assert file.read(2 * BLOCK) == plain.read(2 * BLOCK)
    assert plain.getvalue()[:50] not in (tmp_path / "f").read_bytes()
    with pytest.raises(DamagedError):
        SealedFile(tmp_path / "f", SessionKey.new()).read()


@pytest.mark.parametrize("lost", [1, 20, OVERHEAD, OVERHEAD + 1, 5000])
def test_what_was_cut_off_ends_before_the_block_that_was_written(tmp_path: Path, lost: int) -> None:
    key = SessionKey.new()
    with SealedFile(tmp_path / "f", key, new=True) as file:
        file.write(FILM)
    os.truncate(tmp_path / "f", (tmp_path / "f").stat().st_size - lost)
    with io.BufferedReader(SealedFile(tmp_path / "f", key)) as file:
        assert file.seek(0, 2) == len(FILM) // BLOCK * BLOCK
        file.seek(0)
        assert file.read() == FILM[: len(FILM) // BLOCK * BLOCK]


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/full is a full disk of Linux")
def test_a_full_disk_is_told_by_what_writes(tmp_path: Path) -> None:
    file = SealedFile(tmp_path / "f", SessionKey.new(), new=True)
    file._file.close()
    file._file = open("/dev/full", "r+b", buffering=0)  # noqa: SIM115 - closed with the other
    with file, pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        file.write(FILM)


def test_a_film_is_found_until_its_session_is_deleted(store: SessionStore, path: Path) -> None:
    for id in ("a", "b"):
        written(store.begin(row(id, recorded=True)))
        assert not store.films.has(id)
        with store.films.create(id) as film:
            assert not store.films.has(id)
            film.write(FILM)
    folder = Path(f"{path}.films")
    assert len([*folder.iterdir()]) == 2
    found = store.films.open("a")
    assert found is not None
    with found as film:
        assert film.read() == FILM
    assert FILM[:15] not in bytes_in(path.parent), "it is sealed"

    written(store.delete("a"))
    assert (store.films.has("a"), store.films.open("a")) == (False, None)
    until(lambda: len([*folder.iterdir()]) == 1)
    assert store.films.has("b")
    with pytest.raises(UnkeepableError, match="may have been deleted"):
        store.films.create("a")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other rights")
def test_nobody_else_may_read_a_film(store: SessionStore, path: Path) -> None:
    written(store.begin(row("a", recorded=True)))
    store.films.create("a").close()
    folder = Path(f"{path}.films")
    (film,) = folder.iterdir()
    assert [stat.S_IMODE(each.stat().st_mode) for each in (folder, film)] == [0o700, 0o600]


def test_a_film_does_not_outlive_its_session_over_a_kill(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SessionStore(path)
    for id in ("a", "b"):
        written(store.begin(row(id, recorded=True)))
        with store.films.create(id) as film:
            film.write(FILM)
    monkeypatch.setattr(store.films, "sweep", lambda keys: None)  # the server is killed before
    written(store.delete("a"))
    store.close()
    folder = Path(f"{path}.films")
    assert len([*folder.iterdir()]) == 2
    (folder / "notes.txt").touch()  # of somebody else
    store = SessionStore(path)
    until(lambda: len([*folder.iterdir()]) == 2)
    assert store.films.has("b")
    assert (folder / "notes.txt").exists()
    store.close()


def test_films_of_deleted_sessions_are_removed_on_a_full_disk_too(
    store: SessionStore, path: Path
) -> None:
    for id in ("a", "b"):
        written(store.begin(row(id, recorded=True)))
        store.films.create(id).close()
    (pages,) = store._writer.execute("PRAGMA page_count").fetchone()
    store._writer.execute(f"PRAGMA max_page_count = {pages}")
    store.append("b", 1, partial("b", 1, "a word " * 9999)).result()  # it is full
    for id in ("a", "b"):
        store.delete(id).result()
        assert not store.films.has(id)
    until(lambda: not [*Path(f"{path}.films").iterdir()])
