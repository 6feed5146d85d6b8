"""The pages in a real Chromium, before a real server: what a person does and sees there."""

from __future__ import annotations

import json
import re
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import networks
import psutil
import pytest
from browser import FakeDevices, chromium
from earlier import SESSION, store_earlier
from pages import BARS, LONG, SOON, expect_scores, expect_utterance, new_page, rows, until, upload
from playwright.sync_api import Browser, Page, Playwright, expect
from processes import running_server
from recordings import film, write
from talks import Talk
from web_client import loading, served

from web.settings import Limits, ServerSettings

pytestmark = [pytest.mark.timeout(600), pytest.mark.slow]


def start(page: Page) -> None:
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.locator("#stop")).to_be_visible(timeout=SOON)


def session_of(page: Page) -> dict[str, Any]:
    found = re.search(r"#session=(\w+)", page.url)
    assert found
    session: dict[str, Any] = page.request.get(f"/api/sessions/{found[1]}").json()
    return session


class TestCamera:
    def test_the_first_utterances_of_a_talker_are_seen(self, page: Page, long_talk: Talk) -> None:
        start(page)
        last = page.locator(".last")
        average = page.locator(".average")
        # While the models load, or on a busy machine, more than one may come at the same time.
        expect(last).to_have_attribute("data-utterance", re.compile("^[1-5]$"), timeout=LONG)
        expect(average).to_have_attribute("data-utterances", re.compile("^[1-5]$"), timeout=SOON)
        first_average = average.locator(".scores").evaluate(BARS)

        expect(rows(page).nth(5)).to_be_visible(timeout=LONG)
        page.locator("#stop").click()
        expect(average.locator("h3")).to_have_text("Final average", timeout=LONG)
        expect(average.locator(".voice")).to_have_text(re.compile(r"^Voice: pitch \d+ Hz \(\d"))
        assert average.get_attribute("data-utterances") == str(rows(page).count())
        assert average.locator(".scores").evaluate(BARS) != first_average

        seen, session = [], session_of(page)
        for number in range(1, rows(page).count() + 1):
            rows(page).nth(number - 1).click()
            answer = page.request.get(f"/api/sessions/{session['id']}/utterances/{number}")
            result = answer.json()["result"]
            expect_utterance(last, number, faces=len(result["faces"]))
            if result["faces"] and result["transcript"]["text"]:
                seen.append(result["start"])
        assert len(matched([said.start for said in long_talk.sentences[:6]], seen)) >= 5

    def test_the_light_the_captions_and_the_box_follow(self, page: Page) -> None:
        start(page)
        expect(page.locator(".light.on")).to_have_text("Speech", timeout=SOON)
        expect(page.locator(".caption.partial")).to_have_text(re.compile(r"\w"), timeout=SOON)
        expect(page.locator(".picture svg.on")).to_be_visible(timeout=SOON)
        assert page.locator(".picture rect").evaluate("box => box.width.baseVal.value") > 40
        expect(page.locator(".caption:not(.partial)")).to_have_text(re.compile(r"\w"), timeout=SOON)
        expect(page.locator(".spoken")).to_have_text(re.compile("expressed: "), timeout=SOON)
        assert page.locator("video").evaluate("video => video.videoWidth") == 320

    def test_closing_the_page_ends_its_session_and_keeps_what_was_found(
        self, page: Page, camera_browser: Browser, address: str
    ) -> None:
        start(page)
        expect(rows(page).first).to_be_visible(timeout=LONG)
        url = page.url
        page.close(run_before_unload=True)

        later = new_page(camera_browser, address)
        later.goto(url)
        expect(later.locator(".state")).to_have_text(re.compile("ended"), timeout=SOON)
        rows(later).first.click()
        expect(later.locator(".last")).to_have_attribute("data-utterance", "1")
        later.context.close()

    def test_a_reload_finds_the_session_again(self, page: Page) -> None:
        start(page)
        expect(rows(page).first).to_be_visible(timeout=LONG)
        page.reload()
        expect(rows(page).first).to_be_visible(timeout=SOON)
        expect(page.locator(".state")).to_have_text(re.compile("ended"), timeout=SOON)

    def test_microphone_only(self, page: Page) -> None:
        page.get_by_role("combobox", name="Camera").select_option("none")
        start(page)
        expect(page.locator(".note")).to_have_text(re.compile("Microphone only"))
        expect_utterance(page.locator(".last"), 1, faces=0)
        expect(page.locator(".no-inputs")).to_have_text("No face was found.")

    def test_camera_only(self, page: Page) -> None:
        page.get_by_role("combobox", name="Microphone").select_option("none")
        start(page)
        panel = page.locator(".last")
        expect(panel.locator(".faces img")).to_have_count(5, timeout=LONG)
        expect(panel.locator(".no-inputs")).to_have_text("There was no sound.")

    def test_refused_permission_is_explained(self, page: Page) -> None:
        page.evaluate(
            """() => {
                navigator.mediaDevices.getUserMedia = async () => {
                    throw new DOMException("", "NotAllowedError");
                };
            }"""
        )
        page.get_by_role("button", name="Start", exact=True).click()
        expect(page.locator("#camera .message")).to_contain_text("did not allow")

    def test_a_computer_without_devices_is_told_so(
        self, playwright: Playwright, address: str
    ) -> None:
        with chromium(playwright) as browser:
            page = new_page(browser, address)
            page.goto("/")
            page.get_by_role("button", name="Start", exact=True).click()
            expect(page.locator("#camera .message")).to_contain_text("No camera and no microphone")


