"""Who gets a place when many come: by the order in which they come, without sockets."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from web.access.places import Place, Places, Standing


@dataclass
class Connection:
    standing: Standing = Standing.STRANGER
    dropped: bool = False

    def drop(self) -> None:
        self.dropped = True


def come(
    places: Places, address: str, standing: Standing = Standing.STRANGER
) -> tuple[Connection, Place]:
    connection = Connection(standing)
    place = places.take(address, connection)
    assert place is not None
    return connection, place


def test_an_address_that_has_all_it_may_pushes_out_its_own_oldest_stranger() -> None:
    places = Places(most=100, most_each=3)
    other, _ = come(places, "192.0.2.2")
    kept, _ = come(places, "192.0.2.1", Standing.GUEST)
    first, place = come(places, "192.0.2.1")
    second, _ = come(places, "192.0.2.1")
    come(places, "192.0.2.1")
    assert (kept.dropped, first.dropped, second.dropped) == (False, True, False)
    place.leave()  # as its connection does when it is lost
    assert len(places) == 4
    come(places, "192.0.2.1", Standing.GUEST)
    assert second.dropped
    assert not other.dropped


def test_guests_go_when_there_are_no_strangers_and_the_host_never() -> None:
    places = Places(most=100, most_each=3)
    host, _ = come(places, "192.0.2.1", Standing.HOST)
    first, _ = come(places, "192.0.2.1", Standing.GUEST)
    second, _ = come(places, "192.0.2.1", Standing.GUEST)
    stranger, _ = come(places, "192.0.2.1")
    assert (host.dropped, first.dropped, second.dropped) == (False, True, False)
    come(places, "192.0.2.1", Standing.HOST)
    assert (stranger.dropped, second.dropped) == (True, False)
    come(places, "192.0.2.1", Standing.HOST)
    assert second.dropped
    assert places.take("192.0.2.1", Connection()) is None, "all are the host's"
    assert not host.dropped


def test_when_all_places_are_taken_the_address_with_most_gives_one() -> None:
    places = Places(most=6, most_each=5)
    attacker = [come(places, "198.51.100.1")[0] for _ in range(5)]
    early, _ = come(places, "192.0.2.1")
    come(places, "192.0.2.2")
    assert [one.dropped for one in attacker] == [True, False, False, False, False]
    assert not early.dropped
    assert len(places) == 6


def test_no_guest_goes_while_there_is_a_stranger_at_any_address() -> None:
    places = Places(most=4, most_each=3)
    guests = [come(places, "192.0.2.1", Standing.GUEST)[0] for _ in range(3)]
    stranger, _ = come(places, "192.0.2.2")
    come(places, "192.0.2.3", Standing.GUEST)
    assert stranger.dropped
    assert not any(guest.dropped for guest in guests)
    come(places, "192.0.2.4")
    assert [guest.dropped for guest in guests] == [True, False, False]
    assert len(places) == 4


def test_when_all_are_taken_by_the_host_nobody_comes() -> None:
    places = Places(most=4, most_each=2)
    for number in range(4):
        come(places, f"192.0.2.{number}", Standing.HOST)
    assert places.take("192.0.2.9", Connection()) is None
    assert len(places) == 4


@pytest.mark.parametrize(
    ("proxies", "address", "may"),
    [
        (["192.0.2.0/24"], "192.0.2.1", True),
        (["192.0.2.1", "2001:db8::/32"], "2001:db8::1", True),
        (["192.0.2.0/24"], "198.51.100.1", False),
        ([], "192.0.2.1", False),
        (["192.0.2.0/24"], "fe80::1%eth0", False),
    ],
)
def test_a_proxy_may_have_any_number(proxies: list[str], address: str, may: bool) -> None:
    places = Places(most=10, most_each=2, proxies=proxies)
    taken = [places.take(address, Connection(Standing.HOST)) for _ in range(10)]
    assert sum(place is not None for place in taken) == (10 if may else 2)


def test_one_network_of_ipv6_is_one_address() -> None:
    places = Places(most=100, most_each=2)
    first, _ = come(places, "2001:db8::1")
    come(places, "2001:db8::2")
    come(places, "2001:db8::3")
    assert first.dropped


def test_addresses_that_left_are_forgotten() -> None:
    places = Places(most=10, most_each=2)
    for number in range(1000):
        come(places, f"10.0.{number // 256}.{number % 256}")[1].leave()
    assert len(places._groups) == 1
