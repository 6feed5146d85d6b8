"""`watch` with outlets: one that breaks, and where they are not for."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from models.errors import UsageError
from realtime.outputs import EventsFile, Outputs
from run_live import app


class Broken:
    """An outlet by which nothing can be sent."""

    problem: str | None = None

    def send(self, event: object) -> None:
        self.problem = "it is broken"

    def close(self) -> None:
        self.problem = "it is closed"


def test_an_outlet_that_breaks_is_told_once_and_leaves_the_rest() -> None:
    broken = Broken()
    with Outputs(EventsFile(None, [], force=False)) as outputs:
        outputs.add(broken)
        assert list(outputs.failures()) == []
        outputs.write(object())  # type: ignore[arg-type]
        assert list(outputs.failures()) == ["it is broken"]
        assert list(outputs.failures()) == []
        assert outputs.working
    assert broken.problem == "it is closed"


@pytest.mark.parametrize("option", [["--osc", "127.0.0.1:9"], ["--lsl"]])
def test_the_page_is_no_place_for_outlets(option: list[str]) -> None:
    told = CliRunner().invoke(app, ["watch", "talk.mp4", "--web", *option])
    assert isinstance(told.exception, UsageError)
    assert "--web" in str(told.exception)
