"""The dashboard without a server: a page that is told made-up events of a session.

In: a browser, events. Out: the page, whose files are those of the program and whose answers come
from here.
"""

from __future__ import annotations

import base64
import json
import math
import random
from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np
from checkout import REPO
from pages import SOON, new_page
from playwright.sync_api import Browser, Page, Route

ORIGIN = "http://localhost:1"  # nothing listens there
SESSION = "9f2c51d0a7be"
EVERY_S = 2.7  # 4,000 utterances take three hours
EMOTIONS = ("happiness", "sadness", "anger", "fear", "disgust", "surprise")

# A grey picture of 160 pixels a side, as large as a face.
_PIXELS = cv2.imencode(".jpg", np.full((160, 160, 3), 128, np.uint8))[1].tobytes()
_FACE = f"data:image/jpeg;base64,{base64.b64encode(_PIXELS).decode()}"
_WORDS = ("I", "did", "not", "know", "that", "is", "very", "good", "news", "we", "will", "see")

Event = dict[str, Any]

# Playwright's own socket takes 0.25 s for a message on a busy machine: too long for 8,000.
_SOCKET = """window.WebSocket = class extends EventTarget {
    constructor() {
        super();
        window.told = this;
        this.ready = this.tell(fetch("/told").then((answer) => answer.json()));
    }
    async tell(lines) {
        await this.ready;
        for (const data of await lines) this.dispatchEvent(new MessageEvent("message", { data }));
    }
    close() {}
}"""


class Told:
    """A page that shows one session, and what it is told of it.

    Attributes:
        page: the page.
        session: as the server would tell the session.
        events: what is told to whoever connects, in order.
    """

    def __init__(self, browser: Browser, events: Sequence[Event] = (), **session: Any) -> None:
        self.events = list(events)
        self.session: dict[str, Any] = {
            "id": SESSION,
            "kind": "camera",
            "name": "talk.mp4",
            "source": "talk.mp4",
            "state": "running",
            "room": None,
            "started": "2026-01-05T10:12:07.000+00:00",
            "duration": None,
            "time": 0.0,
            "utterances": 0,
            "last_seq": 0,
            "paused": False,
            "paused_by": [],
            "reason": None,
            "recorded": False,
            "film": False,
            **session,
        }
        self.page = new_page(browser, ORIGIN)
        self.page.context.route("**/*", self._answer)
        self.page.add_init_script(_SOCKET)

    def open(self) -> Page:
        """Show the session."""
        self.page.goto(f"/#session={SESSION}", timeout=SOON)
        return self.page

    def tell(self, *events: Event) -> None:
        """What happens next, while the session is shown."""
        self.events += events
        self.page.evaluate("lines => window.told.tell(lines)", self._lines()[-len(events) :])

    def _lines(self) -> list[str]:
        numbered = enumerate(self.events, 1)
        return [json.dumps({"seq": seq, "session": SESSION, **event}) for seq, event in numbered]

    def _answer(self, route: Route) -> None:
        path = route.request.url.removeprefix(ORIGIN).partition("?")[0]
        if path == "/":
            route.fulfill(path=REPO / "web" / "static" / "dashboard" / "index.html")
        elif path.startswith("/static/"):
            route.fulfill(path=REPO / "web" / path[1:])
        elif path == "/told":
            route.fulfill(json=self._lines())
        elif path == "/api/server":
            route.fulfill(
                json={
                    "state": "ready",
                    "profile": "embedded",
                    "stt": "moonshine-tiny",
                    "recording": False,
                    "keep_days": None,
                    "ice_servers": [],
                }
            )
        elif path == "/api/sessions":
            route.fulfill(json={"sessions": [self.session]})
        elif path == f"/api/sessions/{SESSION}":
            route.fulfill(json=self.session)
        elif path == f"/api/sessions/{SESSION}/overlay":
            route.fulfill(json={"path": f"/overlay/{SESSION}?token=sealed"})
        elif path.startswith(f"/api/sessions/{SESSION}/utterances/"):
            times = [{"time": n, "image": _FACE} for n in range(5)]
            wave = [[-abs(math.sin(n / 9)), abs(math.cos(n / 7))] for n in range(240)]
            inputs = {"faces": times, "waveform": wave, "duration": 1.5, "frame": [640, 480]}
            route.fulfill(json={"result": {}, "inputs": inputs})
        elif path.endswith("/sound.wav"):
            route.fulfill(body=b"RIFF", content_type="audio/wav")
        else:
            route.fulfill(status=404, json={"error": {"code": "unknown", "message": path}})


