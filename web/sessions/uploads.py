"""An uploaded recording, on its way from the socket to the disk.

In: a multipart request. Out: a file in a folder of its own, until it is deleted, if need be by the
next server. However big it is, memory holds only the piece that has just come.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import re
import shutil
import stat
import tempfile
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from typing import IO

from fastapi import Request
from filelock import FileLock, Timeout
from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.requests import ClientDisconnect

from models.naming import CONTROL
from web.errors import ApiError

logger = logging.getLogger(__name__)

MAX_NAME_BYTES = 140
"""Of a file's name, in UTF-8: what an encrypted home (eCryptfs) takes; other disks take 255."""

MAX_FIELDS_BYTES = 4096
"""Of all fields beside the file, and of their names."""

PREFIX = "live-emotion-upload-"
"""With what the name of an upload's folder begins, among the temporary files."""

_LOCK = ".lock"
"""The file in that folder which the server holds locked: the system lets go when the server dies.
No recording has that name (see `plain`)."""


def sweep() -> None:
    """Delete the uploads that servers of this account left behind when they were killed."""
    with suppress(OSError):  # there may be no folder for temporary files
        for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
            if not _is_upload(folder):
                continue
            with suppress(Timeout, OSError), FileLock(folder / _LOCK, timeout=0):
                shutil.rmtree(folder, ignore_errors=True)


def _is_upload(folder: Path) -> bool:
    """Whether it is a folder that an `Upload` of this account made: anybody may make others."""
    status = folder.lstat()
    ours = not hasattr(os, "getuid") or status.st_uid == os.getuid()
    return stat.S_ISDIR(status.st_mode) and ours and (folder / _LOCK).exists()


class Upload:
    """One recording, which lies on the disk until `delete`, or until `sweep` finds it abandoned.

    Attributes:
        name: the file's name with whoever sent it, without what no file's name may hold.
        fields: the other fields of the form, by name.

    Raises:
        ApiError: the disk is full, or cannot be written.
    """

    def __init__(self) -> None:
        self.name = ""
        self.fields: dict[str, str] = {}
        try:
            self._folder = Path(tempfile.mkdtemp(prefix=PREFIX))
            self._lock = FileLock(self._folder / _LOCK, thread_local=False)
            self._lock.acquire()
        except OSError as error:
            raise _not_kept(error) from error

    @property
    def path(self) -> Path:
        """Where the recording lies."""
        return self._folder / self.name

    def delete(self) -> None:
        """Delete the recording. Idempotent."""
        self._lock.release()  # Windows deletes nothing that is open
        shutil.rmtree(self._folder, ignore_errors=True)

    async def receive(self, request: Request, *, field: str, max_mb: int) -> None:
        """Write the form's file `field`, of at most `max_mb` 10^6 bytes, to the disk.

        Raises:
            ApiError: the form is too big, breaks off, lacks the file or is none; the disk is full,
                or cannot be written.
        """
        too_big = ApiError(
            413, "too_big", f"a recording may have up to {max_mb} MB: send a shorter or smaller one"
        )
        limit = max_mb * 1_000_000
        if int(request.headers.get("content-length", 0)) > limit:
            raise too_big
        _, options = parse_options_header(request.headers.get("content-type"))
        taken = 0
        try:
            form = _Form(self._folder, field, options.get(b"boundary", b""))
            try:
                async for piece in request.stream():
                    taken += len(piece)
                    if taken > limit:
                        raise too_big
                    await asyncio.to_thread(form.parser.write, piece)
            finally:
                form.close()
        except FormParserError as error:
            raise ApiError(400, "bad_form", f"this is no multipart form: {error}") from error
        except ClientDisconnect as error:
            raise ApiError(400, "cut_off", "the upload broke off: send it again") from error
        except OSError as error:
            raise _not_kept(error) from error
        if not form.complete or form.filename is None:
            raise ApiError(400, "bad_form", f"the form is not whole, or lacks the file {field!r}")
        self.name = form.filename
        self.fields = {name: value.decode(errors="replace") for name, value in form.fields.items()}


def _not_kept(error: OSError) -> ApiError:
    """What to say when the disk does not take a recording."""
    problem = f"the recording cannot be kept ({error.strerror})"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ApiError(507, "disk_full", f"{problem}: make room")
    logger.error("%s: check the folder for temporary files, $TMPDIR", problem)
    return ApiError(500, "not_kept", f"{problem}: whoever runs this server must mend that")


class _Form:
    """What the parser finds: one file, written to `folder` as it comes, and small fields."""

    def __init__(self, folder: Path, wanted: str, boundary: bytes) -> None:
        self.filename: str | None = None
        self.fields: defaultdict[str, bytes] = defaultdict(bytes)
        self.complete = False
        self._folder = folder
        self._wanted = wanted
        self._header = self._value = b""
        self._disposition = b""
        self._part = ""  # the name of the field that is being read
        self._file: IO[bytes] | None = None
        self.parser = MultipartParser(
            boundary,
            {
                "on_header_field": self._on_header,
                "on_header_value": self._on_value,
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_part,
                "on_part_data": self._on_data,
                "on_part_end": self.close,
                "on_end": self._on_end,
            },
        )

    def close(self) -> None:
        """Close the file, if it is open."""
        if self._file is not None:
            self._file.close()
        self._file = None

    def _on_header(self, data: bytes, start: int, stop: int) -> None:
        self._header += data[start:stop]

    def _on_value(self, data: bytes, start: int, stop: int) -> None:
        self._value += data[start:stop]

    def _on_header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header = self._value = b""

    def _on_part(self) -> None:
        _, options = parse_options_header(self._disposition)
        self._part = options.get(b"name", b"").decode(errors="replace")
        if self._part == self._wanted and b"filename" in options and self.filename is None:
            self.filename = plain(options[b"filename"].decode(errors="replace"))
            self._file = open(self._folder / self.filename, "wb")  # noqa: SIM115 - see close

    def _on_data(self, data: bytes, start: int, stop: int) -> None:
        if self._file is not None:
            self._file.write(data[start:stop])
            return
        self.fields[self._part] += data[start:stop]
        if sum(len(name) + len(value) for name, value in self.fields.items()) > MAX_FIELDS_BYTES:
            raise FormParserError("its fields are too long")

    def _on_end(self) -> None:
        self.complete = True


def plain(filename: str) -> str:
    """`filename` without folders and without what some system refuses; at most `MAX_NAME_BYTES`."""
    name = re.sub(r'[<>:"|?*\ufffd]', "_", CONTROL.sub("_", re.split(r"[/\\]", filename)[-1]))
    name = re.sub(r"^(con|prn|aux|nul|com\d|lpt\d)\s*(?=\.|$)", r"_\1", name, flags=re.IGNORECASE)
    stem, dot, suffix = name.strip(" .").rpartition(".")
    if not stem:
        return _first_bytes(suffix, MAX_NAME_BYTES) or "recording"
    suffix = _first_bytes(suffix, 20)
    return f"{_first_bytes(stem, MAX_NAME_BYTES - len(suffix.encode()) - 1)}{dot}{suffix}"


def _first_bytes(text: str, most: int) -> str:
    """The longest beginning of `text` that takes at most so many bytes in UTF-8."""
    return text.encode()[:most].decode(errors="ignore")
