"""Links, cookies and what a guest reads and erases: a real Chromium, a server with a token."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from browser import FakeDevices, chromium, violations
from fastapi import FastAPI
from file_server import serving as files
from playwright.sync_api import Browser, Page, expect, sync_playwright
from talks import Talk
from web_client import loading, served

from web.sessions.hub import Hub
from web.settings import ServerSettings

TOKEN = "correct-horse-battery-staple"
SOON = 60_000  # ms; generous, for two busy cores

pytestmark = [pytest.mark.timeout(600), pytest.mark.slow]


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, FastAPI]]:
    """The address and the application of a server that records."""
    with loading() as load, served(ServerSettings(token=TOKEN, record=True), load) as found:
        yield found


@pytest.fixture(scope="module")
def browser(talk: Talk, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    devices = FakeDevices.of(talk.path, tmp_path_factory.mktemp("talker"), seconds=4)
    rules = "--host-resolver-rules=MAP dashboard.test 127.0.0.1"
    with (
        sync_playwright() as playwright,
        chromium(playwright, devices=devices, options=(rules,)) as browser,
    ):
        yield browser


def new_page(browser: Browser, address: str) -> Page:
    """Of a person who has never been here, and says yes to everything."""
    page = browser.new_page(base_url=address)
    errors: list[str] = []
    page.errors = errors  # type: ignore[attr-defined]
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda line: "Security Policy" in line.text and errors.append(line.text))
    page.on("dialog", lambda dialog: dialog.accept())
    return page


@pytest.fixture
def host(browser: Browser, server: tuple[str, FastAPI]) -> Iterator[Page]:
    """The page of the host of a new call."""
    host = new_page(browser, server[0])
    host.goto(f"/?token={TOKEN}")
    assert host.url == f"{server[0]}/"
    host.get_by_role("heading", name="Call").click()
    host.get_by_label("Who analyses?").fill("Dr Example")
    host.get_by_role("button", name="New call").click()
    link_of(host)
    yield host
    assert host.errors == []  # type: ignore[attr-defined]
    host.context.close()


def link_of(host: Page) -> str:
    """By which others join, as the host reads it."""
    field = host.get_by_label("Link for those who join")
    expect(field).to_have_value(re.compile("/calls/.*token="), timeout=SOON)
    return field.input_value()


def test_a_guest_joins_and_has_everything_erased(
    browser: Browser, server: tuple[str, FastAPI], host: Page
) -> None:
    address, app = server
    link = link_of(host)
    hub: Hub = app.state.hub
    guest = new_page(browser, address)
    with page_elsewhere(f'<a href="{link}">Join our call</a>') as elsewhere:
        guest.goto(elsewhere)  # as somebody reads mail in a browser
        guest.get_by_role("link").click()
        expect(guest.get_by_role("heading", name="Before you join")).to_be_visible(timeout=SOON)
    assert "token" not in guest.url
    expect(guest.get_by_text("keeps your voice and your face")).to_be_visible(timeout=SOON)
    expect(guest.get_by_text("Not kept:")).to_be_hidden()
    expect(guest.locator("#erasing")).to_be_hidden()

    join(guest)
    expect(guest.locator("#analysis")).to_have_text("You are being analysed and recorded.")
    assert violations(guest) == []
    assert [hosted.name for hosted in hub.sessions.values()] == ["Anna"]
    guest.locator("#controls").get_by_role("button", name="Erase what was found of me").click()
    expect(guest.locator("#notice")).to_have_text(
        "What was found of you has been erased.", timeout=SOON
    )
    expect(guest.locator("#join")).to_be_visible()
    expect(guest.locator("#erasing")).to_be_hidden()
    assert not hub.sessions

    join(guest)
    guest.get_by_role("button", name="Leave").click()
    expect(guest.locator("#erasing")).to_be_visible()
    guest.reload()
    later = guest.locator("#erasing").get_by_role("button")
    expect(later).to_be_visible()
    assert violations(guest) == []
    assert len(hub.sessions) == 1
    later.click()
    expect(guest.locator("#notice")).to_have_text(
        "What was found of you has been erased.", timeout=SOON
    )
    expect(guest.locator("#erasing")).to_be_hidden()
    assert not hub.sessions
    assert guest.errors == []  # type: ignore[attr-defined]
    guest.context.close()


def test_the_host_pauses_removes_and_ends(
    browser: Browser, server: tuple[str, FastAPI], host: Page
) -> None:
    address, app = server
    anna, ben = new_page(browser, address), new_page(browser, address)
    anna.goto(link_of(host))
    join(anna)
    expect(anna.locator("#host-watching")).to_have_text("Dr Example is watching now.", timeout=SOON)
    of_anna = host.get_by_role("article", name="Anna")
    pause = of_anna.get_by_role("button", name="Pause analysis")

    anna.get_by_role("button", name="Pause analysis of me").click()
    expect(anna.locator("#analysis")).to_contain_text("You have paused", timeout=SOON)
    expect(of_anna.locator(".state")).to_contain_text("paused by this person", timeout=SOON)
    pause.click()
    expect(host.locator("#notice")).to_contain_text("only the person can resume", timeout=SOON)
    anna.get_by_role("button", name="Pause analysis of me").click()
    expect(anna.locator("#analysis")).to_have_text("You are being analysed and recorded.")
    expect(pause).to_have_attribute("aria-pressed", "false", timeout=SOON)
    pause.click()
    expect(anna.locator("#analysis")).to_contain_text("The host has paused", timeout=SOON)

    ben.goto(link_of(host))
    join(ben, "Ben")
    expect(anna.locator(".tile", has_text="Ben")).to_be_visible(timeout=SOON)
    assert violations(host) == []
    old = link_of(host)
    host.get_by_role("button", name="New link").click()
    shown = host.get_by_label("Link for those who join")
    expect(shown).not_to_have_value(old, timeout=SOON)
    by_ben = link_of(host)
    host.get_by_role("article", name="Ben").get_by_role("button", name="Remove").click()
    title = ben.get_by_role("heading", name="You were removed from this call")
    expect(title).to_be_visible(timeout=SOON)
    expect(shown).not_to_have_value(by_ben, timeout=SOON)  # nor can he come back by another browser
    expect(anna.locator(".tile", has_text="Ben")).to_have_count(0, timeout=SOON)

    host.get_by_role("button", name="End call for all").click()
    expect(anna.get_by_role("heading", name="This call is over")).to_be_visible(timeout=SOON)
    expect(anna.get_by_text("the host has ended this call")).to_be_visible()
    expect(host.locator("#notice")).to_contain_text("This call is over", timeout=SOON)
    assert violations(anna) == []
    anna.get_by_role("button", name="Erase what was found of me").click()
    expect(anna.locator("#notice")).to_have_text(
        "What was found of you has been erased.", timeout=SOON
    )
    assert [hosted.name for hosted in app.state.hub.sessions.values()] == ["Ben"]
    ben.get_by_role("button", name="Erase what was found of me").click()
    expect(ben.locator("#erasing")).to_be_hidden(timeout=SOON)
    for guest in (anna, ben):
        assert guest.errors == []  # type: ignore[attr-defined]
        guest.context.close()


def test_a_page_elsewhere_neither_asks_nor_frames(
    browser: Browser, server: tuple[str, FastAPI]
) -> None:
    address, app = server
    page = new_page(browser, address)
    page.goto(f"/?token={TOKEN}")
    before = len(app.state.hub.sessions)
    with page_elsewhere(f'<iframe src="{address}/"></iframe>') as elsewhere:
        page.goto(elsewhere)
        # The most that such a page can do: it never reads the answer, but the request goes out.
        page.evaluate(
            """async (address) => {
                const body = new URLSearchParams({ name: "x" });
                await fetch(`${address}/api/calls`, { method: "POST", mode: "no-cors", body,
                    credentials: "include" }).catch(() => {});
            }""",
            address,
        )
        told = page.evaluate(
            """(address) => new Promise((resolve) => {
                const socket = new WebSocket(`${address}/api/ingest`);
                socket.onmessage = ({ data }) => resolve(JSON.parse(data).error.code);
            })""",
            address.replace("http", "ws"),
        )
        assert told == "foreign_origin"
        page.wait_for_timeout(500)
        assert all("Live emotion" not in frame.content() for frame in page.frames[1:])
    assert any("frame-ancestors" in line for line in page.errors)  # type: ignore[attr-defined]
    page.goto("/")
    calls = page.evaluate("fetch('/api/calls').then((answer) => answer.json())")
    assert "x" not in {call["name"] for call in calls["calls"]}
    assert len(app.state.hub.sessions) == before
    page.context.close()


def test_who_has_no_link_is_told_so(browser: Browser, server: tuple[str, FastAPI]) -> None:
    page = new_page(browser, server[0])
    for path in ("/", "/?token=wrong", "/calls/x"):
        page.goto(path)
        expect(page.get_by_role("heading")).to_have_text("Open the link you were given")
    assert violations(page) == []
    assert page.errors == []  # type: ignore[attr-defined]
    page.context.close()


def test_an_insecure_page_says_so(browser: Browser, server: tuple[str, FastAPI]) -> None:
    page = new_page(browser, server[0].replace("127.0.0.1", "dashboard.test"))
    page.goto(f"/?token={TOKEN}")
    expect(page.locator("#camera .message")).to_contain_text("secure pages only")
    page.context.close()


def join(guest: Page, name: str = "Anna") -> None:
    guest.get_by_label("Your name").fill(name)
    guest.get_by_label("I have read this").check()
    guest.get_by_role("button", name="Join").click()
    expect(guest.get_by_role("button", name="Leave")).to_be_visible(timeout=SOON)


@contextmanager
def page_elsewhere(body: str) -> Iterator[str]:
    """A page on another site, which `localhost` is for `127.0.0.1`; gives its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(f"<!doctype html><title>Mail</title>{body}".encode())

        def log_message(self, format: str, *arguments: object) -> None:
            """Tests have nothing to log."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    with files(server):
        yield f"http://localhost:{server.server_port}/"