class TestUpload:
    @pytest.mark.parametrize(
        ("clip", "playing"),
        [
            ("other_talk", "img.naturalWidth > 0"),  # MPEG-4 Visual: only the server can
            ("talk", "video.currentTime > 1"),
        ],
    )
    def test_live_pace_from_submit_to_clear(
        self, page: Page, request: pytest.FixtureRequest, clip: str, playing: str
    ) -> None:
        talk: Talk = request.getfixturevalue(clip)
        upload(page, talk.path, pace="live")
        expect(page.locator("article header progress")).to_be_visible(timeout=SOON)
        shown = (
            "() => { const [video, img] = document.querySelectorAll('.picture :is(video, img)');"
            f" return {playing}; }}"
        )
        until(lambda: page.evaluate(shown))  # Playwright's own waiting needs eval in the page
        expect(page.locator(".average h3")).to_have_text("Final average", timeout=SOON)
        expect_utterance(page.locator(".last"), rows(page).count())
        page.get_by_role("button", name="Clear").click()
        expect(page.locator("#choose")).to_be_visible()
        expect(page.locator(".file-name")).to_have_text("No file chosen yet.")
        expect(page.locator("#session-list")).to_contain_text(talk.path.name)

    def test_a_file_is_dropped(self, page: Page) -> None:
        page.get_by_role("heading", name="Video file").click()
        files = page.evaluate_handle(
            """() => {
                const files = new DataTransfer();
                files.items.add(new File(["x"], "dropped.mp4", { type: "video/mp4" }));
                return files;
            }"""
        )
        page.dispatch_event("#upload .drop", "drop", {"dataTransfer": files})
        expect(page.locator(".file-name")).to_contain_text("dropped.mp4")

    def test_a_high_film_is_analysed(self, page: Page, upright_talk: Talk) -> None:
        upload(page, upright_talk.path, pace="fast")
        expect(page.locator(".state")).to_have_text(re.compile("ended"), timeout=LONG)
        expect(page.locator(".average h3")).to_have_text("Final average", timeout=SOON)
        expect(rows(page)).to_have_count(2)

    @pytest.mark.parametrize("clip", ["crowd", "nobody"])
    def test_where_nobody_speaks_there_are_no_utterances(
        self, page: Page, request: pytest.FixtureRequest, clip: str
    ) -> None:
        upload(page, request.getfixturevalue(clip), pace="fast")
        expect(page.locator(".state")).to_have_text(re.compile("ended"), timeout=LONG)
        expect(rows(page)).to_have_count(0)

    def test_what_is_no_talk_is_refused_in_words(self, page: Page, tmp_path: Path) -> None:
        text = tmp_path / "talk.mp4"
        text.write_text("not a video")
        silent = write(tmp_path / "silent.mp4", frames=film(1))
        page.get_by_role("heading", name="Video file").click()
        for file, words in ((text, "talk.mp4"), (silent, "has no sound")):
            page.locator("#upload input[type=file]").set_input_files(file)
            page.get_by_role("button", name="Submit").click()
            expect(page.locator("#upload .message")).to_contain_text(words, timeout=SOON)