def told(count: int, seed: int = 1) -> Iterator[Event]:
    """Results and averages of `count` utterances, of two people; a sixth expresses something."""
    chance = random.Random(seed)
    sums = dict.fromkeys((*EMOTIONS, "neutral"), 0.0)
    yield {"type": "session.started", "time": 0.0, "source": "talk.mp4", "schema_version": 6}
    for number in range(1, count + 1):
        scores = {emotion: chance.betavariate(1.2, 12) for emotion in EMOTIONS}
        if chance.random() < 1 / 6:
            scores[chance.choice(EMOTIONS)] = chance.uniform(0.55, 0.95)
        scores["neutral"] = 1 - max(scores.values())
        words = " ".join(chance.choices(_WORDS, k=chance.randint(2, 9)))
        length = chance.uniform(0.8, 1.9)
        yield result(number, words, person=1 if number % 5 < 3 else 2, length=length, **scores)
        sums = {label: sums[label] + scores[label] for label in sums}
        means = {label: value / number for label, value in sums.items()}
        people = [
            {"id": id, "name": f"Speaker {id}", "utterances": number, "spoken": 1.0 * number}
            | _scores(means)
            for id in (1, 2)
        ]
        time = EVERY_S * number
        average = {"type": "average.updated", "time": time, "utterances": number}
        yield average | _scores(means) | {"speakers": people[: min(2, number)]}


def result(number: int, words: str, *, person: int, length: float = 1.5, **scores: float) -> Event:
    """An utterance.result; scores that are not named are 0.05."""
    start = EVERY_S * (number - 1) + 0.5
    moved = {"visual": 0.1, "acoustic": 0.02, "textual": -0.01}
    return {
        "type": "utterance.result",
        "session": SESSION,
        "time": start + length + 0.5,
        "utterance": number,
        "start": start,
        "end": start + length,
        "reason": "silence",
        "transcript": {
            "text": words,
            "engine": "moonshine-tiny",
            "confidence": 0.8,
            "words": [{"text": word, "start": start, "end": start + 0.2} for word in words.split()],
        },
        "speaker": {"id": person, "name": f"Speaker {person}", "by": "both", "confidence": 0.9},
        "faces": [{"time": start, "box": [120, 60, 96, 128], "confidence": 0.99}] * 5,
        "in_view": [],
        "modalities": ["visual", "acoustic", "textual"],
        "contributions": dict.fromkeys(EMOTIONS, moved),
        "adjusted": None,
        "latency": {"close_to_result": 0.3, "end_to_result": 0.7, "stages": {"stt": 0.1}},
        **_scores(scores),
    }


def ended(time: float, utterances: int) -> Event:
    """A session.ended."""
    return {
        "type": "session.ended",
        "time": time,
        "reason": "end",
        "utterances": utterances,
        "average": {},
    }


def _scores(scores: dict[str, float]) -> Event:
    emotions = {emotion: scores.get(emotion, 0.05) for emotion in EMOTIONS}
    return {
        "emotions": emotions,
        "neutral": scores.get("neutral", 0.6),
        "thresholds": dict.fromkeys(EMOTIONS, 0.5),
        "expressed": [emotion for emotion in EMOTIONS if emotions[emotion] > 0.5],
    }
