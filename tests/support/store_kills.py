"""Servers are killed at random moments, while their sessions publish and are deleted.

In: how many kills, and a seed. Out: what was told as stored and deleted, or the first thing told
that is not so. By hand: ``python tests/support/store_kills.py --kills 200 --seed 6``.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from checkout import REPO
from storing import SOON_S, looking_into, rows_left, until

from realtime.storage.store import SessionStore
from web.sessions.hosted import wire

KILLS_OF_A_FILE = 10

MOST_LINES = 1000
"""Told by a server before it is killed; by every other, hardly any: it is killed as it opens."""


@dataclass
class Outcome:
    """Of all kills.

    Attributes:
        published: events that were told as stored.
        cut_off: sessions that a kill ended.
        deleted: sessions that were told as deleted.
        left: kills after which rows of deleted sessions were still to be removed.
    """

    published: int = 0
    cut_off: int = 0
    deleted: int = 0
    left: int = 0


@dataclass
class Told:
    """What the servers of one file told before they were killed."""

    published: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    deleting: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)

    def hear(self, line: str, outcome: Outcome) -> None:
        message = json.loads(line)
        if "seq" in message:
            self.published[message["session"]].append(line.rstrip("\n"))
            outcome.published += 1
        elif "deleting" in message:
            self.deleting.add(message["deleting"])
        else:
            self.deleted.add(message["deleted"])
            outcome.deleted += 1


def kill_servers(folder: Path, kills: int, seed: int) -> Outcome:
    """Kill servers, one after the other, ten to a file; `AssertionError` if one told wrong."""
    chance = random.Random(seed)
    outcome = Outcome()
    servers = subprocess.Popen(
        [sys.executable, REPO / "tests" / "support" / "publishing.py"],
        env={**os.environ, "PYTHONPATH": str(REPO)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
    assert servers.stdin is not None
    lines: queue.Queue[str] = queue.Queue()
    threading.Thread(target=lambda: [*map(lines.put, servers.stdout or ())], daemon=True).start()
    told = Told()
    try:
        for kill in range(kills):
            if kill % KILLS_OF_A_FILE == 0:
                told = Told()
            path = folder / f"{kill // KILLS_OF_A_FILE}.sqlite"
            print(path, kill, file=servers.stdin, flush=True)
            word, pid = lines.get(timeout=SOON_S).split()
            assert word == "pid"
            for _ in range(chance.choice((0, chance.randrange(MOST_LINES)))):
                told.hear(lines.get(timeout=SOON_S), outcome)
            time.sleep(chance.random() * 0.1)
            os.kill(int(pid), signal.SIGKILL)
            while (line := lines.get(timeout=SOON_S)) != "gone\n":
                told.hear(line, outcome)
            last = kill == kills - 1 or kill % KILLS_OF_A_FILE == KILLS_OF_A_FILE - 1
            check(path, told, outcome, last=last)
    finally:
        servers.stdin.close()
        servers.wait(SOON_S)
    assert servers.returncode == 0
    return outcome


def check(path: Path, told: Told, outcome: Outcome, *, last: bool) -> None:
    """All that was told as stored is there, and nothing that was told as deleted.

    Args:
        last: nobody uses the file any more, so that what was deleted can be removed to its end.
    """
    if path.exists():  # or the server was killed before it made it
        with looking_into(path) as file:
            begun = file.db.execute("SELECT 1 FROM sqlite_master WHERE name = 'events'").fetchone()
            outcome.left += bool(begun and rows_left(file))
    store = SessionStore(path)
    assert store._writer.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    rows = {session.id: session for session in store.sessions(10_000)}
    for id in told.deleted:
        assert id not in rows
        assert (store.session(id), store.events(id), store.sound(id, 1)) == (None, [], b"")
    assert told.published.keys() - told.deleting <= rows.keys()
    kept: dict[str, list[str]] = {}
    for id, session in rows.items():
        kept[id] = events = [wire(seq, event) for seq, event in store.events(id)]
        assert [json.loads(line)["seq"] for line in events] == [*range(1, len(events) + 1)]
        assert events[: len(told.published[id])] == told.published[id]
        end = json.loads(events[-1])
        assert (end["type"], end["reason"]) == ("session.ended", session.reason)
        assert session.last_seq == len(events)
        outcome.cut_off += session.reason == "cut_off" and bool(told.published[id])
    if last:
        until(lambda: not store._to_remove)
    store.close()
    if last:
        with looking_into(path) as file:
            assert rows_left(file) == 0
    # What this server did not find must stay gone, and what it found must stay.
    told.deleted |= told.deleting - rows.keys()
    told.deleting.clear()
    told.published.clear()
    told.published.update(kept)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--kills", type=int, default=200)
    options.add_argument("--seed", type=int, default=6)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        outcome = kill_servers(Path(folder), chosen.kills, chosen.seed)
    sys.stdout.write(f"{outcome}\n")


if __name__ == "__main__":
    main()
