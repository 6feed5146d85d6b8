"""The project's tree of exceptions.

    AnalyserError
    ├── UsageError            the user asked for something that cannot be: bad file, option, device
    │   └── MissingWeights    a model was chosen whose weight files are not on this machine
    ├── SourceError           a source broke after it had begun to deliver
    └── AnalysisError         one utterance could not be analysed; the session goes on

Each message is one line that names the thing and the remedy; it is shown to the user as it is.
"""

from __future__ import annotations


class AnalyserError(Exception):
    """Anything this project raises on purpose."""


class UsageError(AnalyserError):
    """What the user asked for cannot be done; the message says what to do instead."""


class MissingWeights(UsageError):  # noqa: N818 - reads as what it is
    """A weight file is not on this machine; the message says how big it is and how to get it."""


class SourceError(AnalyserError):
    """A source that had begun to deliver media broke; what it delivered stays valid."""


class AnalysisError(AnalyserError):
    """One stage failed for one utterance.

    Attributes:
        stage: the stage that failed: ``"stt"``, ``"faces"``, ``"mer"`` or ``"capture"``.
    """

    def __init__(self, stage: str, message: str) -> None:
        super().__init__(message)
        self.stage = stage

    def __reduce__(self) -> tuple[type[AnalysisError], tuple[str, str]]:
        """Both arguments, so that it can come from another process."""
        return type(self), (self.stage, str(self))
