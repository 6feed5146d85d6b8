"""Take the pictures of the README: a portrait that may be published, over synthetic voices.

In: the astronaut of scikit-image (Eileen Collins, by NASA, public domain) and espeak-ng. Out: PNG
files in `web/screenshots`. Run: ``pip install scikit-image``, then ``python
tests/support/screenshots.py``.
"""

from __future__ import annotations

import io
import subprocess
import tempfile
import wave
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from browser import FakeDevices, chromium, dashboard
from checkout import REPO
from playwright.sync_api import Page, ViewportSize, expect, sync_playwright
from skimage.data import astronaut
from skimage.transform import resize

OUT = REPO / "web" / "screenshots"

WIDTH, HEIGHT, FPS = 640, 480, 12
SPEECH_HZ = 22_050  # what espeak-ng speaks at
PAUSE_S = 1.2

DESK: ViewportSize = {"width": 1280, "height": 860}
TALL_DESK: ViewportSize = {"width": 1280, "height": 1180}
PHONE: ViewportSize = {"width": 390, "height": 844}
WAIT_MS = 120_000

ANNA = (
    "I am so happy to see you, thank you very much.",
    "Oh my god, that is amazing.",
    "The meeting begins at ten in the morning.",
    "That is great, congratulations to all of you.",
    "I love it, I really love it.",
    "I did not know that.",
)
BEN = (
    "We will meet at the station in the afternoon.",
    "I hate it, it makes me so angry.",
    "Thank you, this is very good news.",
    "I am sorry, I am so sorry.",
)


def main() -> None:
    """Take all pictures anew."""
    OUT.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        dashboard() as address,
        sync_playwright() as playwright,
    ):
        anna = clip(Path(folder, "anna.mp4"), ANNA, voice="en-us+f3")
        ben = clip(Path(folder, "ben.mp4"), BEN, voice="en-us+m3", mirrored=True)
        devices = [FakeDevices.of(film, Path(folder), seconds=60) for film in (anna, ben)]
        with (
            chromium(playwright, devices=devices[0]) as first,
            chromium(playwright, devices=devices[1]) as second,
        ):
            take_dashboard(first.new_page(base_url=address, viewport=DESK))
            take_phone(first.new_page(base_url=address, viewport=PHONE, color_scheme="dark"))
            host = first.new_page(base_url=address, viewport=TALL_DESK, color_scheme="dark")
            guests = [browser.new_page(base_url=address) for browser in (first, second)]
            take_call(host, dict(zip(("Anna", "Ben"), guests, strict=True)))


def take_dashboard(page: Page) -> None:
    """One person, some utterances into a session."""
    page.goto("/")
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.locator(".average")).to_have_attribute("data-utterances", "5", timeout=WAIT_MS)
    take(page, "dashboard.png")
    page.close()


def take_phone(page: Page) -> None:
    """The same on a phone."""
    page.goto("/")
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.locator(".average")).to_have_attribute("data-utterances", "2", timeout=WAIT_MS)
    take(page, "phone.png")
    page.close()


def take_call(host: Page, guests: dict[str, Page]) -> None:
    """A call of two, as the host sees it."""
    host.goto("/")
    host.get_by_role("heading", name="Call").click()
    host.get_by_label("Who analyses?").fill("Dr Example")
    host.get_by_role("button", name="New call").click()
    link = host.get_by_label("Link for those who join")
    expect(link).not_to_have_value("")
    for name, guest in guests.items():
        guest.goto(link.input_value())
        guest.get_by_label("Your name").fill(name)
        guest.get_by_label("I have read this").check()
        guest.get_by_role("button", name="Join").click()
    for name in guests:
        average = host.get_by_role("article", name=name).locator(".average")
        expect(average).to_have_attribute("data-utterances", "3", timeout=WAIT_MS)
    take(host, "call.png")


def take(page: Page, name: str) -> None:
    """Take a picture of what is in view, once the newest utterance's faces are drawn."""
    expect(page.locator(".last .faces img")).not_to_have_count(0)
    page.wait_for_timeout(1500)
    page.screenshot(path=OUT / name)


def clip(path: Path, sentences: Sequence[str], *, voice: str, mirrored: bool = False) -> Path:
    """Write a film of the moving portrait over the sentences, with a pause after each."""
    pause = np.zeros(int(PAUSE_S * SPEECH_HZ), np.int16)
    sound = np.concatenate([pause, *(part for s in sentences for part in (say(s, voice), pause))])
    with av.open(str(path), "w") as film:
        pictures = film.add_stream("libx264", FPS, options={"crf": "16"})
        pictures.width, pictures.height, pictures.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        voices = film.add_stream("aac", SPEECH_HZ, layout="mono")
        for number in range(int(len(sound) / SPEECH_HZ * FPS)):
            picture = portrait(number / FPS)
            frame = av.VideoFrame.from_ndarray(picture[:, ::-1] if mirrored else picture)
            film.mux(pictures.encode(frame))
        frame = av.AudioFrame.from_ndarray(sound.reshape(1, -1), "s16", "mono")
        frame.sample_rate, frame.time_base = SPEECH_HZ, Fraction(1, SPEECH_HZ)
        film.mux([*voices.encode(frame), *voices.encode(None), *pictures.encode(None)])
    return path


def portrait(time_s: float) -> npt.NDArray[np.uint8]:
    """The portrait as a camera would see it at that time, uint8 (HEIGHT, WIDTH, 3)."""
    left, top = 30 + 8 * np.sin(0.9 * time_s), 10 + 5 * np.sin(1.3 * time_s)
    part = astronaut()[round(top) : round(top) + 288, round(left) : round(left) + 384]
    pixels: npt.NDArray[np.uint8] = (resize(part, (HEIGHT, WIDTH)) * 255).astype(np.uint8)
    return np.ascontiguousarray(pixels)


def say(sentence: str, voice: str) -> npt.NDArray[np.int16]:
    """A sentence in a synthetic voice, int16 (n,) at `SPEECH_HZ`."""
    command = ["espeak-ng", "--stdout", "-v", voice, "-s", "150", sentence]
    spoken = subprocess.run(command, check=True, capture_output=True).stdout
    with wave.open(io.BytesIO(spoken)) as reader:
        return np.frombuffer(reader.readframes(reader.getnframes()), np.int16)


if __name__ == "__main__":
    main()
