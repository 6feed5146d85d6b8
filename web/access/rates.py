"""How often each address may do something.

In: addresses. Out: how long each has to wait. Memory is bounded however many addresses come.
"""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable

MAX_ADDRESSES = 10_000
"""Beyond it, the one that has been quiet for longest is forgotten."""


class Rate:
    """So many times at once, and then so many a minute, for each address.

    Args:
        per_minute: how many.
        clock: gives seconds.
    """

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._used: OrderedDict[str, tuple[float, float]] = OrderedDict()  # how many, when

    def wait_s(self, address: str) -> float:
        """Seconds until `address` may; 0 if it may now."""
        left = self._now_used(group_of(address)) + 1 - self._per_minute
        return max(0.0, left * 60 / self._per_minute)

    def take(self, address: str) -> None:
        """Count one time for `address`."""
        group = group_of(address)
        self._used[group] = (self._now_used(group) + 1, self._clock())
        self._used.move_to_end(group)
        if len(self._used) > MAX_ADDRESSES:
            self._used.popitem(last=False)

    def _now_used(self, group: str) -> float:
        """How many count still: what was used, less what has come back since."""
        used, when = self._used.get(group, (0.0, 0.0))
        return max(0.0, used - (self._clock() - when) * self._per_minute / 60)


def group_of(address: str) -> str:
    """Of IPv6, the network: whoever has one address there has 2^64 of them."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv4Address):
        return address
    if ip.ipv4_mapped is not None:
        return str(ip.ipv4_mapped)
    return str(ipaddress.ip_network((int(ip) >> 64 << 64, 64)))
