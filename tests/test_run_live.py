"""The command line as a user meets it: in processes of its own, on real files."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
import psutil
import pytest
from checkout import REPO
from recordings import film, write
from starting import Program, address_of, run
from talks import Talk
from virtual_microphone import virtual_microphone
from websockets.sync.client import connect

pytestmark = pytest.mark.slow


def lasting(events: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Events by their type, less what depends on speed."""
    kinds: dict[str, list[dict[str, Any]]] = {}
    for event in events:
        if event["type"] not in ("transcript.partial", "utterance.provisional"):
            kinds.setdefault(event["type"], []).append(
                {k: v for k, v in event.items() if k not in ("session", "latency")}
            )
    return kinds


def test_help_is_quick_because_nothing_heavy_is_imported() -> None:
    heavy = "{'torch', 'transformers', 'cv2', 'av', 'numpy', 'rich.live', 'fastapi', 'aiortc'}"
    code = f"import sys, run_live; print(sorted({heavy} & set(sys.modules)))"
    out = subprocess.run(
        [sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True, check=True
    )
    assert out.stdout.strip() == "[]"
    status, text, _ = run("--help")
    assert status == 0
    assert all(name in text for name in ("watch", "analyze", "devices", "models", "train"))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["watch"], "source"),
        (["watch", "--loud", "x"], "--loud"),
        (["sing"], "sing"),
        (["watch", "nowhere.mp4"], "nowhere.mp4"),
        (["analyze", "nowhere.mp4"], "nowhere.mp4"),
        (["watch", str(REPO)], "folder"),
        (["watch", "http://127.0.0.1:9/stream"], "127.0.0.1:9"),
        (["watch", "webcam", "--microphone", "no such microphone"], "microphone"),
        (["watch", "webcam", "--web", "--events", "-"], "--events"),
        (["--ice-server", "example.org"], "example.org"),
        (["--profile", "paper", "devices"], "devices"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(arguments: list[str], named: str) -> None:
    status, out, err = run(*arguments)
    assert status == 2, err
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert named in err


@pytest.mark.parametrize("options", [["--stt", "ears"], ["--profile", "nowhere.safetensors"]])
def test_a_wrong_model_is_said_in_one_line(talk: Talk, options: list[str]) -> None:
    status, _, err = run("analyze", talk.path, *options)
    assert status == 2
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert options[1] in err


def test_bad_files_are_said_in_one_line_each_and_the_good_one_is_analysed(
    talk: Talk, tmp_path: Path
) -> None:
    (tmp_path / "text.mp4").write_text("this is no film")
    (tmp_path / "empty.mp4").touch()
    whole = talk.path.read_bytes()
    (tmp_path / "headless.mp4").write_bytes(whole[len(whole) // 2 :])
    bad = ["text.mp4", "empty.mp4", "headless.mp4"]
    silent = write(tmp_path / "no_audio_track.mp4", frames=film(1))
    status, out, err = run("analyze", *(tmp_path / name for name in bad), silent, talk.path)
    assert status == 2
    assert [line.split(":")[0] for line in err.splitlines() if line] == ["error"] * 4
    for name in [*bad, silent.name]:
        assert err.count(name) == 1
    assert "expressed on average" in out


def test_a_file_cut_off_in_the_middle_gives_what_was_before_and_status_1(
    long_talk: Talk, tmp_path: Path
) -> None:
    # The index must come first for half a file to be playable.
    whole, cut = tmp_path / "whole.mkv", tmp_path / "cut.mkv"
    _remux(long_talk.path, whole)
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 3])
    status, out, err = run("analyze", cut, "--events", "-")
    events = [json.loads(line) for line in out.splitlines()]
    assert status == 1
    assert "Traceback" not in err
    kinds = lasting(events)
    assert len(kinds["utterance.result"]) >= 3
    assert kinds["warning"][-1]["code"] == "source.error"
    assert events[-1]["reason"] == "source_error"
    assert events[-1]["average"]["utterances"] == len(kinds["utterance.result"])


def _remux(source: Path, target: Path) -> None:
    import av

    with av.open(str(source)) as read, av.open(str(target), "w") as write:
        streams = {s: write.add_stream_from_template(s) for s in read.streams}
        for packet in read.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream]
                write.mux(packet)


