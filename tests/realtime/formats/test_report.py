"""A report stands alone: nothing is fetched, and nothing said is taken for markup."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from browser import chromium, violations
from found import FAILED, NASTY, people, result, session
from playwright.sync_api import sync_playwright

from realtime.events import Event, NoteChanged, SoundHeard, SourceWarning
from realtime.formats.findings import gather
from realtime.formats.report import report
from realtime.storage.store import SessionStore

WAIT_MS = 120_000


class Page(HTMLParser):
    """The tags of a page, and the text outside of scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        if self.tags[-1:] != ["script"]:
            self.text += data


def test_a_report_holds_all_in_itself_and_nothing_said_is_taken_for_markup(
    store: SessionStore,
) -> None:
    page = Page("".join(report("Call of <Ada>", people(store))))
    assert page.links == []
    assert page.tags.count("script") == 2
    assert "img" not in page.tags
    text = " ".join(page.text.split())
    assert " ".join(NASTY.split()) in text
    assert "Ada <b>" in text
    assert "Expressed: happiness. In full: happiness 0.60, above its threshold of 0.50" in text
    assert "(threshold 0.50). Neutral: 0.25." in text
    assert "neutral" in re.findall("<th[^>]*>(.*?)</th>", "".join(report("Call", people(store))))
    assert "Could not be analysed (stt): =it ended" in text
    assert page.tags.count("tr") == 2 + 3 + 1


def the_report_of_a_long_talk(store: SessionStore) -> str:
    """Of 8 speakers, with many utterances, warnings, sounds and notes of many words; a failure."""
    told: list[Event] = [
        NoteChanged(session="s", time=240, note=n, at=n, text="the price " * 50)
        for n in range(1, 12)
    ]
    for number in range(80):
        kind = ("laughter", "crying", "applause", "cough")[number % 4]
        about = {"session": "s", "time": number + 1, "start": number, "end": number + 1}
        told.append(SoundHeard(kind=kind, confidence=0.9, **about))
    for number in range(1, 121):
        speaker = {"id": number % 8 + 1, "name": f"Speaker {number % 8 + 1}", "by": "voice"}
        said = {"text": "so it goes and on it went " * 8, "engine": "moonshine-tiny"}
        score = number * 37 % 100 / 100
        by = {**speaker, "confidence": 0.9}
        told.append(result(number, "", score, speaker=by, transcript=said))
        told.append(SourceWarning(session="s", time=number, code="overload", message="late " * 20))
    told.append(FAILED)
    return "".join(report("film.mp4", gather([session(store, "film.mp4", *told)], {})))


@pytest.mark.slow
def test_a_report_draws_its_charts_without_a_network_and_prints_on_two_sheets(
    tmp_path: Path, store: SessionStore
) -> None:
    path = tmp_path / "report.html"
    path.write_text("".join(report("Call", people(store))), encoding="utf-8")
    with sync_playwright() as playwright:
        browser = chromium(playwright)
        context = browser.new_context(offline=True)
        page = context.new_page()
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: problems.append(request.url))
        page.goto(path.as_uri(), timeout=WAIT_MS)
        charts = page.locator(".chart .main-svg:first-child")
        charts.nth(5).wait_for(timeout=WAIT_MS)
        assert charts.count() == 2 * 3
        bars = page.locator(".chart").first.locator(".bars .point path")
        colours = [bar.evaluate("bar => getComputedStyle(bar).fill") for bar in bars.all()]
        assert len(colours) == 7
        assert (
            colours[6] not in colours[:6]
        )  # neutral, which is neither below nor above a threshold
        assert colours.count(colours[0]) == 1  # happiness, the one above its threshold
        dotted = page.locator(".chart").first.locator(".shapelayer path")
        assert dotted.count() == 6
        assert all(line.evaluate("line => line.style.strokeDasharray") for line in dotted.all())
        assert violations(page) == []
        path.write_text(the_report_of_a_long_talk(store), encoding="utf-8")
        page.goto(path.as_uri(), timeout=WAIT_MS)
        page.locator(".chart .main-svg").nth(2).wait_for(timeout=WAIT_MS)
        printed = page.pdf(prefer_css_page_size=True)
        browser.close()
    assert len(re.findall(rb"/Type\s*/Page\b", printed)) == 2
    assert problems == [path.as_uri()] * 2
