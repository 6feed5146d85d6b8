"""Hours of visitors in minutes: does the server need more and more, of anything?

People come and go in a real Chromium whose camera plays a clip, alone and two in a call; devices
come and go by /api/ingest; some leave without a word. Meanwhile the server's process is measured.
In: a clip. Out: a table (CSV), a picture of it, and exit status 1 if something grew. Run: ``python
tests/support/soak.py ../shared/media/talker_grid_120s.mp4 --minutes 20 --plot soak.png``.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import io
import itertools
import json
import re
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import median

import av
import httpx
import psutil
import websockets
from av.audio.resampler import AudioResampler
from browser import FakeDevices, chromium, dashboard
from playwright.sync_api import Browser, expect, sync_playwright
from processes import running_server

from web.observability.loop_watch import WATCH_LOOP

SAMPLE_S = 2.0
MOST = 8
"""Sessions at once."""
WAIT_MS = 120_000
LONG_ENOUGH_MIN = 10
"""For quarters that are alike. In less, one may have a call and another none, which is a matter of
how fast the machine is, and not of growth; then only what is left at rest is judged."""
REST_S = 120
"""How long, after the last visitor, the server may take to be at rest."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What the server needs at one moment; memory in 2^20 bytes, resident."""

    seconds: float
    memory: float
    memory_with_children: float
    threads: int
    handles: int
    children: int
    tasks: int
    running: int
    held: int
    """How often a callback has held the event loop for too long."""
    collected: int
    """How often a garbage collection has."""
    late: int
    """How often it came too late for any reason inside the server."""


GROWTH = {
    "memory": (0.10, 80),
    "memory_with_children": (0.10, 120),
    "threads": (0.10, 6),
    "handles": (0.10, 12),
    "children": (0.0, 2),
    "tasks": (0.10, 20),
}
"""What the median of the last quarter may be above that of the second: a part of it, or so many,
whichever is more. How many visitors are there at a time differs a little."""

