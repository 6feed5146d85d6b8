"""More than one person on the dashboard, and a shared tab, in a real Chromium."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import FakeDevices, chromium
from pages import BARS, LONG, SOON, expect_scores, new_page, rows, upload
from playwright.sync_api import Browser, Page, Playwright, expect
from talks import Talk

pytestmark = [pytest.mark.timeout(600), pytest.mark.slow]

TITLE = "A meeting in another tab"


def test_two_people_are_told_apart_renamed_and_become_one(page: Page, shared: Path) -> None:
    upload(page, shared / "media" / "two_people_interview.mp4", pace="fast")
    expect(page.locator(".average h3")).to_have_text("Final average", timeout=LONG)
    average = page.locator(".average")
    radios = average.get_by_role("radio")
    assert radios.count() >= 3  # everybody, and two people at least
    expect(average.get_by_role("radio", name="Everybody")).to_be_checked()
    expect(average.locator(".talks li")).to_have_count(radios.count() - 1)
    expect(average.locator(".talks li").first).to_have_text(
        re.compile(r"^Speaker 1 talks \d+ % of the time$")
    )
    for row in rows(page).all():
        expect(row.locator(".said")).to_have_text(re.compile(r"^(Speaker \d: )?\S"))
    expect(rows(page).locator(".name", has_text="Speaker 1: ").first).to_be_visible()
    expect(page.locator(".picture rect.speaks")).to_have_count(1)
    expect(page.locator(".picture text").first).to_have_text(re.compile(r"^Speaker \d$"))

    of_all = average.locator(".scores").evaluate(BARS)
    radios.first.focus()
    page.keyboard.press("ArrowRight")
    expect(average.get_by_role("radio", name="Speaker 1")).to_be_checked()
    expect_scores(average)
    expect(average.locator(".when")).to_have_text(re.compile(r"^over \d+ utterances?$"))
    assert average.locator(".scores").evaluate(BARS) != of_all

    average.get_by_label("Name").fill("Ann <b>")
    average.get_by_role("button", name="Rename").click()
    expect(average.get_by_role("radio", name="Ann <b>")).to_be_checked(timeout=SOON)
    expect(rows(page).locator(".name", has_text="Ann <b>: ").first).to_be_visible()
    expect(rows(page).locator(".name", has_text="Speaker 1")).to_have_count(0)
    page.reload()
    expect(average.get_by_role("radio", name="Ann <b>")).to_be_visible(timeout=SOON)

    people = average.get_by_role("radio").count() - 1
    average.get_by_role("radio", name="Speaker 2").check()
    average.get_by_label("Same person as").select_option("Ann <b>")
    average.get_by_role("button", name="Merge").click()
    expect(rows(page).locator(".name", has_text="Speaker 2")).to_have_count(0, timeout=SOON)
    if people > 2:
        expect(average.get_by_role("radio")).to_have_count(people)
    else:
        expect(average.locator(".speakers")).to_be_hidden()


@pytest.fixture(scope="module")
def sharing_browser(playwright: Playwright, talker: FakeDevices) -> Iterator[Browser]:
    """A browser that shares the tab of the meeting without asking, and has a microphone."""
    options = (
        f"--auto-select-tab-capture-source-by-title={TITLE}",
        "--autoplay-policy=no-user-gesture-required",
        # With Chromium's own yes to everything, it would share a made-up screen.
        *(o for o in talker.options() if "fake-ui" not in o),
    )
    with chromium(playwright, options=options, muted=False) as browser:
        yield browser


@pytest.fixture
def sharer(
    sharing_browser: Browser, talk: Talk, tmp_path: Path, address: str, muted: str
) -> Iterator[Page]:
    """A dashboard beside a tab in which somebody talks; or, `muted`, is only seen."""
    page = new_page(sharing_browser, address)
    page.context.grant_permissions(["microphone"])
    clip = talk.path.as_uri()
    meeting = tmp_path / "meeting.html"
    meeting.write_text(f"<title>{TITLE}</title><video src='{clip}' autoplay loop {muted}></video>")
    page.context.new_page().goto(meeting.as_uri())
    page.goto("/")
    page.get_by_role("heading", name="Tab, window or screen").click()
    yield page
    page.context.close()
    assert page.errors == []  # type: ignore[attr-defined]


@pytest.fixture
def muted() -> str:
    return ""


# With the microphone, the talk comes from there only.
@pytest.mark.parametrize(("microphone", "muted"), [(False, ""), (True, "muted")])
def test_a_tab_is_shared(sharer: Page, microphone: bool) -> None:
    page = sharer
    page.get_by_label("and my microphone").set_checked(microphone)
    page.get_by_role("button", name="Share").click()
    expect(rows(page).first).to_be_visible(timeout=LONG)
    expect(page.locator(".last .faces img").first).to_be_visible(timeout=SOON)
    expect(page.locator("#notice")).to_have_text("")
    expect(page.locator(".stage")).not_to_have_class(re.compile("mirrored"))
    # As when the person ends it in the browser's own bar.
    page.locator("video").evaluate(
        "video => video.srcObject.getVideoTracks()[0].dispatchEvent(new Event('ended'))"
    )
    expect(page.locator(".state")).to_have_text(re.compile("ended"), timeout=SOON)
    expect(rows(page).first).to_be_visible()


def test_sharing_without_sound_is_told(sharer: Page) -> None:
    page = sharer
    page.evaluate(
        """() => {
            const share = navigator.mediaDevices.getDisplayMedia.bind(navigator.mediaDevices);
            navigator.mediaDevices.getDisplayMedia = (wish) => share({ ...wish, audio: false });
        }"""
    )
    page.get_by_role("button", name="Share").click()
    expect(page.locator("#notice")).to_have_text(
        re.compile("gives no sound.*Only faces are analysed"), timeout=SOON
    )


def test_nothing_shared_is_told(sharer: Page) -> None:
    page = sharer
    page.evaluate(
        """() => {
            navigator.mediaDevices.getDisplayMedia = async () => {
                throw new DOMException("", "NotAllowedError");
            };
        }"""
    )
    page.get_by_role("button", name="Share").click()
    expect(page.locator("#screen .message")).to_contain_text("Nothing is shared")