def test_ctrl_c_ends_the_session_with_its_average(long_talk: Talk) -> None:
    process = Program("watch", long_talk.path)
    lines = []
    for line in process.stdout:
        lines.append(line)
        if "expressed:" in line:
            process.send_signal(signal.SIGINT)
            break
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "Traceback" not in err
    assert "expressed on average" in out
    assert out.splitlines()[-1] == "ended     stopped"


def test_a_reader_that_goes_away_gets_no_traceback(talk: Talk) -> None:
    process = Program("analyze", talk.path, "--events", "-")
    process.stdout.readline()
    process.stdout.close()
    assert "Traceback" not in process.stderr.read()
    process.wait(60)


def test_bench_measures_streams_and_speed(talk: Talk) -> None:
    clip = talk.path
    status, out, err = run("bench", clip, "--most-streams", "2", "--json")
    assert status == 0, err
    assert all(line.startswith("measuring: ") for line in err.splitlines())
    figures = json.loads(out)
    assert (figures["recording"], figures["utterances"]) == (clip.name, 2)
    assert (figures["profile"], figures["stt"]) == ("embedded", "moonshine-tiny")
    assert all(figures["machine"].values())
    assert figures["start_up_s"] > 0
    one, two = figures["trials"]
    for streams, trial in enumerate((one, two), start=1):
        assert (trial["streams"], trial["utterances"]) == (streams, 2 * streams)
        assert (trial["failed"], trial["missing"]) == (0, 0)
        delays = [trial["close_to_result"], trial["end_to_result"], *trial["stages"].values()]
        assert all(0 <= delay["p50"] <= delay["p95"] <= delay["p99"] for delay in delays)
        assert set(trial["stages"]) >= {"stt", "faces", "mer"}
        assert trial["end_to_result"]["p50"] >= trial["close_to_result"]["p50"]
        assert trial["cpu"] > 0
    assert 0 < figures["listening_cpu"] < one["cpu"]
    assert figures["stream_mib"] == pytest.approx(two["resident_mib"] - one["resident_mib"])
    assert figures["prompt_streams"] in (0, 1, 2)
    stages = ["recognition", "faces", "face network", "voice network", "language network"]
    assert list(figures["work"]) == stages
    assert all(0 < taken["p50"] <= taken["p99"] for taken in figures["work"].values())
    speed = figures["speed"]
    assert speed["media_s"] == pytest.approx(talk.duration, abs=0.1)
    assert speed["analyze"] == pytest.approx(speed["media_s"] / speed["analyze_s"])
    assert speed["ratio"] == pytest.approx(speed["analyze"] / speed["reference"])


def test_devices_and_models_print_a_table() -> None:
    status, out, err = run("models")
    assert status == 0, err
    assert "embedded" in out
    status, out, err = run("devices")
    assert (status, "microphone" in out + err) in [(0, True), (2, True)]


def test_what_is_said_into_a_microphone_is_analysed(
    sentence: Talk, tmp_path: Path, decode: Callable[[Path], npt.NDArray[np.float32]]
) -> None:
    (said,) = sentence.sentences
    speech = decode(sentence.path)[round(said.start * 16_000) : round(said.end * 16_000)]
    silence = np.zeros(24_000, np.float32)
    with virtual_microphone(tmp_path) as microphone:
        process = Program(
            *("watch", "webcam", "--camera", "off", "--events", "-"),
            env=microphone.env,
        )
        events = []
        for line in process.stdout:
            events.append(json.loads(line))
            if events[-1]["type"] == "session.started":
                microphone.play(np.concatenate([silence, speech, silence, speech, silence]))
            if events[-1]["type"] == "average.updated" and events[-1]["utterances"] == 2:
                process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    kinds = lasting(events)
    first, second = kinds["utterance.result"]
    for result in (first, second):
        assert result["end"] - result["start"] == pytest.approx(len(speech) / 16_000, abs=0.6)
        assert said.text in result["transcript"]["text"]
        assert result["modalities"] == ["acoustic", "textual"]
    expected = (len(speech) + len(silence)) / 16_000
    assert second["start"] - first["start"] == pytest.approx(expected, abs=0.2)
    assert events[-1]["reason"] == "stopped"