class TestReading:
    """What a person does with what was found."""

    @pytest.fixture
    def ended(self, page: Page, ended_session: str) -> Page:
        page.goto(f"/#session={ended_session}")
        expect(page.locator(".average h3")).to_have_text("Final average", timeout=LONG)
        return page

    def test_thresholds_move_what_is_expressed_everywhere(self, ended: Page) -> None:
        page = ended
        page.locator("summary", has_text="Thresholds").click()
        for emotion in ("happiness", "sadness", "anger", "fear", "disgust", "surprise"):
            page.get_by_role("slider", name=emotion).fill("0")
        for place in (".last .expressed", ".average .expressed"):
            expect(page.locator(place)).to_contain_text("happiness")
        expect(rows(page).first.locator(".found")).to_contain_text("surprise")
        page.locator("summary", has_text="Export").click()
        link = page.get_by_role("link", name="JSON", exact=True)
        expect(link).to_have_attribute("href", re.compile("thresholds=happiness:0"))
        with page.expect_download() as download:
            link.click()
        told = json.loads(Path(download.value.path()).read_text(encoding="utf-8"))
        assert "happiness" in json.dumps(told)

        page.get_by_role("slider", name="happiness").fill("1")
        expect(page.locator(".last .expressed")).not_to_contain_text("happiness")
        page.get_by_role("button", name="As the model says").click()
        expect(link).to_have_attribute("href", re.compile(r"results\.json$"))

    def test_neutral_stands_apart_from_the_six_in_every_chart(self, ended: Page) -> None:
        page = ended
        for card in (".last", ".average"):
            expect_scores(page.locator(card))
        columns = rows(page).first.locator("rect")
        expect(columns).to_have_count(7)
        expect(columns.last).to_have_class("neutral")
        expect(page.locator(".average .hint")).to_contain_text("none of the six is expressed")
        page.locator("summary", has_text="Thresholds").click()
        expect(page.get_by_role("slider")).to_have_count(6)

    def test_the_timeline_by_keyboard(self, ended: Page) -> None:
        page = ended
        count = rows(page).count()
        assert count > 1
        rows(page).last.focus()
        page.keyboard.press("Home")
        expect_utterance(page.locator(".last"), 1)
        expect(rows(page).first).to_have_attribute("aria-current", "true")
        page.keyboard.press("ArrowDown")
        expect_utterance(page.locator(".last"), 2)
        page.get_by_role("button", name="Follow the latest").click()
        expect_utterance(page.locator(".last"), count)

    def test_every_export_opens(self, ended: Page) -> None:
        page = ended
        page.locator("summary", has_text="Export").click()
        for link in page.locator("#exports a").all():
            answer = page.request.get(str(link.evaluate("link => link.href")))
            assert answer.ok
            assert answer.body()

    def test_the_report_is_drawn_in_its_sandbox(self, ended: Page) -> None:
        page = ended
        page.locator("summary", has_text="Export").click()
        with page.expect_popup() as opened:
            page.get_by_role("link", name="Report").click()
        report = opened.value
        expect(report.locator(".chart .main-svg").first).to_be_visible(timeout=SOON)
        policy: list[str] = []
        report.on("console", lambda line: policy.append(line.text))
        report.reload()  # from its beginning, now that somebody listens
        expect(report.locator(".chart .main-svg").first).to_be_visible(timeout=SOON)
        assert report.evaluate("origin") == "null"
        assert [line for line in policy if "Security Policy" in line] == []

    def test_deleting_a_session_clears_it_from_page_and_list(self, page: Page, talk: Talk) -> None:
        upload(page, talk.path, pace="fast")
        expect(page.locator(".average h3")).to_have_text("Final average", timeout=LONG)
        session = session_of(page)
        page.locator(f"[data-key=forget-{session['id']}]").click()
        expect(page.locator("#choose")).to_be_visible()
        expect(page.locator(f"[data-key=forget-{session['id']}]")).to_have_count(0)


def test_a_lost_line_is_found_again_and_nothing_comes_twice(
    camera_browser: Browser, address: str
) -> None:
    page = new_page(camera_browser, address)  # with a line of its own to lose
    page.goto("/")
    start(page)
    expect(rows(page).first).to_be_visible(timeout=LONG)
    page.context.set_offline(True)
    expect(page.locator(".connection")).to_have_text(re.compile("lost"), timeout=SOON)
    page.wait_for_timeout(5000)
    page.context.set_offline(False)
    expect(page.locator(".connection")).to_have_text("", timeout=SOON)
    page.locator("#stop").click()
    expect(page.locator(".state")).to_have_text(re.compile("ended"), timeout=SOON)
    expect(page.locator(".average h3")).to_have_text("Final average", timeout=SOON)
    assert rows(page).count() == session_of(page)["utterances"]
    page.context.close()


