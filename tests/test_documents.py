"""What the documents say holds: their programs run as they stand, and nothing is sent away."""

from __future__ import annotations

import asyncio
import html
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import typer
from checkout import REPO, require_or_skip
from talks import Talk
from web_client import SOON_S, serving

import run_live
from web.settings import Limits

DOCUMENTS = {
    str(file.relative_to(REPO)): file.read_text(encoding="utf-8")
    for file in [*REPO.glob("*.md"), *REPO.glob("*/*.md"), REPO / "models/weights/CARD.md"]
}


@pytest.fixture
def folder(talk: Talk, tmp_path: Path) -> Path:
    """An empty folder with talk.mp4 in it."""
    shutil.copy(talk.path, tmp_path / "talk.mp4")
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


@pytest.mark.slow
async def test_the_session_of_the_readme(folder: Path) -> None:
    lines = await run(program_of(DOCUMENTS["realtime/README.md"], "LiveSession"), folder)
    assert len(lines) == 2
    assert all(re.fullmatch(r".*\(.*\)", line) for line in lines)


def test_the_table_of_limits_is_whole_and_true() -> None:
    document = DOCUMENTS["web/README.md"]
    told = dict(re.findall(r"^\| `(--[a-z-]+)`: .*? \| (.*?) \| .* \|$", document, re.M))
    defaults = {f"--{limit.name.replace('_', '-')}": limit.default for limit in fields(Limits)}
    assert told.keys() == defaults.keys()
    for option, default in defaults.items():
        if default is not None:
            assert float(told[option].replace(" ", "")) == default


@pytest.mark.slow
async def test_the_device_without_webrtc_of_the_readme(folder: Path) -> None:
    async with serving() as client:
        address = f"ws://127.0.0.1:{client.http.base_url.port}/api/ingest"
        lines = await run(
            program_of(DOCUMENTS["web/README.md"], "struct.pack"), folder, address, "talk.mp4"
        )
        [session] = (await client.json("/api/sessions"))["sessions"]
    assert session["kind"] == "ingest"
    assert len(lines) == session["utterances"] == 2


@pytest.mark.slow
async def test_the_upload_of_the_first_page(folder: Path) -> None:
    if not shutil.which("curl"):
        require_or_skip("curl")
    [command] = re.findall(r"`(curl [^`]*)`", DOCUMENTS["README.md"])
    async with serving() as client:
        there = f"127.0.0.1:{client.http.base_url.port}"
        words = shlex.split(command.replace("127.0.0.1:8000", there))
        process = await asyncio.create_subprocess_exec(
            *words, cwd=folder, stdout=asyncio.subprocess.PIPE
        )
        out, _ = await asyncio.wait_for(process.communicate(), SOON_S)
        events = await client.events(json.loads(out)["id"])
    assert sum(event["type"] == "utterance.result" for event in events) == 2


def test_the_first_page_is_short() -> None:
    assert DOCUMENTS["README.md"].count("\n") <= 120


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document: str) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)|src=\"([^\"]+)\"", DOCUMENTS[document]):
        path, _, heading = "".join(link).partition("#")
        if "://" in path:
            continue
        file = (REPO / document).parent / path if path else REPO / document
        assert file.exists(), link
        if heading:
            headings = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.M)
            assert heading in {text.lower().replace(" ", "-") for text in headings}, link


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_and_their_options_are_there(document: str) -> None:
    lines = re.findall(r"(?:run_live\.py|^live-emotion) ?([^`\n]*)", DOCUMENTS[document], re.M)
    for line in lines:
        command, words = typer.main.get_command(run_live.app), line.partition("#")[0].split()
        while words and words[0] in getattr(command, "commands", {}):
            command = command.commands[words.pop(0)]
        known = {option for one in command.params for option in (*one.opts, *one.secondary_opts)}
        for word in words:
            if word.startswith("--"):
                assert word.rstrip(",.;:)") in {*known, "--help"}, (line, word)


def test_nothing_is_installed_by_a_name_that_nobody_publishes() -> None:
    code = {
        str(file): file.read_text(encoding="utf-8")
        for folder in ("models", "realtime", "web")
        for file in (REPO / folder).rglob("*.py")
    }
    assert [name for name, text in (DOCUMENTS | code).items() if "live-emotion[" in text] == []


def test_the_program_names_nothing_that_only_a_checkout_has() -> None:
    told = [
        str(file.relative_to(REPO))
        for folder in ("models", "realtime", "web")
        for file in (REPO / folder).rglob("*")
        if file.suffix in {".py", ".html", ".js", ".yaml"}
        if "run_live" in file.read_text(encoding="utf-8")
    ]
    assert told == []


@pytest.mark.slow
async def test_the_upload_of_the_documentation_page(folder: Path) -> None:
    page = (REPO / "web" / "static" / "reference" / "api.html").read_text(encoding="utf-8")
    [program] = re.findall(r"<pre tabindex=\"0\">(import asyncio.*?)</pre>", page, re.S)
    async with serving() as client:
        there = f"127.0.0.1:{client.http.base_url.port}"
        lines = await run(html.unescape(program).replace("127.0.0.1:8000", there), folder)
    assert len(lines) == 2


@pytest.mark.slow
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
