"""The recording for those without a camera: what is seen of it, and how soon."""

from __future__ import annotations

import json
import re

import httpx
import pytest
from browser import violations
from checkout import REPO
from pages import LONG, SOON, new_page, rows
from playwright.sync_api import Browser, expect

SAMPLE = REPO / "web" / "static" / "sample" / "talk.mp4"
RESULTS_S = 20  # somebody without a camera sees results so soon


def test_it_is_small() -> None:
    assert SAMPLE.stat().st_size <= 150_000


@pytest.mark.slow
def test_somebody_without_a_camera_tries_it(plain_browser: Browser, address: str) -> None:
    page = new_page(plain_browser, address)
    page.goto("/")
    page.get_by_role("button", name="Try it with a sample").click()
    hints = page.get_by_role("region", name="What you see")
    expect(hints.get_by_role("listitem")).to_have_count(3, timeout=SOON)
    expect(rows(page)).to_have_count(4, timeout=LONG)
    expect(page.locator(".average h3")).to_have_text("Final average", timeout=LONG)
    assert page.locator("video").evaluate("video => video.videoWidth") == 320
    assert violations(page) == []
    session = page.url.partition("=")[2]
    lines = httpx.get(f"{address}/api/sessions/{session}/results.jsonl").text.splitlines()
    results = [event for event in map(json.loads, lines) if event["type"] == "utterance.result"]
    assert results[0]["time"] < RESULTS_S / 2, "half of the time is for the models to load"
    assert all("happiness" in result["expressed"] for result in results), "she smiles"
    assert all(
        result["faces"] and re.search(r"\w", result["transcript"]["text"]) for result in results
    )
    hints.get_by_role("button", name="Close").click()
    expect(hints).to_be_hidden()
    page.get_by_role("button", name="Clear").click()
    expect(page.get_by_role("button", name="Try it with a sample")).to_be_visible()
    page.context.close()
    assert page.errors == []  # type: ignore[attr-defined]
