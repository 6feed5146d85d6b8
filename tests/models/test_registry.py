"""The list of weights, and fetching them from a real server, or a folder, that mirrors them."""

import hashlib
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from checkout import REPO
from file_server import FileServer, serving
from filelock import FileLock
from starting import run

from models import registry
from models.catalogue import File
from models.errors import MissingWeights, UsageError


@pytest.fixture
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("LIVE_EMOTION_WEIGHTS", str(tmp_path))
    return tmp_path


def test_every_weight_says_what_it_is_for_how_big_and_under_which_licence(empty_folder):
    listed = registry.listing()
    names = [one.weights.name for one in listed]
    assert len(set(names)) == len(names)
    assert {"embedded", "mtcnn", "paper", "distilhubert", "albert-base-v2"} <= set(names)
    for one in listed:
        assert one.weights.purpose
        assert one.weights.licence
        assert one.weights.source
        assert one.weights.size_mb > 0
        assert one.where is None or one.where.exists()


def test_what_comes_inside_packages_is_here(empty_folder):
    here = {one.weights.name: one.where for one in registry.listing()}
    assert (here["mtcnn"] / "pnet.pt").is_file()
    assert (here["moonshine-tiny"] / "tokenizer.bin").is_file()
    assert here["silero-vad"].is_file()
    assert here["embedded"].is_file()
    assert registry.resolve("embedded") == here["embedded"]


def test_missing_weights_are_told_in_one_line_with_size_and_remedy(empty_folder):
    with pytest.raises(MissingWeights) as caught:
        registry.resolve("distilhubert")
    line = str(caught.value)
    assert "\n" not in line
    for part in ("distilhubert", "94 MB", "models download distilhubert", str(empty_folder)):
        assert part in line


def test_the_weights_folder_goes_before_the_package(empty_folder):
    mine = empty_folder / "embedded.safetensors"
    mine.write_bytes(b"mine")
    assert registry.resolve("embedded") == mine


