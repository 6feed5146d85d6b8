"""The dashboard in a real browser: what a person does there, and what is then to be seen."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Browser, Locator, Page, ViewportSize, expect

SOON = 60_000  # ms; generous, for two busy cores


LONG = 240_000

DESK: ViewportSize = {"width": 1280, "height": 800}


def new_page(browser: Browser, address: str) -> Page:
    # A context of our own may have more pages than this one.
    context = browser.new_context(
        base_url=address,
        viewport=DESK,
        ignore_https_errors=True,  # where a test has made the certificate
    )
    page = context.new_page()
    errors: list[str] = []
    page.errors = errors  # type: ignore[attr-defined]
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda line: "Security Policy" in line.text and errors.append(line.text))
    page.on("dialog", lambda dialog: dialog.accept())
    return page


def upload(page: Page, clip: Path, *, pace: str) -> None:
    page.get_by_role("heading", name="Video file").click()
    form = page.locator("#upload")
    form.locator("input[type=file]").set_input_files(clip)
    form.locator(f"input[value={pace}]").check()
    form.get_by_role("button", name="Submit").click()
    expect(page.locator("article.session")).to_be_visible(timeout=SOON)


def rows(scope: Page | Locator) -> Locator:
    return scope.locator(".timeline li button")


def expect_utterance(panel: Locator, number: int, *, faces: int | None = 5) -> None:
    """The panel shows all there is to one utterance, with so many face crops (None: any number)."""
    expect(panel).to_have_attribute("data-utterance", str(number), timeout=SOON)
    expect_scores(panel)
    expect(panel.locator(".expressed")).to_have_text(re.compile(r"^expressed: \w"))
    if faces is None:
        expect(panel.locator(".faces img").first).to_be_attached(timeout=SOON)
    else:
        expect(panel.locator(".faces img")).to_have_count(faces, timeout=SOON)
    for face in panel.locator(".faces img").all():
        assert face.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
    expect(panel.locator(".waveform path")).to_have_attribute("d", re.compile("^M.*L.*Z$"))
    expect(panel.locator(".words")).to_have_text(re.compile(r"\w"))
    expect(panel.locator(".delay")).to_have_text(re.compile(r"Result \d+\.\d\d s after"))


def expect_scores(card: Locator, neutral: str = r"\d\.\d\d") -> None:
    """The card shows six bars with a line at each threshold, and neutral apart, without a line."""
    chart = card.locator(".scores")
    expect(chart.locator(".bar")).to_have_count(7)
    expect(chart.locator(".threshold")).to_have_count(6)
    expect(chart.locator(".label")).to_have_count(7)
    expect(chart.locator(".label", has_text="neutral")).to_be_visible()
    expect(chart.locator(".value").last).to_have_text(re.compile(f"^{neutral}$"))
    words = re.compile(rf"\(threshold \d\.\d\d\); apart from these neutral {neutral}; expressed: ")
    expect(chart).to_have_attribute("aria-label", words)
    tops: list[float] = chart.evaluate(
        "chart => [...chart.querySelectorAll('.row')].map(row => row.getBoundingClientRect().top)"
    )
    assert tops == sorted(tops)
    assert tops[6] - tops[5] > tops[5] - tops[4]  # it stands apart


BARS = "chart => [...chart.querySelectorAll('.bar')].map(bar => bar.style.width)"
"""As they are drawn, not rounded as they are read."""


def until(condition: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.5)
