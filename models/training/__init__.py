"""Fitting and judging the MER model: datasets, augmentation, metrics, the loop, the report."""

from models.training.evaluation import Report, evaluate
from models.training.fitting import Progress, train

__all__ = ["Progress", "Report", "evaluate", "train"]
