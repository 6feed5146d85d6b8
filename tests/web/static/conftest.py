"""A dashboard, and browsers with a camera."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from browser import FakeDevices, chromium, dashboard
from pages import new_page
from playwright.sync_api import Browser, Page, Playwright, sync_playwright
from talks import Talk


@pytest.fixture(scope="package")
def address() -> Iterator[str]:
    with dashboard() as address:
        yield address


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


@pytest.fixture
def page(camera_browser: Browser, address: str) -> Iterator[Page]:
    """A fresh dashboard, with a camera, on which no error may go unseen."""
    page = new_page(camera_browser, address)
    page.goto("/")
    yield page
    page.context.close()
    assert page.errors == []  # type: ignore[attr-defined]


@pytest.fixture(scope="package")
def plain_browser(playwright: Playwright) -> Iterator[Browser]:
    """A browser without camera and microphone."""
    with chromium(playwright) as browser:
        yield browser
