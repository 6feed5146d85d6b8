"""Runs the program again and again while all cores are busy, and counts how it exits.

``python tests/support/exits.py CLIP [ROUNDS]``: a round analyses CLIP by the command line, by the
documented Python example, and live until two Ctrl-C, all at once. A round a core keeps them busy.
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
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]

TOO_LONG_S = 300
"""Longer than any of them takes, however busy the machine is."""


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


def run_all(clip: Path) -> list[tuple[str, bool, int, str]]:
    """Each way of running the program, all at once: name, whether it exited well, status, output.

    They load for longer than they analyse, so each ends while the others keep the cores busy.
    """
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor() as pool:
        example = Path(folder) / "example.py"
        example.write_text(f"import sys\nsys.path.insert(0, {str(REPO)!r})\n{readme_example(clip)}")
        watching = command("watch", clip, "--events", "-")
        ways = {
            "analyze": pool.submit(exit_of, command("analyze", clip)),
            "example": pool.submit(exit_of, [sys.executable, str(example)]),
            "Ctrl-C twice": pool.submit(exit_of, watching, interrupted=True),
        }
        ended = {name: way.result() for name, way in ways.items()}
    # A Ctrl-C that comes when all is over leaves 0, the second one else 130.
    wanted = {"analyze": (0,), "example": (0,), "Ctrl-C twice": (0, 130)}
    return [
        (
            name,
            status in wanted[name] and (name != "analyze" or "expressed on average" in text),
            status,
            text,
        )
        for name, (status, text) in ended.items()
    ]


def tell(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - it is a command


def main() -> int:
    """See above."""
    clip, rounds = Path(sys.argv[1]).resolve(), int(sys.argv[2]) if len(sys.argv) > 2 else 67
    counts: Counter[tuple[str, int]] = Counter()
    failures = 0
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for number, ended in enumerate(pool.map(run_all, [clip] * rounds), 1):
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