REST = {"threads": 4, "handles": 6, "children": 0, "tasks": 6}
"""What the server may need more at rest, at the end, than at rest after the first round."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Soak, tell, decide; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--csv", type=Path, default=Path("soak.csv"))
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args(arguments)
    stay_s = min(20.0, max(2.0, options.minutes * 2))
    with (
        tempfile.TemporaryDirectory() as folder,
        dashboard("--max-sessions", str(MOST), **{WATCH_LOOP: "1"}) as address,
    ):
        watch = Watch(address)
        devices = FakeDevices.of(options.clip, Path(folder), seconds=30)
        messages = recorded(options.clip, stay_s)
        asyncio.run(push_together(address, messages))
        with sync_playwright() as playwright:
            with chromium(playwright, devices=devices) as browser:
                visit_alone(browser, address, stay_s)
                visit_together(browser, address, stay_s, polite=True)
            before = watch.at_rest()  # all that is loaded but once is loaded

            over = threading.Event()
            measuring = threading.Thread(target=watch.until, args=(over,))
            pushing = Pushers(address, messages, over)
            measuring.start()
            pushing.start()
            ends = time.monotonic() + options.minutes * 60
            visits = 0
            try:
                while time.monotonic() < ends:
                    with chromium(playwright, devices=devices) as browser:
                        for _ in range(20):  # a browser grows, too
                            if time.monotonic() < ends:
                                visit_alone(browser, address, stay_s)
                                visit_together(browser, address, stay_s, polite=visits % 2 == 0)
                                visits += 3
            finally:
                over.set()
                pushing.join()
                measuring.join()
            after = watch.at_rest()
    with options.csv.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, [field.name for field in fields(Sample)])
        table.writeheader()
        table.writerows(asdict(sample) for sample in watch.samples)
    if options.plot:
        plot(watch.samples, options.plot)
    sys.stdout.write(f"{visits} visits by WebRTC, {pushing.visits} by WebSocket\n")
    growth = grown(watch.samples)
    problems = [*pushing.problems, *unrested(before, after)]
    problems += held_up(before, after)  # `before` is when the models are loaded
    if options.minutes >= LONG_ENOUGH_MIN:
        problems += growth
    for problem in problems:
        sys.stdout.write(f"not flat: {problem}\n")
    return 1 if problems else 0


def grown(samples: Sequence[Sample]) -> list[str]:
    """What was more in the last quarter than in the second; prints all of it."""
    quarter = len(samples) // 4
    problems = []
    for name, (part, some) in GROWTH.items():
        values = [getattr(sample, name) for sample in samples]
        second, last = median(values[quarter : 2 * quarter]), median(values[-quarter:])
        allowed = second + max(part * second, some)
        sys.stdout.write(f"{name}: {second:.0f} in the second quarter, {last:.0f} in the last\n")
        if last > allowed:
            problems.append(f"{name} went from {second:.0f} to {last:.0f}, above {allowed:.0f}")
    return problems


def unrested(before: Sample, after: Sample) -> list[str]:
    """What was not given back when everybody had gone; prints all of it."""
    problems = []
    for name, some in REST.items():
        first, last = getattr(before, name), getattr(after, name)
        sys.stdout.write(f"{name} at rest: {first} after the first round, {last} at the end\n")
        if last > first + some:
            problems.append(f"{name} at rest went from {first} to {last}, above {first + some}")
    return problems


def held_up(before: Sample, after: Sample) -> list[str]:
    """Whether a callback held the event loop; prints what else made it late."""
    sys.stdout.write(
        f"over 20 ms late: {after.late - before.late} times, of which garbage collections "
        f"{after.collected - before.collected}\n"
    )
    held = after.held - before.held
    return [f"a callback held the event loop {held} times"] if held else []


class Watch:
    """Measures the process of the server at `address`, a child of ours."""

    def __init__(self, address: str, headers: Mapping[str, str] | None = None) -> None:
        self.samples: list[Sample] = []
        self._server = running_server()
        self._http = httpx.Client(base_url=address, headers=headers, timeout=60)
        self._began = time.monotonic()

    def until(self, over: threading.Event) -> None:
        """Take a sample every `SAMPLE_S`."""
        while not over.wait(SAMPLE_S):
            self.samples.append(self.sample())

    def sample(self) -> Sample:
        children = self._server.children(recursive=True)
        own = self._server.memory_info().rss
        theirs = 0
        for child in children:
            try:
                theirs += child.memory_info().rss
            except psutil.NoSuchProcess:
                continue
        sessions = self._http.get("/api/sessions").json()["sessions"]
        return Sample(
            seconds=round(time.monotonic() - self._began, 1),
            memory=own / 2**20,
            memory_with_children=(own + theirs) / 2**20,
            threads=self._server.num_threads(),
            handles=_handles(self._server),
            children=len(children),
            tasks=int(self._told("live_emotion_asyncio_tasks")),
            held=self._late("callback"),
            collected=self._late("garbage"),
            late=self._late("any"),
            running=sum(session["state"] != "ended" for session in sessions),
        )

    def at_rest(self) -> Sample:
        """The least that the server needs when nobody is there, and has had time to clear up."""
        deadline = time.monotonic() + REST_S
        while self.sample().running:
            if time.monotonic() > deadline:
                raise SystemExit("sessions go on though everybody has gone")
            time.sleep(1)
        rest = []
        for _ in range(12):
            time.sleep(1)
            rest.append(self.sample())
        return Sample(
            **{
                field.name: min(getattr(one, field.name) for one in rest)
                for field in fields(Sample)
            }
        )

    def _late(self, reason: str) -> int:
        return int(self._told(f'live_emotion_loop_late_times{{reason="{reason}"}}'))

    def _told(self, metric: str) -> float:
        """A figure of the server's own; 0 if it does not tell it."""
        answer = self._http.get("/metrics")
        found = re.search(rf"^{re.escape(metric)} (\S+)$", answer.text, re.MULTILINE)
        return float(found[1]) if found else 0.0


def _handles(process: psutil.Process) -> int:
    return process.num_handles() if sys.platform == "win32" else process.num_fds()


def visit_alone(browser: Browser, address: str, stay_s: float) -> None:
    """Somebody analyses themselves for a while."""
    context = browser.new_context(base_url=address)
    page = context.new_page()
    page.goto("/")
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.locator("#stop")).to_be_visible(timeout=WAIT_MS)
    page.wait_for_timeout(stay_s * 1000)
    page.locator("#stop").click()
    expect(page.locator(".average h3")).to_have_text("Final average", timeout=WAIT_MS)
    context.close()


