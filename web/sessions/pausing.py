"""Pausing the analysis of a person: the person and the host can, each for themselves.

In: the source of a session, who pauses and who resumes. Out: whether its media is withheld.
"""

from __future__ import annotations

from typing import Literal, Protocol, TypeAlias, runtime_checkable

from web.errors import ApiError

Who: TypeAlias = Literal["person", "host"]


@runtime_checkable
class Pausable(Protocol):
    """A source whose media can be withheld from the analysis."""

    paused: bool


class Pausing:
    """Who has paused a source.

    Args:
        source: of a running session; None when there is none any more.
    """

    def __init__(self, source: object) -> None:
        self._source = source if isinstance(source, Pausable) else None
        self._by: set[Who] = set()

    @property
    def by(self) -> list[Who]:
        """Who has paused it, and not resumed it."""
        return sorted(self._by)

    def change(self, paused: bool, by: Who) -> None:
        """Pause, or resume what the same one paused. It goes on when nobody pauses it any more.

        Raises:
            ApiError: this source cannot be paused; or somebody else has paused it.
        """
        if self._source is None:
            raise ApiError(
                409, "not_pausable", "only a running session of a browser's camera can be paused"
            )
        others = self._by - {by}
        if others and not paused and by not in self._by:
            (other,) = others
            raise ApiError(
                403,
                f"paused_by_{other}",
                f"the {other} paused this: only the {other} can resume it",
            )
        self._by = others | {by} if paused else others
        self._source.paused = bool(self._by)
