"""Take the pictures of the README: a portrait that may be published, over synthetic voices.

In: the portrait and the voices of `talks`. Out: PNG files in `web/screenshots`. Run: ``python
tests/support/screenshots.py``.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from browser import FakeDevices, chromium, dashboard
from checkout import REPO
from playwright.sync_api import Page, ViewportSize, expect, sync_playwright
from talks import MAN, WOMAN, film

OUT = REPO / "web" / "screenshots"

SIZE = 640, 480
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
        anna = film(Path(folder, "anna.mp4"), ANNA, voice=WOMAN, size=SIZE)
        ben = film(Path(folder, "ben.mp4"), BEN, voice=MAN, size=SIZE, mirrored=True)
        devices = [FakeDevices.of(talk.path, Path(folder), seconds=60) for talk in (anna, ben)]
        with (
            chromium(playwright, devices=devices[0]) as first,
            chromium(playwright, devices=devices[1]) as second,
        ):
            take_dashboard(first.new_page(base_url=address, viewport=DESK))
            take_overlay(first.new_context(base_url=address, viewport=DESK).new_page())
            take_review(second.new_context(base_url=address, viewport=DESK).new_page(), anna.path)
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


def take_overlay(page: Page) -> None:
    """The overlay, over the colours of a picture that a streaming program would show behind it."""
    page.goto("/")
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.locator(".average")).to_have_attribute("data-utterances", "1", timeout=WAIT_MS)
    address = page.get_by_label("Address for a source").input_value()
    overlay = page.context.new_page()
    overlay.set_viewport_size({"width": 960, "height": 540})
    overlay.goto(address)
    behind = "linear-gradient(160deg, #36506b, #8a6f52)"
    overlay.evaluate("colours => (document.documentElement.style.background = colours)", behind)
    expect(overlay.locator("#bars .expressed")).not_to_have_count(0, timeout=WAIT_MS)
    overlay.screenshot(path=OUT / "overlay.png")
    overlay.close()
    page.close()


def take_review(page: Page, film: Path) -> None:
    """A recording that is watched again, with a note; and its report."""
    page.goto("/")
    page.get_by_role("heading", name="Video file").click()
    page.locator("#upload input[type=file]").set_input_files(film)
    page.get_by_label("as fast as possible", exact=True).check()
    page.get_by_role("button", name="Submit").click()
    expect(page.locator(".average h3")).to_have_text("Final average", timeout=WAIT_MS)
    page.locator(".review input[type=file]").set_input_files(film)
    page.get_by_role("button", name="Next expressed").click()
    page.locator(".notes summary").click()
    page.get_by_label("Your note at").fill("said this when I showed the price")
    page.get_by_role("button", name="Add").click()
    expect(page.locator(".notes li")).to_have_count(1)
    page.get_by_role("button", name="Next expressed").click()
    page.locator("#views").scroll_into_view_if_needed()
    take(page, "review.png")
    page.get_by_text("Export", exact=True).click()
    with page.context.expect_page() as opened:
        page.get_by_role("link", name="Report").click()
    report = opened.value
    report.set_viewport_size({"width": 1000, "height": 1180})
    expect(report.locator(".main-svg")).not_to_have_count(0)
    report.wait_for_timeout(1500)
    report.screenshot(path=OUT / "report.png")
    report.close()
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


if __name__ == "__main__":
    main()
