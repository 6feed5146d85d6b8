"""The figures in the model card, written from a report so that nobody copies them by hand.

In: a report and what the checkpoint says of its training. Out: the card, its figures renewed.
"""

from __future__ import annotations

from pathlib import Path

from models.errors import UsageError
from models.mer.checkpoint import checkpoint_file, read_training
from models.training.report import Report

_BEGIN, _END = "<!-- figures: begin -->", "<!-- figures: end -->"


def update_card(card: Path, checkpoint: str | Path, report: Report) -> None:
    """Put the figures of a report between the two marks in the card.

    Args:
        card: a Markdown file that holds both marks.
        checkpoint: what `MERModel.load` takes, of which the report tells.
        report: what `evaluate` returned for it.

    Raises:
        UsageError: the card is not there or has no marks.
    """
    before, after = around_figures(card)
    figures = f"{report}\n\n{_reduction(checkpoint_file(checkpoint), report)}"
    card.write_text(f"{before}{_BEGIN}\n\n{figures}\n\n{_END}{after}", encoding="utf-8")


def around_figures(card: Path) -> tuple[str, str]:
    """What stands before and after the figures of a card; raises as `update_card` does."""
    if not card.is_file():
        raise UsageError(f"{card} is not there: write what is no figure first, and {_BEGIN} {_END}")
    try:
        text = card.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise UsageError(f"{card} is not a card that can be read: {error}") from error
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise UsageError(f"{card} has no {_BEGIN} and {_END} to put the figures between")
    return before, after


def _reduction(checkpoint: Path, report: Report) -> str:
    """What int8 and float16 cost: the figures in float32 beside those of the file."""
    full = read_training(checkpoint)["float32"]
    lines = [
        f"The file has {checkpoint.stat().st_size / 1e6:.1f} MB. What its reduced weights cost:",
        "",
        "| set | F1 in float32 | F1 of the file | WAcc in float32 | WAcc of the file |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, (f1, wacc) in report.means.items():
        before = full[name]
        lines.append(f"| {name} | {before[0]:.4f} | {f1:.4f} | {before[1]:.4f} | {wacc:.4f} |")
    return "\n".join(lines)
