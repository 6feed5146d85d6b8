"""How many connections may be open, and which goes first when there are too many.

In: the address of each that opens. Out: a place for it, perhaps taken from a stranger or a guest.
"""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from enum import Enum, auto
from typing import Protocol

if sys.platform != "win32":  # where there may be as many open files as there is memory for
    import resource

from web.access.rates import group_of


class Standing(Enum):
    """Whom a connection serves."""

    STRANGER = auto()
    """Nobody whom the gate let in, as far as is known."""
    GUEST = auto()
    """A guest of a call, or an overlay."""
    HOST = auto()
    """The host."""


class Holder(Protocol):
    """A connection, as far as its place must know it."""

    @property
    def standing(self) -> Standing:
        """Whom it serves now."""

    def drop(self) -> None:
        """Close it at once."""


class Place:
    """What an open connection holds until it calls `leave`.

    Attributes:
        holder: the connection.
    """

    def __init__(self, group: dict[Place, None], holder: Holder) -> None:
        self.holder = holder
        self._group = group

    def leave(self) -> None:
        """Give it back. Idempotent."""
        self._group.pop(self, None)


class Places:
    """So many in total, and so many for each address.

    Whoever comes when all are taken gets the place of the stranger that has waited for longest or,
    where there is none, of the guest; never of the host: one of the same address, if that has as
    many as it may; else one of the address that has most. So an address that fills the server
    pushes out itself, and guests who fill it do not shut out the host.

    Args:
        most: how many there are.
        most_each: how many of them one address may have.
        proxies: addresses and networks that may have any number, as they come for others.
    """

    def __init__(self, most: int, most_each: int, proxies: Iterable[str] = ()) -> None:
        self._most = most
        self._most_each = most_each
        self._proxies = [ipaddress.ip_network(proxy) for proxy in proxies]
        self._groups: dict[str, dict[Place, None]] = {}  # a dict keeps the order, a set does not

    def __len__(self) -> int:
        """How many are taken."""
        return sum(map(len, self._groups.values()))

    def take(self, address: str, holder: Holder) -> Place | None:
        """A place for `holder`, which comes from `address`; None if there is none."""
        self._groups = {name: group for name, group in self._groups.items() if group}
        group = self._groups.setdefault(group_of(address), {})
        if len(group) >= self._most_each and not self._is_proxy(address):
            if not _vacate([group]):
                return None
        elif len(self) >= self._most:
            by_size = sorted(self._groups.values(), key=len, reverse=True)
            if not _vacate(by_size):
                return None
        place = Place(group, holder)
        group[place] = None
        return place

    def _is_proxy(self, address: str) -> bool:
        try:
            ip = ipaddress.ip_address(address)
        except ValueError:  # IPv6 with the interface that it is of
            return False
        return any(ip in network for network in self._proxies)


def _vacate(groups: Sequence[dict[Place, None]]) -> bool:
    """Drop the oldest connection of a stranger, in the first group that has one; without any, of
    a guest. False if all are the host's."""
    for standing in (Standing.STRANGER, Standing.GUEST):
        for group in groups:
            for place in group:
                if place.holder.standing is standing:
                    place.leave()
                    place.holder.drop()
                    return True
    return False


def allow_open_files() -> None:
    """Let this process have as many open files as the system grants; often it starts with 1024."""
    if sys.platform != "win32":
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        with suppress(OSError, ValueError):  # macOS calls it unlimited, but takes no such number
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def affordable(most: int) -> int:
    """`most`, or half of the files that this process may open: models and media need files, too."""
    if sys.platform == "win32":
        return most
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return most if soft == resource.RLIM_INFINITY else min(most, soft // 2)