def test_without_a_chosen_folder_weights_are_in_the_cache(monkeypatch, tmp_path):
    monkeypatch.delenv("LIVE_EMOTION_WEIGHTS", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert registry.weights_folder() == tmp_path / ".cache" / "live-emotion"


def test_a_name_nobody_knows_is_a_mistake_of_the_program():
    with pytest.raises(KeyError):
        registry.resolve("resnet-9000")


# --- downloads ------------------------------------------------------------------------------------
# The real files are large and elsewhere: others stand for them, whose hashes the list is told.

BASE, TINY = "moonshine-base-en", "moonshine-tiny-en"
LARGEST = "decoder_model_merged.ort"
FOLDER = {
    "encoder_model.ort": b"[]" * 1000,
    "tokenizer.bin": b"tokens",
    LARGEST: bytes(range(256)) * 8000,
}
FACES, ONE_FILE = "inception-resnet-v1-vggface2", "20180402-114759-vggface2.pt"
NETWORK = b"network" * 5000


@pytest.fixture
def mirror(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    stand_in(monkeypatch, "moonshine-base", FOLDER)
    stand_in(monkeypatch, FACES, {ONE_FILE: NETWORK})
    server = FileServer()
    server.files = {f"/weights/{BASE}/{name}": FOLDER[name] for name in FOLDER}
    server.files[f"/weights/{ONE_FILE}"] = NETWORK
    monkeypatch.setenv("LIVE_EMOTION_MIRROR", f"{server.url}/weights/")
    with serving(server):
        yield server
        server.go_on.set()


def stand_in(monkeypatch, name, files):
    listed = tuple(
        File(file, f"https://192.0.2.1/{file}", len(data), hashlib.sha256(data).hexdigest())
        for file, data in files.items()
    )
    monkeypatch.setitem(registry.WEIGHTS, name, replace(registry.WEIGHTS[name], files=listed))


def ignore(here, total):
    pass


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_what_can_be_downloaded_names_its_addresses_and_true_hashes():
    listed = {one.weights.name: one.weights for one in registry.listing()}
    downloadable = {name for name, weights in listed.items() if weights.files}
    assert {"whisper-small", "moonshine-tiny", "distilhubert"} <= downloadable
    for weights in (listed[name] for name in downloadable):
        assert f"models download {weights.name}" in weights.source
        known = sum(file.size or 0 for file in weights.files)
        assert known <= weights.size_mb * 1.01e6
        for file in weights.files:
            assert re.fullmatch(r"https://[\w.]+/[\w./-]+", file.url)
            assert file.url.endswith(f"/{file.name}")
            git_knows = "whisper-base.en" in file.url and file.name == "generation_config.json"
            assert re.fullmatch("[0-9a-f]{40}" if git_knows else "[0-9a-f]{64}", file.known_hash)


def test_a_folder_appears_complete(empty_folder, mirror):
    told = []
    where = registry.download("moonshine-base", lambda here, total: told.append((here, total)))
    assert where == empty_folder / BASE == registry.resolve("moonshine-base")
    assert contents(where) == FOLDER
    assert not (empty_folder / f"{BASE}.partial").exists()
    assert [here for here, _ in told] == sorted(here for here, _ in told)
    assert told[-1][0] == sum(len(data) for data in FOLDER.values())
    assert all(here <= total for here, total in told)
    mirror.asked.clear()
    assert registry.download("moonshine-base", ignore) == where
    assert mirror.asked == []


def test_a_single_file_appears_under_our_name_for_it(empty_folder, mirror):
    where = registry.download(FACES, ignore)
    assert where == empty_folder / ONE_FILE == registry.resolve(FACES)
    assert where.read_bytes() == NETWORK


def test_a_folder_can_be_the_mirror(empty_folder, tmp_path_factory, monkeypatch):
    stand_in(monkeypatch, "moonshine-base", FOLDER)
    mirror = tmp_path_factory.mktemp("mirror")
    (mirror / BASE).mkdir()
    for name, data in FOLDER.items():
        (mirror / BASE / name).write_bytes(data)
    monkeypatch.setenv("LIVE_EMOTION_MIRROR", str(mirror))
    assert contents(registry.download("moonshine-base", ignore)) == FOLDER


def test_half_a_folder_is_not_there_and_the_next_call_fetches_only_the_rest(empty_folder, mirror):
    last = mirror.files.pop(f"/weights/{BASE}/{LARGEST}")
    with pytest.raises(MissingWeights) as caught:
        registry.download("moonshine-base", ignore)
    line = str(caught.value)
    assert "\n" not in line
    for part in ("404", LARGEST, mirror.url, "141 MB", str(empty_folder)):
        assert part in line
    assert not registry.is_here("moonshine-base")
    mirror.files[f"/weights/{BASE}/{LARGEST}"] = last
    mirror.asked.clear()
    assert contents(registry.download("moonshine-base", ignore)) == FOLDER
    assert [path for path, _ in mirror.asked] == [f"/weights/{BASE}/{LARGEST}"]


def test_wrong_bytes_never_take_the_place_of_weights(empty_folder, mirror):
    mirror.files["/weights/distilhubert/config.json"] = b"{}"
    mirror.files["/weights/distilhubert/model.safetensors"] = b"not these"
    with pytest.raises(MissingWeights, match="other bytes"):
        registry.download("distilhubert", ignore)
    assert not registry.is_here("distilhubert")


def test_a_mirror_that_anybody_on_the_way_could_change_is_refused(empty_folder, monkeypatch):
    monkeypatch.setenv("LIVE_EMOTION_MIRROR", "http://192.0.2.1/weights")
    with pytest.raises(MissingWeights, match=r"http://192.0.2.1 is not encrypted: use https"):
        registry.download("moonshine-base", ignore)
    assert not registry.is_here("moonshine-base")


def test_two_downloads_of_the_same_do_not_meet(empty_folder, mirror):
    with (
        FileLock(empty_folder / f"{ONE_FILE}.lock"),
        pytest.raises(UsageError, match=f"{FACES} is being downloaded by another program"),
    ):
        registry.download(FACES, ignore)
    assert mirror.asked == []


def test_what_does_not_fit_on_the_disk_is_not_begun(empty_folder, mirror, monkeypatch):
    huge = replace(registry.WEIGHTS[FACES], size_mb=1e12)
    monkeypatch.setitem(registry.WEIGHTS, FACES, huge)
    with pytest.raises(MissingWeights, match=r"room for \d+ MB only.*1e\+12 MB"):
        registry.download(FACES, ignore)
    assert mirror.asked == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="not on this machine: /dev/full")
def test_a_disk_that_fills_up_on_the_way_is_said(empty_folder, mirror):
    folder = empty_folder / f"{ONE_FILE}.partial"
    folder.mkdir()
    (folder / f"{ONE_FILE}.partial").symlink_to("/dev/full")
    with pytest.raises(MissingWeights, match="No space left on device"):
        registry.download(FACES, ignore)


def test_weights_folders_that_cannot_be_made_are_said(empty_folder, mirror, monkeypatch):
    (empty_folder / "file").touch()
    monkeypatch.setenv("LIVE_EMOTION_WEIGHTS", str(empty_folder / "file/weights"))
    with pytest.raises(MissingWeights, match="cannot be written"):
        registry.download(FACES, ignore)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("silero-vad", "it comes with pip install silero-vad"),
        ("paper", "train it"),
        ("silero-stt", "get https://models.silero.ai/models/en/en_v6.jit yourself"),
        ("resnet-9000", "no weights are named 'resnet-9000'"),
    ],
)
def test_what_is_not_for_download_is_said_in_one_line(empty_folder, name, said):
    status, out, err = run("models", "download", name)
    assert (status, out) == (2, "")
    assert err.startswith("error: ")
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.slow
def test_ctrl_c_leaves_what_the_same_command_continues(empty_folder, mirror):
    package = registry.resolve("moonshine-tiny")
    real = {path.name: path.read_bytes() for path in package.iterdir()}
    mirror.files |= {f"/weights/{TINY}/{name}": data for name, data in real.items()}
    mirror.stall_after = 10_000
    process = subprocess.Popen(
        [sys.executable, str(REPO / "run_live.py"), "models", "download", "moonshine-tiny"],
        stderr=subprocess.PIPE,
        text=True,
        # Tests that run in a shell's background inherit that Ctrl-C is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    half = empty_folder / f"{TINY}.partial/encoder_model.ort.partial"
    deadline = time.monotonic() + 100
    while not (half.exists() and half.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=100)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert half.stat().st_size == 10_000
    mirror.stall_after = None
    status, out, _ = run("models", "download", "moonshine-tiny")
    where = empty_folder / TINY
    assert (status, out) == (0, f"{where}{os.linesep}")
    assert contents(where) == {name: real[name] for name in FOLDER}
    assert mirror.asked[1] == (f"/weights/{TINY}/encoder_model.ort", "bytes=10000-")
