"""What is taken away says what the page shows, to the digit: read by programs that others wrote."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path

import pandas
import pympi
import pytest
import srt
import webvtt
from pages import SOON, rows
from playwright.sync_api import Browser, Page, expect
from praatio import textgrid

pytestmark = pytest.mark.slow

LABELS = ("happiness", "sadness", "anger", "fear", "disgust", "surprise", "neutral")


@pytest.fixture
def shown(plain_browser: Browser, address: str, ended_session: str) -> Page:
    """A session that has ended, with the exports in view."""
    page = plain_browser.new_page(base_url=address)
    page.goto(f"/#session={ended_session}")
    expect(page.locator(".average h3")).to_have_text("Final average", timeout=SOON)
    page.locator("summary", has_text="Export").click()
    return page


def on_page(page: Page) -> list[tuple[str, list[str]]]:
    """The words of each utterance, and its seven scores."""
    found = []
    panel = page.locator(".last")
    for number in range(rows(page).count()):
        rows(page).nth(number).click()
        expect(panel).to_have_attribute("data-utterance", str(number + 1), timeout=SOON)
        scores = panel.locator(".scores .value").all_text_contents()
        found.append((str(panel.locator(".words").text_content()), scores))
    return found


def two_digits(values: list[float]) -> list[str]:
    return [f"{value:.2f}" for value in values]


def test_every_format_says_what_the_page_shows(shown: Page, tmp_path: Path) -> None:
    told = on_page(shown)
    assert len(told) == 2
    base = str(shown.get_by_role("link", name="JSON", exact=True).evaluate("link => link.href"))

    def taken(name: str) -> bytes:
        answer = shown.request.get(base.replace("results.json", name))
        assert answer.ok, name
        return bytes(answer.body())

    for name, read in (
        ("results.csv", pandas.read_csv),
        ("results.parquet", pandas.read_parquet),
        ("events.tsv", lambda file: pandas.read_csv(file, sep="\t")),
    ):
        table = read(io.BytesIO(taken(name)))
        assert [two_digits(row) for row in table[[*LABELS]].to_numpy().tolist()] == [
            scores for _, scores in told
        ], name
        assert table["text"].tolist() == [words for words, _ in told], name

    eaf = tmp_path / "talk.eaf"
    eaf.write_bytes(taken("results.eaf"))
    grid = tmp_path / "talk.TextGrid"
    grid.write_bytes(taken("results.TextGrid"))
    elan = pympi.Elan.Eaf(str(eaf))
    praat = textgrid.openTextgrid(str(grid), includeEmptyIntervals=False)
    for place, label in enumerate(LABELS):
        expected = [scores[place] for _, scores in told]
        annotations = sorted(elan.get_annotation_data_for_tier(label))
        assert two_digits([float(value) for _, _, value in annotations]) == expected
        assert two_digits([float(one.label) for one in praat.getTier(label).entries]) == expected

    plain: tuple[Callable[[str], str], ...] = (
        lambda text: re.sub(r"<[^>]+>|\n.*", "", text),
        lambda text: text.partition("\n")[0],
    )
    vtt = [caption.text for caption in webvtt.from_string(taken("results.vtt").decode())]
    subtitles = [one.content for one in srt.parse(taken("results.srt").decode())]
    for captions, words_of in zip((vtt, subtitles), plain, strict=True):
        said = [words_of(text) for text in captions if not text.startswith("[")]
        assert said == [words for words, _ in told]

    report = taken("report.html").decode()
    for words, scores in told:
        assert words in report
        cells = "".join(rf"<td[^>]*>{score}</td>" for score in scores)
        assert re.search(cells, report), words
    shown.close()
