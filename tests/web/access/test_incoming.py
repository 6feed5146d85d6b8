"""The rate that a client must keep to: bursts are allowed, the long run is not exceeded."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from web.access.incoming import BURST_S, Allowance


@given(
    st.floats(1, 1000),
    st.lists(st.floats(0, 2), max_size=300),
)
def test_no_stretch_of_time_holds_more_than_its_rate_and_one_burst(
    per_s: float, pauses: list[float]
) -> None:
    allowance = Allowance(per_s)
    now, taken = 0.0, []
    for pause in pauses:
        now += pause
        if allowance.take(now):
            taken.append(now)
    for first, start in enumerate(taken):
        count = len(taken) - first
        assert count <= per_s * (now - start) + per_s * BURST_S + 1e-6


def test_who_keeps_to_the_rate_is_never_refused() -> None:
    allowance = Allowance(50)
    assert all(allowance.take(number / 50) for number in range(10_000))


def test_a_burst_is_allowed_and_earned_anew() -> None:
    allowance = Allowance(10)
    assert [allowance.take(0.0) for _ in range(51)] == [True] * 50 + [False]
    assert not allowance.take(0.05)
    assert allowance.take(0.15)
    assert [allowance.take(100.0) for _ in range(51)] == [True] * 50 + [False]


def test_a_clock_that_goes_back_allows_nothing() -> None:
    allowance = Allowance(1)
    for _ in range(5):
        assert allowance.take(100.0)
    assert not allowance.take(50.0)
    assert not allowance.take(100.5)
    assert allowance.take(101.1)
