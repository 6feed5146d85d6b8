"""The overlay in a real Chromium, before a real server: what a streaming program shows of it."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from browser import violations
from found import result
from pages import SOON, new_page
from party import TOKEN
from PIL import Image
from playwright.sync_api import Browser, Page, expect
from storing import partial
from told import Told
from web_client import loading, served
from websockets.sync.client import connect

from realtime.events import Event
from web.settings import ServerSettings

pytestmark = pytest.mark.slow

expect.set_options(timeout=SOON)


class OnAir:
    """A session on a server with a token, and what is told of it.

    Attributes:
        address: of the server.
        session: its id.
        path: of the overlay.
    """

    def __init__(self, address: str, app: Any, session: str) -> None:
        self.address = address
        self.session = session
        self.path = app.state.keys.overlay(session)
        self._hub = app.state.hub

    def tell(self, *events: Event) -> None:
        """What happens next in the session."""
        for event in events:
            record = self._hub.get(self.session).record
            self._hub._loading.get_loop().call_soon_threadsafe(record, event)

    def open(self, browser: Browser, options: str = "") -> Page:
        """The overlay, once it follows the session, as a streaming program opens it."""
        page = new_page(browser, self.address)
        with page.expect_websocket():
            page.goto(f"{self.path}{options}")
        return page


@pytest.fixture(scope="module")
def on_air(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OnAir]:
    store = tmp_path_factory.mktemp("store") / "sessions.sqlite"
    as_host = {"Authorization": f"Bearer {TOKEN}"}
    with loading() as load, served(ServerSettings(token=TOKEN, store=store), load) as (there, app):
        ingest = there.replace("http", "ws") + "/api/ingest"
        with connect(ingest, additional_headers=as_host) as device:
            device.send('{"type": "start"}')
            yield OnAir(there, app, json.loads(device.recv())["session"])


def shown(page: Page) -> np.ndarray[Any, Any]:
    """How much of each pixel is not transparent: uint8 (height, width)."""
    picture = Image.open(io.BytesIO(page.screenshot(omit_background=True)))
    return np.asarray(picture.convert("RGBA"))[:, :, 3]


def test_captions_and_bars_stand_on_nothing(on_air: OnAir, plain_browser: Browser) -> None:
    on_air.tell(result(1, "said before the overlay was there", 0.9))
    page = on_air.open(plain_browser)
    assert shown(page).max() == 0, "nothing to show"
    on_air.tell(partial(on_air.session, 2, "set green"))
    expect(page.locator("#caption.partial")).to_have_text("set green")
    expect(page.locator("#bars")).to_be_hidden()
    on_air.tell(result(2, "set green <b>now</b>", 0.9))
    expect(page.locator("#caption:not(.partial)")).to_have_text("set green <b>now</b>")
    rows = page.locator("#bars li")
    expect(rows).to_have_count(7)
    expect(page.locator("#bars .expressed .name")).to_have_text("happiness")
    expect(rows.first.locator(".value")).to_have_text("0.90")
    expect(rows.last).to_have_text(re.compile("neutral.*0.25"))
    expect(rows.last.locator(".threshold")).to_have_count(0)
    seen = shown(page)
    height, width = seen.shape
    for box in (page.locator("#caption").bounding_box(), page.locator("#bars").bounding_box()):
        assert box
        middle = round(box["y"] + box["height"] / 2), round(box["x"] + box["width"] / 2)
        assert seen[middle] > 200
    assert np.count_nonzero(seen) < 0.4 * seen.size
    assert seen[height // 2, : width // 2].max() == 0
    size = page.locator("#caption").evaluate(
        "caption => parseFloat(getComputedStyle(caption).fontSize)"
    )
    assert size > height / 25
    page.context.close()


def test_the_themes_and_the_parts(on_air: OnAir, plain_browser: Browser) -> None:
    for options, caption, bars in (
        ("&theme=light", True, True),
        ("&theme=dark&show=captions", True, False),
        ("&show=bars", False, True),
    ):
        page = on_air.open(plain_browser, options)
        on_air.tell(result(3, "set green", 0.9))
        expect(page.locator("#bars .expressed")).to_have_count(1)
        expect(page.locator("#caption")).to_be_visible(visible=caption)
        expect(page.locator("#bars")).to_be_visible(visible=bars)
        assert violations(page) == []
        page.context.close()


def test_it_comes_back_by_itself_and_what_is_over_goes(
    on_air: OnAir, plain_browser: Browser
) -> None:
    page = new_page(plain_browser, on_air.address)
    page.clock.install()
    with page.expect_websocket():
        page.goto(on_air.path)
    on_air.tell(result(4, "before the break", 0.9))
    expect(page.locator("#caption")).to_have_text("before the break")
    page.clock.run_for(8500)
    assert shown(page).max() == 0, "nobody has said anything for a while"
    page.clock.resume()
    page.context.set_offline(True)
    on_air.tell(partial(on_air.session, 5, "while it"), result(5, "while it was away", 0.2))
    page.wait_for_timeout(1000)
    assert shown(page).max() == 0
    page.context.set_offline(False)
    expect(page.locator("#caption")).to_have_text("while it was away")
    expect(page.locator("#bars li.expressed")).to_have_count(0)
    page.context.close()


def test_without_its_token_nobody_sees_anything(on_air: OnAir, plain_browser: Browser) -> None:
    page = new_page(plain_browser, on_air.address)
    with page.expect_response("**/api/sessions/*") as asked:
        page.goto(on_air.path.partition("?")[0])
    assert asked.value.status == 401
    on_air.tell(result(6, "not for everybody", 0.9))
    page.wait_for_timeout(1000)
    assert shown(page).max() == 0
    page.context.close()


def test_the_page_gives_its_address_away(plain_browser: Browser) -> None:
    page = Told(plain_browser).open()
    page.get_by_text("Overlay for OBS").click()
    field = page.get_by_label("Address for a source")
    expect(field).to_have_value(re.compile(r"^http://localhost:1/overlay/\w+\?token=sealed$"))
    address = field.input_value()
    assert address == page.locator("#overlay a").get_attribute("href")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.locator("#overlay").get_by_role("button", name="Copy").click()
    expect(page.locator("#overlay").get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == address
    assert violations(page) == []
    page.context.close()
