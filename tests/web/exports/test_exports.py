"""What can be taken away: read back by programs that did not write it, whatever people say."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import av
import pytest
from browser import chromium, violations
from earlier import store_earlier
from found import result, session
from playwright.sync_api import sync_playwright
from web_client import Client, serving

from models.emotions import EMOTIONS
from realtime.events import (
    UtteranceFailed,
)
from realtime.sources import open_source
from realtime.storage import SessionStore
from web.errors import ApiError
from web.exports.captions import to_vtt
from web.exports.findings import Findings, gather, parse_thresholds
from web.exports.report import report
from web.exports.tables import COLUMNS, to_csv
from web.sessions.ended import Kept

NASTY = '=1+1 </script><img src=x onerror="alert(1)"> & "quoted", --> -2\nWEBVTT'


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SessionStore]:
    opened = SessionStore(tmp_path / "s.sqlite")
    yield opened
    opened.close()


FAILED = UtteranceFailed(
    session="s", time=4, utterance=2, start=2.5, end=3.75, stage="stt", message="=it ended"
)


def people(store: SessionStore, **thresholds: float) -> list[Findings]:
    ada = session(store, "Ada <b>", result(1, NASTY, 0.9), FAILED, result(3, "", 0.2))
    bob = session(store, "@Bob", result(1, "good morning", 0.6), after_s=1.25)
    return gather([bob, ada], thresholds)


# --- CSV ---


def test_csv_has_a_row_for_each_utterance_of_each_person(store: SessionStore) -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(people(store)), newline="")))
    assert tuple(rows[0]) == COLUMNS
    assert [(row["person"], row["utterance"]) for row in rows] == [
        ("'@Bob", "1"),
        ("Ada <b>", "1"),
        ("Ada <b>", "2"),
        ("Ada <b>", "3"),
    ]
    assert [row["happiness"] for row in rows] == ["0.6000", "0.9000", "", "0.2000"]
    assert [row["neutral"] for row in rows] == ["0.2500", "0.2500", "", "0.2500"]
    assert COLUMNS[COLUMNS.index("surprise") + 1] == "neutral"
    assert [row["expressed"] for row in rows] == ["happiness", "happiness", "", ""]
    assert rows[1]["text"] == f"'{NASTY}"
    assert rows[2]["failed"] == "stt: =it ended"
    assert (rows[1]["start_s"], rows[1]["end_s"]) == ("0.500", "1.750")


def test_what_is_told_less_the_persons_rest_is_in_every_export(store: SessionStore) -> None:
    less = {"emotions": {**dict.fromkeys(EMOTIONS, 0.1), "happiness": 0.3}, "expressed": []}
    adjusted = result(1, "so it goes", 0.6, adjusted={"resting": 4, **less})
    hosted = session(store, "Ada", adjusted, result(2, "well", 0.6))
    found = gather([hosted], {"happiness": 0.25})
    first, second = csv.DictReader(io.StringIO(to_csv(found), newline=""))
    assert (first["happiness"], first["happiness_less_rest"]) == ("0.6000", "0.3000")
    assert (first["expressed_less_rest"], first["utterances_at_rest"]) == ("happiness", "4")
    assert (second["happiness_less_rest"], second["utterances_at_rest"]) == ("", "")
    written = json.loads(json.dumps(found[0].to_json()))
    assert written["utterances"][0]["adjusted"]["expressed"] == ["happiness"]
    assert written["average"]["adjusted"]["emotions"]["happiness"] == pytest.approx(0.45)
    assert "Less what is usual for this person at rest, expressed: happiness." in report(
        "Ada", found
    )


def test_no_cell_of_csv_is_taken_for_a_formula(store: SessionStore) -> None:
    for begin in "=+-@\t\r":
        found = gather(
            [session(store, f"{begin}A", result(1, f"{begin}cmd|' /C calc'!A0", 0.1))], {}
        )
        (row,) = csv.DictReader(io.StringIO(to_csv(found), newline=""))
        assert row["person"] == f"'{begin}A"
        assert row["text"] == f"'{begin}cmd|' /C calc'!A0"


# --- WebVTT ---


def test_captions_are_read_by_ffmpeg(tmp_path: Path, store: SessionStore) -> None:
    path = tmp_path / "captions.vtt"
    path.write_text(to_vtt(people(store)), encoding="utf-8")
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux() if packet.size]
    cues = [
        (float(p.pts * p.time_base), float(p.duration * p.time_base), bytes(p).decode())
        for p in packets
        if p.pts is not None and p.duration is not None
    ]
    assert [(start, length) for start, length, _ in cues] == [
        (0.5, 1.25),
        (1.75, 1.25),
        (4.5, 1.25),
    ]
    assert cues[1][2] == "<v @Bob>good morning</v>\n(happiness)"
    assert cues[2][2] == "<v Ada &lt;b&gt;>(no words)</v>"
    words = cues[0][2].partition(">")[2].partition("</v>")[0].removeprefix("Ada &lt;b&gt;>")
    assert "-->" not in words
    assert "\n" not in words
    assert "<" not in words


def test_captions_have_the_form_of_webvtt(store: SessionStore) -> None:
    head, *blocks = to_vtt(people(store)).rstrip("\n").split("\n\n")
    assert head == "WEBVTT"
    time = r"\d\d:[0-5]\d:[0-5]\d\.\d{3}"
    assert len(blocks) == 3
    for number, block in enumerate(blocks, 1):
        assert re.fullmatch(
            rf"{number}\n{time} --> {time}\n<v [^\n<>]+>[^\n<>]+</v>(\n\([a-z, ]+\))?", block
        )


def test_a_file_has_no_voices_and_late_captions_have_hours(store: SessionStore) -> None:
    late = result(1, "late", 0.1, start=3599.9996, end=7322.5)
    text = to_vtt(gather([session(store, "film.mp4", late, kind="upload")], {}))
    assert text == "WEBVTT\n\n1\n01:00:00.000 --> 02:02:02.500\nlate\n"
    assert to_vtt([]) == "WEBVTT\n"


# --- JSON, thresholds ---


def test_the_average_and_what_is_expressed_follow_the_thresholds(store: SessionStore) -> None:
    _, ada = people(store)
    assert ada.average.utterances == 2
    assert ada.average.emotions["happiness"] == pytest.approx(0.55)
    assert ada.average.expressed == ("happiness",)

    _, ada = people(store, happiness=0.95, fear=0.05)
    assert ada.average.expressed == ("fear",)
    assert [event.expressed for event in ada.results] == [("fear",), ("fear",)]
    assert ada.results[0].thresholds == {
        **dict.fromkeys(EMOTIONS, 0.5),
        "happiness": 0.95,
        "fear": 0.05,
    }
    told = ada.to_json()
    assert told["average"]["emotions"]["happiness"] == pytest.approx(0.55)
    assert [event["type"] for event in told["utterances"]] == [
        "utterance.result",
        "utterance.failed",
        "utterance.result",
    ]
    assert told["models"] == {"profile": "embedded", "stt": "moonshine-tiny"}


def test_neutral_stays_whatever_the_thresholds_are(store: SessionStore) -> None:
    found = session(store, "Ada", result(1, "a", 0.9), result(2, "b", 0.1, neutral=0.75))
    for thresholds in ({}, dict.fromkeys(EMOTIONS, 0.0)):
        (ada,) = gather([found], thresholds)
        told = ada.to_json()
        assert [event["neutral"] for event in told["utterances"]] == [0.25, 0.75]
        assert told["average"]["neutral"] == 0.5
        assert "neutral" not in told["average"]["expressed"]


def test_what_an_earlier_version_found_is_told_without_neutral(tmp_path: Path) -> None:
    store_earlier(tmp_path / "s.sqlite")
    store = SessionStore(tmp_path / "s.sqlite")
    found = gather([Kept(row, store) for row in store.sessions(1)], {"happiness": 0.7})
    store.close()
    (row,) = csv.DictReader(io.StringIO(to_csv(found), newline=""))
    assert (row["happiness"], row["neutral"], row["expressed"]) == ("0.6100", "", "")
    told = found[0].to_json()
    assert told["utterances"][0]["neutral"] is told["average"]["neutral"] is None
    assert told["average"]["emotions"]["happiness"] == 0.61
    assert "Neutral: \N{EN DASH}." in Page(report("talk.mp4", found)).text


def test_thresholds_are_read_from_words() -> None:
    assert parse_thresholds("") == {}
    assert parse_thresholds("happiness:0.4,fear:1") == {"happiness": 0.4, "fear": 1.0}
    for wrong in ("joy:0.5", "fear", "fear:high", "fear:1.5", "fear:nan", "fear:-1", "x:0,fear:0"):
        with pytest.raises(ApiError) as told:
            parse_thresholds(wrong)
        assert told.value.code == "bad_thresholds"


# --- the report ---


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
    page = Page(report("Call of <Ada>", people(store)))
    assert page.links == []
    assert page.tags.count("script") == 2
    assert "img" not in page.tags
    text = " ".join(page.text.split())
    assert " ".join(NASTY.split()) in text
    assert "Ada <b>" in text
    assert "Expressed: happiness. In full: happiness 0.60, above its threshold of 0.50" in text
    assert "(threshold 0.50). Neutral: 0.25." in text
    assert "neutral" in re.findall("<th[^>]*>(.*?)</th>", report("Call", people(store)))
    assert "Could not be analysed (stt): =it ended" in text
    assert page.tags.count("tr") == 2 + 3 + 1


@pytest.mark.slow
def test_a_report_draws_its_charts_without_a_network(tmp_path: Path, store: SessionStore) -> None:
    path = tmp_path / "report.html"
    path.write_text(report("Call", people(store)), encoding="utf-8")
    with sync_playwright() as playwright:
        browser = chromium(playwright)
        context = browser.new_context(offline=True)
        page = context.new_page()
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: problems.append(request.url))
        page.goto(path.as_uri())
        charts = page.locator(".chart .main-svg:first-child")
        charts.nth(5).wait_for()
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
        browser.close()
    assert problems == [path.as_uri()]


# --- over HTTP ---


@pytest.mark.slow
async def test_what_a_call_found_is_told_by_person(shared: Path) -> None:
    async with serving() as client:
        room = (await client.http.post("/api/calls", json={"name": "Eve"})).json()["room"]
        ids = []
        for name, clip in (("Ada", "talker_512.mp4"), ("Bob", "talker_700.mp4")):
            source = await open_source(str(shared / "media" / clip), "fast")
            hosted = await client.hub.begin(source, kind="call", name=name, room=room)
            ids.append(hosted.id)
        for id in ids:
            await client.events(id)

        for path, names in (
            (f"/api/calls/{room}", ["Ada", "Bob"]),
            (f"/api/sessions/{ids[1]}", ["Bob"]),
        ):
            await check_formats(client, path, names)

        everybody = await client.json(f"/api/calls/{room}/results.json")
        one = await client.json(f"/api/sessions/{ids[1]}/results.json")
        assert everybody["people"][1] == one
        moved = await client.json(f"/api/sessions/{ids[1]}/results.json?thresholds=sadness:0")
        assert all("sadness" in event["expressed"] for event in moved["utterances"])
        assert "sadness" in moved["average"]["expressed"]
        for wrong in ("sadness:2", "joy"):
            told = await client.error("GET", f"/api/calls/{room}/report.html?thresholds={wrong}")
            assert told[:2] == (400, "bad_thresholds")
        assert (await client.error("GET", "/api/calls/x/results.csv"))[:2] == (404, "unknown_room")


async def check_formats(client: Client, path: str, names: list[str]) -> None:
    answers = {
        name: await client.http.get(f"{path}/{name}")
        for name in ("results.json", "results.csv", "results.vtt", "report.html")
    }
    for name, answer in answers.items():
        assert answer.status_code == 200
        disposition = answer.headers.get("content-disposition", "")
        assert disposition.startswith("attachment") == (name != "report.html")
    assert answers["results.csv"].content.startswith(b"\xef\xbb\xbf")  # or Excel shows mojibake
    table = answers["results.csv"].content.decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(table, newline="")))
    assert tuple(rows[0]) == COLUMNS
    assert {row["person"] for row in rows} == set(names)
    told = answers["results.json"].json()
    found = told.get("people", [told])
    assert [person["session"]["name"] for person in found] == names
    assert len(rows) == sum(len(person["utterances"]) for person in found)
    assert answers["results.vtt"].text.count("<v ") == len(rows)
    heads = re.findall("<h2[^>]*>(.*?)</h2>", answers["report.html"].text)
    assert heads == names
    for person in found:
        results = person["utterances"]
        for emotion, mean in person["average"]["emotions"].items():
            assert mean == pytest.approx(
                sum(r["emotions"][emotion] for r in results) / len(results)
            )
        mean = sum(r["neutral"] for r in results) / len(results)
        assert person["average"]["neutral"] == pytest.approx(mean)
