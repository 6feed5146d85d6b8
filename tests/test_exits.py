"""How the program ends: with the right status, at once, and never by an abort."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from exits import REPO, command, run_all
from talks import Talk

pytestmark = pytest.mark.slow


@pytest.mark.timeout(600)
def test_it_never_aborts_at_its_end(sentence: Talk) -> None:
    """Once each way; `tests/support/exits.py` does it 200 times."""
    for name, well, status, text in run_all(sentence.path):
        assert well, f"{name}: exit status {status}\n{text}"
        assert "terminate called" not in text
        assert "Traceback" not in text


_BUSY_AT_THE_END = """\
import sys, threading
import torch
from realtime.inference import Inference, Rank

torch.set_num_threads(1)
inference = Inference()
begun = threading.Event()

def compute():
    begun.set()
    x = torch.rand(200, 200)
    for _ in range(2000):  # each takes the interpreter's lock again
        x = torch.nn.functional.normalize(x @ x)

inference.lane().submit(Rank.FACES, compute)
begun.wait()
{end}
print("told", flush=True)
sys.exit(3)
"""


@pytest.mark.parametrize("end", ["inference.close()", "# left open"])
def test_a_program_ends_while_a_network_computes(end: str) -> None:
    for _ in range(2):
        ended = subprocess.run(
            [sys.executable, "-c", _BUSY_AT_THE_END.format(end=end)],
            cwd=REPO,
            capture_output=True,
            text=True,
            timeout=200,
        )
        assert (ended.returncode, ended.stdout, ended.stderr) == (3, "told\n", "")


_STUCK_AT_THE_END = """\
import threading, time
from realtime.inference import Inference, Rank
from realtime.leaving import leave

inference = Inference(stuck_s=2)
begun = threading.Event()
inference.lane().submit(Rank.FACES, lambda: (begun.set(), time.sleep(100)))
begun.wait()
inference.close()
print("told")
leave(5)
"""


def test_a_thread_that_is_stuck_does_not_keep_the_program() -> None:
    began = time.monotonic()
    ended = subprocess.run(
        [sys.executable, "-c", _STUCK_AT_THE_END],
        cwd=REPO,
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (5, "told\n", "")
    assert time.monotonic() - began < 60


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_ctrl_c_while_the_models_load_ends_it_at_once(sentence: Talk) -> None:
    process = subprocess.Popen(
        command("analyze", sentence.path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while "libtorch" not in Path(f"/proc/{process.pid}/maps").read_text():
        assert process.poll() is None
        time.sleep(0.01)
    times = psutil.Process(process.pid).cpu_times()
    process.send_signal(signal.SIGINT)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert (process.returncode, *process.communicate()) == (130, "", "")
    # Of the processor, not of the clock: other work may keep the machine busy.
    spent_s = usage.ru_utime + usage.ru_stime - times.user - times.system
    assert spent_s < MOST_S


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_ctrl_c_while_the_command_line_is_read_says_nothing() -> None:
    for _ in range(3):
        process = subprocess.Popen(
            command("--help"), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        # Of Python's own, and among the first: the program's modules are still to come.
        while "_posixsubprocess" not in Path(f"/proc/{process.pid}/maps").read_text():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
        assert err == b""
        assert process.returncode != 0


MOST_S = 3.0
"""Loading takes three times as long; what is left of one library's loading is not cut off."""
