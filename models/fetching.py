"""One file from an address to a place on disk: resumed where it stopped, checked, put in whole.

In: an https or file address, and the file's hash. Out: the file, or one `FetchError`. Proxies are
those that the environment names: $HTTP_PROXY, $HTTPS_PROXY, $NO_PROXY.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import ipaddress
import os
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

_SILENCE_S = 30.0  # a connection that brings nothing for so long is broken
_PIECE = 1 << 18


class FetchError(Exception):
    """The file did not arrive; the message is one clause that says why."""


def fetch(
    url: str,
    path: Path,
    *,
    size: int | None,
    known_hash: str,
    on_bytes: Callable[[int], None],
) -> None:
    """Download a file; until it is whole and right it is called PATH.partial.

    What an earlier call left there is continued if the server still has the same file. A
    connection that breaks is taken up again as long as each attempt has brought something.

    Args:
        url: https, or file; plain http only from this machine itself.
        size: in bytes; None when unknown.
        known_hash: SHA-256, or git's SHA-1 of the file, in hexadecimal.
        on_bytes: called with the number of bytes that are here so far.

    Raises:
        FetchError: the server or the network refuses, or the bytes are wrong.
        OSError: the file cannot be written.
    """
    partial = path.with_name(f"{path.name}.partial")
    resumed = partial.exists()
    while True:
        before = _length(partial)
        try:
            _continue(url, partial, size, on_bytes)
            break
        except _RangeError as error:
            if not before:
                raise FetchError("the server sends another part than was asked for") from error
            _forget(partial)
        except _BrokenError as error:
            if _length(partial) <= before:
                raise FetchError(f"the server cannot be reached ({error})") from error
    wrong = _what_is_wrong(partial, size, known_hash)
    if wrong is None:
        os.replace(partial, path)
        _validator(partial).unlink(missing_ok=True)
        return
    _forget(partial)
    if not resumed:
        raise FetchError(f"the server sent {wrong}")
    # What lay here may have been of another version of the file: once more, from nothing.
    fetch(url, path, size=size, known_hash=known_hash, on_bytes=on_bytes)


class _BrokenError(Exception):
    """The connection could not be made, or broke."""


class _RangeError(Exception):
    """The server has nothing from where we want to go on."""


def _continue(url: str, partial: Path, size: int | None, on_bytes: Callable[[int], None]) -> None:
    """One request; appends what it brings."""
    _require_protected(url)
    request = urllib.request.Request(url, headers={"User-Agent": "live-emotion"})
    have, validator = _length(partial), _validator(partial)
    version = validator.read_text(encoding="ascii") if validator.exists() else ""
    if have and version:
        request.add_header("Range", f"bytes={have}-")
        # A server whose file has changed sends the new one, from its beginning.
        request.add_header("If-Range", version)
    with _network():
        answer = urllib.request.build_opener(_Redirects()).open(request, timeout=_SILENCE_S)
    with answer:
        have, total = _extent(answer, have)
        if size is not None and total is not None and total != size:
            raise FetchError(f"the server has {total} bytes where {size} were expected")
        tag = answer.headers.get("ETag") or answer.headers.get("Last-Modified") or ""
        with partial.open("ab" if have else "wb", buffering=0) as file:
            # Not before the old bytes have gone: they are of another version.
            validator.write_text(tag.removeprefix("W/"), encoding="ascii")
            on_bytes(have)
            while piece := _read(answer):
                _write(file, piece)
                have += len(piece)
                on_bytes(have)
    if total is not None and have < total:
        raise _BrokenError(f"it ended after {have} of {total} bytes")


def _require_protected(url: str) -> None:
    """`FetchError` for what the network could read or change on its way."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme in ("https", "file") or (parts.scheme == "http" and _is_this_machine(host)):
        return
    raise FetchError(f"{parts.scheme}://{host} is not encrypted: use https, or a folder")


def _is_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _extent(answer: Any, have: int) -> tuple[int, int | None]:
    """Where the answer begins, and how long the whole file is if that is told."""
    if answer.status == HTTPStatus.PARTIAL_CONTENT:
        told = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range", ""))
        if told is None or int(told[1]) != have:
            raise _RangeError
        return have, None if told[2] == "*" else int(told[2])
    length = answer.headers.get("Content-Length")
    return 0, None if length is None else int(length)


def _what_is_wrong(partial: Path, size: int | None, known_hash: str) -> str | None:
    """What does not match, or None."""
    length = _length(partial)
    if size is not None and length != size:
        return f"{length} bytes where {size} were expected"
    digest = hashlib.sha256()
    blob = hashlib.sha1(f"blob {length}\0".encode(), usedforsecurity=False)
    with partial.open("rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
            blob.update(piece)
    if known_hash not in (digest.hexdigest(), blob.hexdigest()):
        return "other bytes than expected (their hash is wrong)"
    return None


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but not from https to where the network could read or change it."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        _require_protected(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


@contextlib.contextmanager
def _network() -> Iterator[None]:
    """Tells what the network does to us from what the disk does."""
    try:
        yield
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise _RangeError from error
        raise FetchError(f"the server answers {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        raise _BrokenError(str(getattr(error, "reason", "") or error)) from error


def _read(answer: Any) -> bytes:
    with _network():
        piece: bytes = answer.read1(_PIECE)  # what has come, without waiting for more
        return piece


def _write(file: IO[bytes], piece: bytes) -> None:
    rest = memoryview(piece)
    while rest:
        rest = rest[file.write(rest) :]


def _length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _validator(partial: Path) -> Path:
    """Where it is noted which version of the file the bytes in `partial` are of."""
    return partial.with_name(f"{partial.name}.etag")


def _forget(partial: Path) -> None:
    partial.unlink(missing_ok=True)
    _validator(partial).unlink(missing_ok=True)
