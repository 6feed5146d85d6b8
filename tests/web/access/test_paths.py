"""Which files of the server a client may name."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from web_client import Client

from web.access.keys import check_path
from web.errors import ApiError
from web.settings import ServerSettings

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """A folder that may be opened, beside files that may not."""
    for name in ("media/talk.mp4", "media2/talk.mp4", "secret.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "media" / "out.mp4").symlink_to(tmp_path / "secret.mp4")
    (tmp_path / "media" / "in.mp4").symlink_to(tmp_path / "media" / "talk.mp4")
    (tmp_path / "media" / "up").symlink_to(tmp_path)
    (tmp_path / "media" / "loop").symlink_to(tmp_path / "media" / "loop")
    return tmp_path


@pytest.mark.parametrize(
    ("source", "leads_to"),
    [
        ("{}/media/talk.mp4", "{}/media/talk.mp4"),
        ("{}/media/in.mp4", "{}/media/talk.mp4"),
        ("{}/media2/../media/talk.mp4", "{}/media/talk.mp4"),
        ("{}/media/out.mp4", None),
        ("{}/media/../secret.mp4", None),
        ("{}/media/up/secret.mp4", None),
        ("{}/media2/talk.mp4", None),
        ("{}/secret.mp4", None),
        ("{}/media/loop/talk.mp4", None),
        ("web/app.py", None),
        ("nul\0l", None),
        ("a" * 10_000, None),
    ],
)
async def test_a_client_names_files_of_allowed_folders_alone(
    folders: Path, source: str, leads_to: str | None
) -> None:
    settings = ServerSettings(allow_paths=(folders / "media",))
    named = source.format(folders)
    if leads_to is not None:
        assert check_path(settings, named) == leads_to.format(folders)
        return
    for asked in (settings, ServerSettings()):
        with pytest.raises(ApiError) as refused:
            check_path(asked, named)
        assert (refused.value.status, refused.value.code) == (403, "paths_not_allowed")


@pytest.mark.parametrize(
    "source",
    ["webcam", "webcam:1", "webcam:/dev/null", "http://x.example/a", "rtsp://x.example/1"],
)
async def test_what_is_no_file_needs_no_folder(source: str) -> None:
    assert check_path(ServerSettings(), source) == source


async def test_a_path_over_http_is_refused_whether_or_not_it_is_there(opened: Client) -> None:
    for path in (sys.executable, "/nowhere/talk.mp4"):
        told = await opened.error("POST", "/api/sessions", json={"source": path})
        assert told[:2] == (403, "paths_not_allowed")
        assert "--allow-paths FOLDER" in told[2]
    assert (await opened.error("POST", "/api/sessions", json={"source": "file:///etc/hosts"}))[
        :2
    ] == (400, "unreadable_source")