@pytest.mark.timeout(600)
def test_half_a_minute_live_equals_the_same_at_full_speed(long_talk: Talk, tmp_path: Path) -> None:
    clip = long_talk.path
    process = Program("watch", clip, "--events", tmp_path / "live.jsonl")
    began = time.monotonic()
    memory: list[float] = []
    while process.poll() is None:
        time.sleep(1)
        memory.append(_resident_mib(process.pid))
    took = time.monotonic() - began
    assert process.returncode == 0
    live = [json.loads(line) for line in (tmp_path / "live.jsonl").read_text().splitlines()]
    status, _, _ = run("analyze", clip, "--events", tmp_path / "fast.jsonl")
    assert status == 0
    fast = [json.loads(line) for line in (tmp_path / "fast.jsonl").read_text().splitlines()]
    assert lasting(live) == lasting(fast)
    assert took < 90  # kept up: the clip lasts 36 s, the rest is loading
    assert not any(e.get("code") == "overload" for e in live)

    results = lasting(live)["utterance.result"]
    assert len(results) == 12
    # The first third loads and warms up; what follows must not grow with time.
    settled = memory[len(memory) // 3 : -3]
    half = len(settled) // 2
    assert median(settled[half:]) < median(settled[:half]) + 20, memory  # a peak is no growth


def _resident_mib(pid: int) -> float:
    try:
        return psutil.Process(pid).memory_info().rss / 2**20
    except psutil.Error:
        return 0.0


# --- the dashboard ---


def test_without_a_command_the_dashboard_answers_until_it_is_interrupted() -> None:
    process = Program("--no-browser", "--port", "0")
    address = address_of(process)
    assert httpx.get(address, timeout=60).status_code == 200
    assert httpx.get(f"{address}api/server", timeout=60).json()["state"] in ("loading", "ready")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=200)
    assert (process.returncode, err) == (0, "")


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_source_watched_in_the_browser_is_told_to_its_end(long_talk: Talk, name: str) -> None:
    number = getattr(signal, name, None)
    if number is None:
        pytest.skip("Windows has no hangup")
    process = Program("watch", long_talk.path, "--web", "--no-browser", "--port", "0")
    base, _, id = address_of(process).partition("#session=")
    feed = f"{base.replace('http', 'ws', 1)}api/sessions/{id}/events"
    with connect(feed, open_timeout=60) as told:
        events = [json.loads(told.recv(timeout=200))]
        while events[-1]["type"] != "utterance.result":
            events.append(json.loads(told.recv(timeout=200)))
        process.send_signal(number)
        events += map(json.loads, told)
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert (events[-1]["type"], events[-1]["reason"]) == ("session.ended", "stopped")
    _, err = process.communicate(timeout=200)
    # After a polite kill uvicorn, when all is done, ends by the very signal.
    assert (process.returncode, err) == (-number if name == "SIGTERM" else 0, "")


def test_a_first_source_that_cannot_be_opened_ends_the_server() -> None:
    status, _, err = run("watch", "nowhere.mp4", "--web", "--no-browser", "--port", "0")
    assert status == 2
    assert err.startswith("error: nowhere.mp4 does not exist")


def test_a_port_in_use_is_said_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, out, err = run("--no-browser", "--port", str(port))
    assert (status, out) == (2, "")
    assert err.startswith(f"error: port {port} of 127.0.0.1 cannot be used")
    assert err.count("\n") == 1