def visit_together(browser: Browser, address: str, stay_s: float, *, polite: bool) -> None:
    """Two people meet in a call, and leave it; impolite ones just close the window."""
    link = httpx.post(f"{address}/api/calls", json={}, timeout=60).json()["link"]
    contexts = []
    for name in ("Anna", "Ben"):
        contexts.append(browser.new_context(base_url=address))
        page = contexts[-1].new_page()
        page.goto(link)
        page.get_by_label("Your name").fill(name)
        page.get_by_label("I have read this").check()
        page.get_by_role("button", name="Join").click()
        expect(page.get_by_role("button", name="Leave")).to_be_visible(timeout=WAIT_MS)
    tile = page.locator(".tile", has_text="Anna")
    expect(tile).to_be_visible(timeout=WAIT_MS)
    video = tile.locator("video").element_handle(timeout=WAIT_MS)
    for _ in range(WAIT_MS // 100):
        if video.evaluate("video => video.videoWidth"):
            break
        page.wait_for_timeout(100)
    else:
        raise AssertionError("no picture of the other person came")
    page.wait_for_timeout(stay_s * 1000)
    for context in contexts:
        if polite:
            context.pages[0].get_by_role("button", name="Leave").click()
            expect(context.pages[0].locator("#notice")).to_have_text(
                "You have left the call.", timeout=WAIT_MS
            )
        context.close()


class Pushers(threading.Thread):
    """Two devices that come, push media, and go, again and again until all is over: one as it
    happens, one as fast as it can.

    Attributes:
        visits: how many there were.
        problems: what they were told that they should not have been.
    """

    def __init__(
        self, address: str, messages: list[tuple[float, bytes]], over: threading.Event
    ) -> None:
        super().__init__()
        self.visits = 0
        self.problems: list[str] = []
        self._address = address
        self._messages = messages
        self._over = over

    def run(self) -> None:
        """Push."""
        asyncio.run(self._all())

    async def _all(self) -> None:
        await asyncio.gather(self._visit(pace=True), self._visit(pace=False))

    async def _visit(self, *, pace: bool) -> None:
        for number in itertools.count():
            if self._over.is_set():
                return
            try:
                await push(self._address, self._messages, pace=pace, polite=number % 3 > 0)
            except Exception as error:
                self.problems.append(f"a device failed: {error!r}")
            self.visits += 1
            await asyncio.sleep(3)


async def push_together(address: str, messages: list[tuple[float, bytes]]) -> None:
    """As many devices as may be, so that the server has all that it ever begins anew for one."""
    await asyncio.gather(*(push(address, messages, pace=True, polite=True) for _ in range(MOST)))


async def push(
    address: str, messages: list[tuple[float, bytes]], *, pace: bool, polite: bool
) -> None:
    """Push media as one device; an impolite one goes without waiting for what was found."""
    async with websockets.connect(
        address.replace("http", "ws") + "/api/ingest", open_timeout=60, ping_timeout=None
    ) as socket:
        await socket.send(json.dumps({"type": "start", "name": "a device"}))
        began = time.monotonic()
        for time_s, message in messages:
            if pace:
                await asyncio.sleep(began + time_s - time.monotonic())
            await socket.send(message)
        if not polite:
            return
        await socket.send(json.dumps({"type": "end"}))
        last = ""
        async for text in socket:
            last = str(text)
        if json.loads(last).get("type") != "session.ended":
            raise RuntimeError(f"the last word was {last[:200]}")


def recorded(clip: Path, seconds: float) -> list[tuple[float, bytes]]:
    """The first seconds of a clip as messages, each with its time: sound, 5 pictures a second."""
    messages: list[tuple[float, bytes]] = []
    shown = -1
    with av.open(str(clip)) as container:
        resampler = AudioResampler("s16", "mono", 16_000)
        for frame in container.decode():
            time_s = frame.time or 0.0
            if time_s > seconds:
                break
            if isinstance(frame, av.VideoFrame):
                if int(time_s * 5) > shown:
                    shown = int(time_s * 5)
                    data = io.BytesIO()
                    frame.to_image().save(data, "JPEG")
                    messages.append((time_s, struct.pack("<Bd", 1, time_s) + data.getvalue()))
            elif isinstance(frame, av.AudioFrame):
                for piece in resampler.resample(frame):
                    at = piece.time or 0.0
                    sound = struct.pack("<Bd", 0, at) + piece.to_ndarray().tobytes()
                    messages.append((at, sound))
    return messages


def plot(samples: Sequence[Sample], to: Path) -> None:
    """Draw everything over time."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = [field.name for field in fields(Sample) if field.name != "seconds"]
    figure, axes = pyplot.subplots(len(names), sharex=True, figsize=(9, 1.6 * len(names)))
    minutes = [sample.seconds / 60 for sample in samples]
    for axis, name in zip(axes, names, strict=True):
        axis.plot(minutes, [getattr(sample, name) for sample in samples], linewidth=1)
        axis.set_ylabel(name.replace("_", "\n"), fontsize=8)
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
    axes[-1].set_xlabel("minutes")
    figure.tight_layout()
    figure.savefig(to, dpi=110)


if __name__ == "__main__":
    raise SystemExit(main())
