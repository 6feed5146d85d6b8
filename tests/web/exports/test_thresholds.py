"""Thresholds in a request."""

from __future__ import annotations

import pytest

from web.errors import ApiError
from web.exports.thresholds import parse_thresholds


def test_thresholds_are_read_from_words() -> None:
    assert parse_thresholds("") == {}
    assert parse_thresholds("happiness:0.4,fear:1") == {"happiness": 0.4, "fear": 1.0}
    for wrong in ("joy:0.5", "fear", "fear:high", "fear:1.5", "fear:nan", "fear:-1", "x:0,fear:0"):
        with pytest.raises(ApiError) as told:
            parse_thresholds(wrong)
        assert told.value.code == "bad_thresholds"
