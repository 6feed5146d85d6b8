"""Runs the program again and again while all cores are busy, and counts how it exits.

``python tests/support/exits.py CLIP [ROUNDS]``: a round analyses CLIP by the command line, by the
documented Python example, and live until two Ctrl-C. Two rounds a core at once keep the cores busy.
Exit status: 0 if all programs exited as they should.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]

TOO_LONG_S = 300
"""Longer than any of them takes, however busy the machine is."""

_SPIN = "while True: pass"


@contextmanager
def all_cores_busy() -> Iterator[None]:
    """While it lasts, another program works on each core."""
    cores = os.cpu_count() or 1
    spinning = [subprocess.Popen([sys.executable, "-c", _SPIN]) for _ in range(cores)]
    try:
        yield
    finally:
        for process in spinning:
            process.kill()
            process.wait()


def readme_example(clip: Path) -> str:
    """The program under "In Python" in the documents, for another file."""
    text = (REPO / "realtime" / "README.md").read_text(encoding="utf-8")
    example = text.partition("## In Python")[2].partition("```python\n")[2].partition("```")[0]
    return re.sub(r'"talk\.mp4"', lambda _: repr(str(clip)), example)


def command(*arguments: str | Path) -> list[str]:
    """The command line of the program."""
    return [sys.executable, str(REPO / "run_live.py"), *map(str, arguments)]


def exit_of(arguments: list[str], *, interrupted: bool = False) -> tuple[int, str]:
    """The exit status of a program, and what it printed; perhaps after two Ctrl-C as it speaks."""
    process = subprocess.Popen(
        arguments,
        cwd=REPO,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    assert process.stdout is not None
    text = ""
    if interrupted:
        for line in process.stdout:
            text += line
            if "speech.started" in line:
                process.send_signal(signal.SIGINT)
                time.sleep(0.2)
                process.send_signal(signal.SIGINT)
                break
    rest, _ = process.communicate(timeout=TOO_LONG_S)
    return process.returncode, text + rest


def run_all(clip: Path) -> Iterator[tuple[str, bool, int, str]]:
    """Each way of running the program once: its name, whether it exited well, status and output."""
    with tempfile.TemporaryDirectory() as folder:
        example = Path(folder) / "example.py"
        example.write_text(f"import sys\nsys.path.insert(0, {str(REPO)!r})\n{readme_example(clip)}")
        status, text = exit_of(command("analyze", clip))
        yield "analyze", status == 0 and "expressed on average" in text, status, text
        status, text = exit_of([sys.executable, str(example)])
        yield "example", status == 0, status, text
        # A Ctrl-C that comes when all is over leaves 0, the second one else 130.
        watching = command("watch", clip, "--events", "-")
        status, text = exit_of(watching, interrupted=True)
        yield "Ctrl-C twice", status in (0, 130), status, text


def tell(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - it is a command


def main() -> int:
    """See above."""
    clip, rounds = Path(sys.argv[1]).resolve(), int(sys.argv[2]) if len(sys.argv) > 2 else 67
    counts: Counter[tuple[str, int]] = Counter()
    failures = 0
    with ThreadPoolExecutor(2 * (os.cpu_count() or 1)) as pool:
        for number, ended in enumerate(pool.map(list, (run_all(clip) for _ in range(rounds))), 1):
            for name, well, status, text in ended:
                counts[name, status] += 1
                if not well or "terminate called" in text or "Traceback" in text:
                    failures += 1
                    tell(f"round {number}, {name}: exit status {status}\n{text[-2000:]}")
            told = ", ".join(f"{name} {status}: {n}" for (name, status), n in counts.items())
            tell(f"{number} of {rounds} rounds, {failures} failures ({told})")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
