"""What is taken away over HTTP, of sessions and of calls."""

from __future__ import annotations

import csv
import io
import re

import pytest
from talks import Talk
from web_client import Client, serving

from realtime.formats.catalogue import FORMATS
from realtime.formats.tables import UTTERANCES
from realtime.sources import open_source


@pytest.mark.slow
async def test_what_a_call_found_is_told_by_person(talk: Talk, other_talk: Talk) -> None:
    async with serving() as client:
        room = (await client.http.post("/api/calls", json={"name": "Eve"})).json()["room"]
        ids = []
        for name, clip in (("Ada", talk.path), ("Bob", other_talk.path)):
            source = await open_source(str(clip), "fast")
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
    assert tuple(rows[0]) == (*UTTERANCES,)
    assert {row["person"] for row in rows} == set(names)
    told = answers["results.json"].json()
    found = told.get("people", [told])
    assert [person["session"]["name"] for person in found] == names
    assert len(rows) == sum(len(person["utterances"]) for person in found)
    assert answers["results.vtt"].text.count("<v ") == len(rows)
    for format in FORMATS.values():
        answer = await client.http.get(f"{path}/{format.route}?speakers=false&emotions=false")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith(format.media_type)
        id = path.rpartition("/")[2]
        name = answer.headers.get("content-disposition", "").partition('filename="')[2]
        assert name == ("" if format.ending == ".html" else f'emotions-{id}{format.ending}"')
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