def test_a_laptop_sleeps_and_wakes(playwright: Playwright, talker: FakeDevices) -> None:
    settings = ServerSettings(limits=Limits(idle_s=12))
    others = family()
    with (
        served(settings, networks.load) as (address, _),
        chromium(playwright, devices=talker) as browser,
    ):
        page = new_page(browser, address)
        page.goto("/")
        start(page)
        expect(rows(page).first).to_be_visible(timeout=LONG)
        before = session_of(page)["id"]
        asleep = family() - others
        for process in asleep:
            process.suspend()
        until(lambda: session(address, before)["state"] == "ended")
        for process in asleep:
            process.resume()

        until(lambda: not page.evaluate("location.hash").endswith(before))
        expect(rows(page).first).to_be_visible(timeout=LONG)  # of a new session
        assert session_of(page)["state"] == "running"
        assert session(address, before)["utterances"] >= 1
        page.locator(f"[data-key=open-{before}]").click()
        expect(page.locator(".state")).to_have_text(re.compile("ended"), timeout=SOON)
        expect(rows(page).first).to_be_visible(timeout=SOON)


def test_closed_and_reloaded_pages_leave_nothing_behind(
    camera_browser: Browser, address: str
) -> None:
    server = running_server()
    others = {one["id"] for one in sessions(address)}

    def come_and_go() -> None:
        page = new_page(camera_browser, address)
        page.goto("/")
        start(page)
        expect(rows(page).first).to_be_visible(timeout=LONG)
        page.reload()
        page.get_by_role("button", name="New session").click()
        start(page)
        page.close(run_before_unload=True)
        page.context.close()
        until(lambda: not [s for s in sessions(address) if s["state"] != "ended"])
        for id in {one["id"] for one in sessions(address)} - others:
            assert httpx.delete(f"{address}/api/sessions/{id}").status_code == 204

    come_and_go()  # pools of threads fill, code is loaded
    come_and_go()
    threads, files, memory = use(server)
    come_and_go()
    come_and_go()
    until(lambda: use(server)[0] <= threads + 4)  # the pools for short work may still grow
    until(lambda: use(server)[1] <= files)
    assert use(server)[2] - memory < 60 * 2**20


def use(process: psutil.Process) -> tuple[int, int, int]:
    """Threads, open files and sockets, bytes of memory."""
    return process.num_threads(), process.num_fds(), process.memory_info().rss


def family() -> set[psutil.Process]:
    """All processes that this one has begun, and those they have."""
    return set(psutil.Process().children(recursive=True))


def sessions(address: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = httpx.get(f"{address}/api/sessions").json()["sessions"]
    return found


def session(address: str, id: str) -> dict[str, Any]:
    [found] = [one for one in sessions(address) if one["id"] == id]
    return found


def test_a_session_of_an_earlier_version_has_a_dash_for_neutral(
    camera_browser: Browser, tmp_path: Path
) -> None:
    store_earlier(tmp_path / "s.sqlite")
    with (
        loading() as never,
        served(ServerSettings(store=tmp_path / "s.sqlite"), never) as (address, _),
    ):
        page = new_page(camera_browser, address)
        page.goto(f"/#session={SESSION}")
        for card in (".last", ".average"):
            expect_scores(page.locator(card), neutral="\N{EN DASH}")
        page.context.close()
        assert page.errors == []  # type: ignore[attr-defined]


def test_a_source_of_the_server(camera_browser: Browser, talk: Talk) -> None:
    settings = ServerSettings(allow_paths=(talk.path.parent,))
    with served(settings, networks.load) as (address, _):
        page = new_page(camera_browser, address)
        page.goto("/")
        page.get_by_role("heading", name="Source of the server").click()
        form = page.locator("#server")
        form.get_by_label("Webcam, path or address").fill("/nowhere/talk.mp4")
        form.get_by_role("button", name="Open").click()
        expect(form.locator(".message")).to_contain_text("talk.mp4 lies in no folder", timeout=SOON)
        form.get_by_label("Webcam, path or address").fill(str(talk.path))
        form.get_by_role("button", name="Open").click()
        shown = "document.querySelector('.picture img')?.naturalWidth > 0"
        until(lambda: page.evaluate(shown))
        expect(page.locator(".average h3")).to_have_text("Final average", timeout=LONG)
        page.context.close()
        assert page.errors == []  # type: ignore[attr-defined]


def matched(truth: list[float], found: list[float], tolerance: float = 0.35) -> list[float]:
    """The true starts that were found, whatever the delay at which the recording began."""
    best: list[float] = []
    for delay in {there - here for here in truth for there in found}:
        near = [min(found, key=lambda f: abs(f - t - delay)) - t for t in truth]
        middle = median(n for n in near if abs(n - delay) <= tolerance)
        hits = [t for t, n in zip(truth, near, strict=True) if abs(n - middle) <= tolerance]
        best = max(best, hits, key=len)
    return best
