"""Calls in real browsers, and what every page owes to everybody."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from browser import FakeDevices, chromium, dashboard, violations
from pages import LONG, SOON, expect_utterance, new_page, rows, until
from party import TOKEN
from playwright.sync_api import Browser, Page, Playwright, expect
from talks import Talk
from tls_proxy import free_port, nginx

pytestmark = [pytest.mark.timeout(600), pytest.mark.slow]


class TestCall:
    def test_two_people_apart_meet_by_ipv6_behind_a_proxy_that_speaks_tls(
        self, camera_browser: Browser, playwright: Playwright, other_talk: Talk, tmp_path: Path
    ) -> None:
        port, behind = free_port(), free_port()
        origin = f"https://[::1]:{port}"
        proxied = ("--origin", origin, "--trusted-proxy", "127.0.0.1")
        other = FakeDevices.of(other_talk.path, tmp_path, seconds=8)
        with (
            dashboard("--token", TOKEN, "--port", str(behind), *proxied) as told,
            nginx(tmp_path, port, f"http://127.0.0.1:{behind}"),
            chromium(playwright, devices=other) as second_browser,
        ):
            assert told == origin
            host = new_page(camera_browser, origin)
            host.goto(f"/?token={TOKEN}")
            host.get_by_role("heading", name="Call").click()
            host.get_by_label("Who analyses?").fill("Dr Example")
            host.get_by_role("button", name="New call").click()
            field = host.get_by_label("Link for those who join")
            # It comes from the server.
            expect(field).to_have_value(re.compile(re.escape(origin)))
            anna, ben = new_page(camera_browser, origin), new_page(second_browser, origin)
            for guest, called in ((anna, "Anna"), (ben, "Ben")):
                join(guest, field.input_value(), called)
            for guest, seen in ((anna, "Ben"), (ben, "Anna")):
                tile = guest.locator(".tile", has_text=seen)
                expect(tile).to_be_visible(timeout=SOON)
                video = tile.locator("video").element_handle(timeout=SOON)
                assert video is not None
                until(lambda video=video: video.evaluate("video => video.videoWidth > 0"))  # type: ignore[misc]
                assert heard(guest, seen)

            people = {name: host.get_by_role("article", name=name) for name in ("Anna", "Ben")}
            for view in people.values():
                expect(rows(view).nth(1)).to_be_visible(timeout=LONG)
                rows(view).nth(1).click()  # which stays, whatever is said meanwhile
                # Pictures are lost where two cores play, encode and analyse two people.
                expect_utterance(view.locator(".last"), 2, faces=None)
            sizes = {
                name: view.locator("video").evaluate("v => v.videoWidth / v.videoHeight")
                for name, view in people.items()
            }
            assert sizes["Anna"] == pytest.approx(384 / 288, abs=0.05)
            assert sizes["Ben"] == pytest.approx(1, abs=0.05)
            assert violations(host) == []

            ben.get_by_role("button", name="Pause analysis of me").click()
            expect(people["Ben"].locator(".state")).to_contain_text("paused", timeout=SOON)
            expect(anna.locator(".tile", has_text="Ben")).to_contain_text(
                "not being analysed", timeout=SOON
            )
            ben.get_by_role("button", name="Leave").click()
            expect(ben.locator("#notice")).to_have_text("You have left the call.")
            expect(tile).to_have_count(0, timeout=SOON)
            expect(people["Ben"].locator(".state")).to_contain_text("ended", timeout=SOON)
            expect(people["Anna"].locator(".state")).not_to_contain_text("ended")
            before = rows(people["Anna"]).count()
            expect(rows(people["Anna"]).nth(before)).to_be_visible(timeout=SOON)
            for page in (host, anna, ben):
                assert page.errors == []  # type: ignore[attr-defined]
            for page in (host, anna):  # which leave their browser to others
                page.context.close()

    def test_nobody_joins_without_agreeing(self, page: Page) -> None:
        room = page.request.post("/api/calls", data={"name": "Dr Example"}).json()
        page.goto(room["link"])
        expect(page.locator("#before ~ p .host")).to_have_text("Dr Example")
        page.get_by_label("Your name").fill("Anna")
        page.get_by_role("button", name="Join").click()
        expect(page.locator("#join")).to_be_visible()
        assert page.request.get(f"/api/calls/{room['room']}").json()["participants"] == []


def join(page: Page, link: str, name: str) -> None:
    page.goto(link)
    page.get_by_label("Your name").fill(name)
    page.get_by_label("I have read this").check()
    page.get_by_role("button", name="Join").click()
    expect(page.get_by_role("button", name="Leave")).to_be_visible(timeout=SOON)


def heard(page: Page, name: str) -> bool:
    """Whether the sound of that person's tile is ever above silence, within some seconds."""
    tile = page.locator(".tile", has_text=name).locator("video")
    return bool(
        tile.evaluate(
            """async (video) => {
                const context = new AudioContext();
                await context.resume();
                const meter = context.createAnalyser();
                context.createMediaStreamSource(video.srcObject).connect(meter);
                const samples = new Float32Array(meter.fftSize);
                for (let i = 0; i < 200; i++) {
                    await new Promise((next) => setTimeout(next, 50));
                    meter.getFloatTimeDomainData(samples);
                    if (Math.max(...samples) > 0.02) return true;
                }
                return false;
            }"""
        )
    )


class TestEverybody:
    """The pages can be read by everybody, on what they have."""

    def test_no_violations_in_light_or_dark(self, page: Page, ended_session: str) -> None:
        found: list[str] = []

        def judge() -> None:
            for scheme in ("light", "dark"):
                page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
                found.extend(f"{scheme}: {each}" for each in violations(page))

        expect(page.locator("#server-state")).to_contain_text("Ready", timeout=SOON)
        judge()
        for name in ("Video file", "Source of the server", "Call"):
            page.get_by_role("heading", name=name).click()
            judge()
        page.goto(f"/#session={ended_session}")
        expect(page.locator(".average h3")).to_have_text("Final average", timeout=SOON)
        page.locator("summary", has_text="Thresholds").click()
        page.locator("summary", has_text="Export").click()
        page.get_by_role("slider", name="happiness").fill("0")
        rows(page).first.click()
        judge()
        page.goto("/api/docs")
        expect(page.locator("#event-list h3").first).to_be_visible()
        judge()
        page.goto(page.request.post("/api/calls", data={}).json()["link"])
        judge()
        assert found == []

    def test_a_phone_needs_no_sideways_scrolling(self, page: Page, ended_session: str) -> None:
        page.set_viewport_size({"width": 360, "height": 740})
        sideways = "document.documentElement.scrollWidth > innerWidth"
        assert not page.evaluate(sideways)
        page.goto(f"/#session={ended_session}")
        expect(page.locator(".average h3")).to_have_text("Final average", timeout=SOON)
        assert not page.evaluate(sideways)
