"""A dashboard, and browsers with a camera."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from browser import FakeDevices, chromium, dashboard
from pages import DESK, new_page, until
from playwright.sync_api import Browser, Page, Playwright, sync_playwright
from talks import Talk


@pytest.fixture(scope="package")
def address() -> Iterator[str]:
    with dashboard() as address:
        yield address


@pytest.fixture(scope="package")
def ended_session(address: str, talk: Talk) -> str:
    """The id of a session of two utterances that has ended: for tests that change nothing of it."""
    with httpx.Client(base_url=address, timeout=60) as http:
        with talk.path.open("rb") as clip:
            answer = http.post("/api/sessions", files={"video": clip}, data={"pace": "fast"})
        path = answer.headers["location"]
        until(lambda: http.get(path).json()["state"] == "ended")
    return str(answer.json()["id"])


@pytest.fixture(scope="package")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="package")
def talker(long_talk: Talk, tmp_path_factory: pytest.TempPathFactory) -> FakeDevices:
    return FakeDevices.of(long_talk.path, tmp_path_factory.mktemp("talker"), seconds=40)


@pytest.fixture(scope="package")
def camera_browser(playwright: Playwright, talker: FakeDevices) -> Iterator[Browser]:
    browser = chromium(playwright, devices=talker)
    yield browser
    browser.close()


@pytest.fixture(scope="package")
def tabs() -> list[Page]:
    """Those that the camera's browser has opened for `page`."""
    return []


@pytest.fixture
def page(camera_browser: Browser, address: str, tabs: list[Page]) -> Iterator[Page]:
    """A dashboard just loaded, with a camera, on which no error may go unseen.

    It is in the tab of the test before, unless that was closed: another takes 1.5 s of a core.
    """
    if not tabs or tabs[-1].is_closed():
        tabs.append(new_page(camera_browser, address))
    page = tabs[-1]
    errors: list[str] = page.errors  # type: ignore[attr-defined]
    errors.clear()
    page.goto("/")
    yield page
    for other in page.context.pages:
        if other is page:
            page.goto("about:blank")
            page.emulate_media(color_scheme="light")
            page.set_viewport_size(DESK)
        else:
            other.close()
    assert errors == []


@pytest.fixture(scope="package")
def plain_browser(playwright: Playwright) -> Iterator[Browser]:
    """A browser without camera and microphone."""
    with chromium(playwright) as browser:
        yield browser
