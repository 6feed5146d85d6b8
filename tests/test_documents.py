"""What the documents say holds: their programs run as they stand, and nothing is sent away."""

from __future__ import annotations

import asyncio
import html
import os
import re
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
from checkout import REPO
from web_client import SOON_S, serving

from web.settings import Limits

README = (REPO / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def folder(shared: Path, tmp_path: Path) -> Path:
    """An empty folder with talk.mp4 in it."""
    shutil.copy(shared / "media" / "talker_700.mp4", tmp_path / "talk.mp4")
    return tmp_path


async def run(program: str, folder: Path, *arguments: str) -> list[str]:
    """The lines that a program prints, which must end well."""
    (folder / "program.py").write_text(program, encoding="utf-8")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "program.py",
        *arguments,
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"PYTHONPATH": str(REPO)},
    )
    out, err = await asyncio.wait_for(process.communicate(), SOON_S)
    assert process.returncode == 0, err.decode()
    return out.decode().splitlines()


def program_of(document: str, marker: str) -> str:
    """The one Python program in `document` that holds `marker`."""
    [program] = [
        text for text in re.findall(r"```python\n(.*?)```", document, re.S) if marker in text
    ]
    return str(program)


async def test_the_session_of_the_readme(folder: Path) -> None:
    lines = await run(program_of(README, "LiveSession"), folder)
    assert len(lines) == 2
    assert all(re.fullmatch(r".*\(.*\)", line) for line in lines)


def test_the_table_of_limits_is_whole_and_true() -> None:
    told = dict(re.findall(r"^\| `(--[a-z-]+)`: .*? \| (.*?) \| .* \|$", README, re.M))
    defaults = {f"--{limit.name.replace('_', '-')}": limit.default for limit in fields(Limits)}
    assert told.keys() == defaults.keys()
    for option, default in defaults.items():
        if default is not None:
            assert float(told[option].replace(" ", "")) == default


async def test_the_device_without_webrtc_of_the_readme(folder: Path) -> None:
    async with serving() as client:
        address = f"ws://127.0.0.1:{client.http.base_url.port}/api/ingest"
        lines = await run(program_of(README, "struct.pack"), folder, address, "talk.mp4")
        [session] = (await client.json("/api/sessions"))["sessions"]
    assert session["kind"] == "ingest"
    assert len(lines) == session["utterances"] == 2


async def test_the_upload_of_the_documentation_page(folder: Path) -> None:
    page = (REPO / "web" / "static" / "reference" / "api.html").read_text(encoding="utf-8")
    [program] = re.findall(r"<pre tabindex=\"0\">(import asyncio.*?)</pre>", page, re.S)
    async with serving() as client:
        there = f"127.0.0.1:{client.http.base_url.port}"
        lines = await run(html.unescape(program).replace("127.0.0.1:8000", there), folder)
    assert len(lines) == 2


def test_no_library_keeps_anything_to_tell_its_maker(tmp_path: Path) -> None:
    program = """
from models.vad import load_vad
from realtime.analyzers.local import LocalAnalyzer
if __name__ == "__main__":
    load_vad()
    LocalAnalyzer.load().close()
"""
    environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}  # where CI is not said
    subprocess.run([sys.executable, "-c", program], cwd=REPO, env=environment, check=True)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
