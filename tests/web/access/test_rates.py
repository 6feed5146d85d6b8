"""How often an address may do something, on a clock that the test moves."""

from __future__ import annotations

import pytest

from web.access import rates
from web.access.rates import Rate


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_so_many_at_once_and_then_so_many_a_minute() -> None:
    clock = Clock()
    rate = Rate(3, clock)
    for _ in range(3):
        assert rate.wait_s("192.0.2.1") == 0
        rate.take("192.0.2.1")
    assert rate.wait_s("192.0.2.1") == pytest.approx(20)
    assert rate.wait_s("192.0.2.2") == 0, "each address for itself"
    clock.now += 19
    assert rate.wait_s("192.0.2.1") == pytest.approx(1)
    clock.now += 1
    assert rate.wait_s("192.0.2.1") == 0
    rate.take("192.0.2.1")
    assert rate.wait_s("192.0.2.1") == pytest.approx(20)
    clock.now += 3600
    for _ in range(3):
        assert rate.wait_s("192.0.2.1") == 0, "no more than that is saved up"
        rate.take("192.0.2.1")
    assert rate.wait_s("192.0.2.1") > 0


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("", "testclient", False),
    ],
)
def test_what_counts_as_one_address(one: str, other: str, same: bool) -> None:
    rate = Rate(1, Clock())
    rate.take(one)
    assert (rate.wait_s(other) > 0) is same


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "MAX_ADDRESSES", 100)
    rate = Rate(1, Clock())
    for number in range(1000):
        rate.take(f"10.0.{number // 256}.{number % 256}")
    assert len(rate._used) == 100
    assert rate.wait_s("10.0.3.231") > 0, "the last ones are remembered"
    assert rate.wait_s("10.0.0.0") == 0
