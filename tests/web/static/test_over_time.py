"""The scores over time, the film beside them, notes, and the signs explained; on pages that are
told made-up events."""

from __future__ import annotations

import re
from typing import Any

import pytest
from browser import violations
from pages import SOON, rows, until
from playwright.sync_api import Browser, Locator, Page, Route, expect
from talks import Talk
from told import SESSION, Told, ended, result, told

pytestmark = pytest.mark.slow

expect.set_options(timeout=SOON)

EXPRESSED = ".over-time path.expressed"


def bars(page: Page, name: str) -> int:
    """How many bars the chart has of that name."""
    drawn = page.locator(f".over-time path.{name}").get_attribute("d") or ""
    return drawn.count("M")


def few(count: int = 4) -> list[dict[str, Any]]:
    """Utterances of two people who take turns; every second one is happy."""
    return [
        result(n, f"word {n}", person=2 - n % 2, happiness=0.9 if n % 2 == 0 else 0.1)
        for n in range(1, count + 1)
    ]


def heard(kind: str, start: float, end: float) -> dict[str, Any]:
    about = {"kind": kind, "start": start, "end": end, "confidence": 0.8}
    return {"type": "sound.event", "session": SESSION, "time": end, **about}


def at(page: Page, utterance: int) -> dict[str, float]:
    """Where in the chart an utterance's happiness is drawn."""
    chart = page.locator(".over-time svg")
    box = chart.bounding_box()
    drawn = chart.locator("path.expressed").get_attribute("d") or ""
    lefts = [float(left) for left in re.findall(r"M([\d.]+),", drawn)]
    assert box
    return {"x": lefts[utterance // 2 - 1] + 2, "y": 14 + 20}


def test_sounds_are_marked_and_counted_also_where_nobody_speaks(plain_browser: Browser) -> None:
    live = Told(plain_browser)
    page = live.open()
    expect(page.locator("article.session")).to_be_visible()
    laughs = [
        heard("laughter", 4.0, 7.0),
        heard("applause", 9.5, 20),
        heard("laughter", 64.0, 65.0),
    ]
    live.tell(*laughs)
    expect(page.locator(".over-time .sounds")).to_have_text(
        "Heard: laughter 2 times (last at 1:04), applause once (at 0:09)"
    )
    assert bars(page, "heard") == 3
    drawn = page.locator(".over-time path.heard").get_attribute("d") or ""
    (left, *_) = (float(x) for x in re.findall(r"M([\d.]+),", drawn))
    page.locator(".over-time svg").hover(position={"x": left + 2, "y": 11})
    expect(page.locator(".tip")).to_have_text("0:04.0\N{EN DASH}0:07.0[laughter]")
    live.tell(*few())
    expect(page.locator(".over-time .when")).to_have_text("4 utterances")
    assert not violations(page)


def test_the_chart_grows_and_opens_what_is_chosen(plain_browser: Browser) -> None:
    live = Told(plain_browser)
    page = live.open()
    expect(page.locator("article.session")).to_be_visible()
    expect(page.locator(".over-time")).to_have_class(re.compile("empty"))
    first, second, third, fourth = few()
    live.tell(first, second)
    expect(page.locator(".over-time .when")).to_have_text("2 utterances")
    assert bars(page, "bar") + bars(page, "expressed") == 2 * 6
    assert bars(page, "neutral") == 2
    live.tell(third, fourth)
    expect(page.locator(".over-time .when")).to_have_text("4 utterances")
    assert bars(page, "expressed") == 2
    assert bars(page, "threshold") == 6  # one line a row, for all utterances have the same

    chart = page.locator(".over-time svg")
    expect(chart).to_have_attribute(
        "aria-label", re.compile("Of 4 utterances, expressed: happiness in 2$")
    )
    chart.hover(position=at(page, 2))
    expect(page.locator(".tip")).to_contain_text("word 2")
    expect(page.locator(".tip")).to_contain_text("expressed: happiness 0.90 · neutral 0.60")
    chart.click(position=at(page, 2))
    expect(page.locator(".last")).to_have_attribute("data-utterance", "2")
    expect(rows(page).nth(1)).to_have_attribute("aria-current", "true")

    page.keyboard.press("n")  # the click has put the focus into the session
    expect(page.locator(".last")).to_have_attribute("data-utterance", "4")
    page.keyboard.press("n")
    expect(page.locator(".stepped")).to_have_text("No later utterance expresses an emotion.")
    page.keyboard.press("p")
    expect(page.locator(".last")).to_have_attribute("data-utterance", "2")

    end = chart.locator(".axis text").last.text_content()
    page.get_by_role("button", name="Zoom in").click()
    expect(chart.locator(".axis text").last).not_to_have_text(str(end))
    page.get_by_role("button", name="All", exact=True).click()
    expect(chart.locator(".axis text").last).to_have_text(str(end))

    page.locator("summary", has_text="Thresholds").click()
    page.get_by_role("slider", name="happiness").fill("0.95")
    expect(page.locator(EXPRESSED)).to_have_attribute("d", "")
    assert page.errors == []  # type: ignore[attr-defined]
    page.context.close()


def test_the_chart_follows_whose_average_is_chosen_and_who_is_who(plain_browser: Browser) -> None:
    past = Told(plain_browser, [*told(10), ended(30, 10)], state="ended")
    page = past.open()
    when = page.locator(".over-time .when")
    expect(when).to_have_text("10 utterances")
    page.get_by_role("radio", name="Speaker 1").check()
    expect(when).to_have_text("Speaker 1: 6 utterances")
    assert bars(page, "neutral") == 6
    page.get_by_role("radio", name="Speaker 2").check()
    expect(when).to_have_text("Speaker 2: 4 utterances")
    change = {"type": "speaker.changed", "time": 30, "speaker": 2, "name": "Ann", "gone": 1}
    past.tell(change | {"utterances": [1, 2, 5, 6, 7, 10]})
    expect(when).to_have_text(re.compile("10 utterances$"))
    assert bars(page, "neutral") == 10
    page.context.close()


def test_three_hours_stay_light(plain_browser: Browser) -> None:
    long = Told(plain_browser, [*told(4000), ended(10_800, 4000)], state="ended")
    page = long.open()
    timeline = page.locator(".timeline")
    expect(page.locator(".over-time .when")).to_have_text("4000 utterances", timeout=SOON)
    assert rows(page).count() == 200
    assert bars(page, "bar") < 1500  # however many utterances there are
    assert page.evaluate("document.querySelectorAll('*').length") < 5000
    expect(timeline.get_by_role("button", name="Later …")).to_be_hidden()
    timeline.get_by_role("button", name="Earlier …").click()
    assert rows(page).count() == 200
    expect(timeline.get_by_role("button", name="Later …")).to_be_visible()
    rows(page).first.focus()
    page.keyboard.press("Home")
    expect(page.locator(".last")).to_have_attribute("data-utterance", "1")
    expect(rows(page).first).to_be_focused()
    expect(timeline.get_by_role("button", name="Earlier …")).to_be_hidden()
    # In a column that many share, the one that is expressed is drawn, and is what a click opens.
    page.get_by_role("button", name="Next expressed").click()
    expect(page.locator(".last .expressed")).to_have_class(re.compile("any"))
    page.get_by_role("button", name="Follow the latest").click()
    expect(rows(page).last).to_have_attribute("aria-current", "true")
    assert page.errors == []  # type: ignore[attr-defined]
    page.context.close()


def test_a_recording_is_watched_along(plain_browser: Browser, long_talk: Talk) -> None:
    events = [*few(), ended(10, 4)]
    past = Told(plain_browser, events, state="ended", kind="upload", duration=8.0)
    page = past.open()
    chooser = page.get_by_label("Open the recording to watch along")
    chooser.set_input_files(long_talk.path)
    video = page.locator("video")
    expect(video).to_have_js_property("controls", True, timeout=SOON)
    page.get_by_role("button", name="Next expressed").click()  # of all: the film is at its start
    expect(page.locator(".last")).to_have_attribute("data-utterance", "2")
    chart = page.locator(".over-time svg")
    chart.click(position=at(page, 2))
    expect(video).to_have_js_property("currentTime", few()[1]["start"])
    expect(page.locator(".caption")).to_have_text("Speaker 2: word 2 happiness")
    expect(chart.locator("path.cursor")).to_have_attribute("d", re.compile(r"^M[\d.]+,"))
    here = chart.locator("path.cursor").get_attribute("d")
    video.evaluate("video => { video.muted = true; video.play() }")
    expect(chart.locator("path.cursor")).not_to_have_attribute("d", str(here))
    expect(page.locator(".last")).to_have_attribute("data-utterance", "3", timeout=SOON)
    expect(page.locator(".caption")).to_have_text("Speaker 1: word 3")
    video.evaluate("video => video.pause()")

    chooser.set_input_files({"name": "a.mp4", "mimeType": "video/mp4", "buffer": b"no film"})
    expect(page.locator(".review .message")).to_have_text(
        "This browser cannot play this recording.", timeout=SOON
    )
    assert page.errors == []  # type: ignore[attr-defined]
    page.context.close()


def test_notes_are_written_read_and_deleted(plain_browser: Browser) -> None:
    past = Told(plain_browser, [*few(), ended(10, 4)], state="ended")
    page = past.open()
    asked: list[tuple[str, Any]] = []

    def answer(route: Route) -> None:
        asked.append((route.request.method, route.request.post_data_json))
        if route.request.method == "POST":
            past.events.append({"type": "note.changed", "time": 10, "note": 1, **asked[-1][1]})
            route.fulfill(status=201, json=past.events[-1])
        else:
            past.events.append({**past.events[-1], "text": ""})
            route.fulfill(status=204)

    page.context.route("**/api/sessions/*/notes**", answer)
    notes = page.locator(".notes")
    notes.locator("summary").click()
    rows(page).nth(1).click()
    note(notes, "said this when I showed the price")
    page.reload()
    notes.locator("summary").click()
    expect(notes.locator("li")).to_contain_text("when I showed the price")
    assert bars(page, "marks") == 1
    notes.get_by_role("button", name="Delete the note").click()
    expect(notes.locator("li")).to_have_count(0)
    assert bars(page, "marks") == 0
    assert asked == [
        ("POST", {"at": 3.2, "text": "said this when I showed the price"}),
        ("DELETE", None),
    ]
    page.context.close()


def test_rest_is_offered_while_a_session_runs_and_marked_where_it_is_known(
    plain_browser: Browser,
) -> None:
    for state in ("running", "ended"):
        page = Told(plain_browser, few(), state=state).open()
        expect(page.locator(".last")).to_have_attribute("data-utterance", "4")
        button = page.get_by_role("button", name="This is me at rest")
        expect(button).to_be_visible(visible=state == "running")
        expect(page.locator(".scores .rest:visible")).to_have_count(0)
        page.context.close()


def note(notes: Locator, text: str) -> None:
    notes.get_by_label("Your note at").fill(text)
    notes.get_by_role("button", name="Add").click()
    expect(notes.locator("li")).to_have_count(1)


def test_everybody_can_read_it(plain_browser: Browser) -> None:
    past = Told(plain_browser, [*few(), ended(10, 4)], state="ended", kind="upload", duration=8.0)
    page = past.open()
    expect(page.locator(".over-time .when")).to_have_text("4 utterances")
    page.locator(".notes summary").click()
    found = judged(page)
    page.locator(".over-time").get_by_role("button", name="How to read this").press("Enter")
    meanings = page.get_by_role("dialog", name="How to read the scores")
    for word in ("A bar", "The dotted line", "Expressed", "Neutral", "Confidence"):
        expect(meanings.get_by_text(word, exact=True)).to_be_visible()
    found += judged(page)
    page.keyboard.press("Escape")
    expect(meanings).to_be_hidden()
    assert found == []
    page.set_viewport_size({"width": 360, "height": 740})
    until(lambda: not page.evaluate("document.documentElement.scrollWidth > innerWidth"))
    page.context.close()


def judged(page: Page) -> list[str]:
    found: list[str] = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        found += [f"{scheme}: {each}" for each in violations(page)]
    return found


def test_columns_that_many_utterances_share(plain_browser: Browser) -> None:
    page = Told(plain_browser).open()
    utterances = [
        result(1, "a", person=1, anger=0.55),  # expressed
        result(2, "b", person=1, anger=0.58, fear=0.3),  # higher, beneath its own threshold
    ]
    utterances[1]["thresholds"] |= {"anger": 0.7}
    drawn = page.evaluate(
        """async (utterances) => {
            const { columnsOf, ticks, extent } = await import("/static/dashboard/columns.js");
            const thresholdsOf = ({ thresholds }) => thresholds;
            const at = (width) => columnsOf(utterances, { from: 0, to: 9, width, thresholdsOf });
            const [one] = at(5);
            return {
                apart: at(1).length,
                together: at(5).length,
                anger: one.shown.anger.utterance,
                fear: one.shown.fear.utterance,
                before: columnsOf(utterances, { from: 3, to: 9, width: 1, thresholdsOf }).length,
                ticks: ticks(7, 100, 5),
                extents: [0, 60, 61].map(extent),
            };
        }""",
        utterances,
    )
    assert drawn == {
        "apart": 2,
        "together": 1,
        "anger": 1,
        "fear": 2,
        "before": 1,
        "ticks": [30, 60, 90],
        "extents": [60, 60, 90],
    }
    page.context.close()
