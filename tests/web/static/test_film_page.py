"""The film that a server keeps, watched again: of an upload after a reload, and of a camera."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from browser import dashboard
from pages import LONG, SOON, new_page, rows, upload
from playwright.sync_api import Browser, Page, expect
from talks import Talk
from told import Told, ended, result

pytestmark = pytest.mark.slow

expect.set_options(timeout=SOON)


@pytest.fixture(scope="module")
def recorder() -> Iterator[str]:
    """A dashboard that keeps films."""
    with dashboard("--record") as address:
        yield address


def expect_film(page: Page, address: str) -> list[dict[str, float]]:
    """The film of the server plays, with the words where they were said; gives the results."""
    id = page.url.partition("=")[2]
    path = f"/api/sessions/{id}/film"
    video = page.locator("article video")
    expect(video).to_have_js_property("controls", True)
    expect(video).to_have_js_property("src", f"{address}{path}")
    expect(page.locator(".review")).to_be_hidden()
    with httpx.Client(base_url=address, timeout=SOON) as http:
        events = http.get(f"/api/sessions/{id}/results.json").json()["utterances"]
    assert len(events) >= 2
    for number, event in reversed([*enumerate(events)]):
        rows(page).nth(number).click()
        expect(video).to_have_js_property("currentTime", event["start"])
        expect(page.locator(".caption")).to_contain_text(event["transcript"]["text"])
        video.evaluate("video => video.seeking && new Promise(seen => video.onseeked = seen)")
        assert video.evaluate("video => video.videoWidth") > 0
    cursor = page.locator(".over-time path.cursor")
    here = str(cursor.get_attribute("d"))
    video.evaluate("video => { video.muted = true; video.play() }")
    expect(cursor).not_to_have_attribute("d", here)
    video.evaluate("video => video.pause()")
    return events


def test_an_upload_is_watched_again_after_a_reload(
    plain_browser: Browser, recorder: str, talk: Talk
) -> None:
    page = new_page(plain_browser, recorder)
    page.goto("/")
    upload(page, talk.path, pace="fast")
    expect(page.locator(".average h3")).to_have_text("Final average", timeout=LONG)
    page.reload()
    expect_film(page, recorder)
    assert page.locator("article video").evaluate("video => video.duration") == pytest.approx(
        talk.duration, abs=0.3
    )
    assert page.errors == []  # type: ignore[attr-defined]
    page.context.close()


def test_a_camera_is_watched_again_when_its_session_has_ended(
    camera_browser: Browser, recorder: str
) -> None:
    page = new_page(camera_browser, recorder)
    page.goto("/")
    page.get_by_role("button", name="Start", exact=True).click()
    expect(rows(page).nth(2)).to_be_visible(timeout=LONG)
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(page.locator(".average h3")).to_have_text("Final average", timeout=LONG)
    expect_film(page, recorder)
    assert page.errors == []  # type: ignore[attr-defined]
    page.context.close()


def test_a_film_that_cannot_be_played_is_told(plain_browser: Browser) -> None:
    said = [result(1, "word 1", person=1), ended(10, 1)]
    page = Told(plain_browser, said, state="ended", recorded=True, film=True).open()
    expect(page.locator(".stage .note")).to_have_text("This browser cannot play this recording.")
    page.context.close()
