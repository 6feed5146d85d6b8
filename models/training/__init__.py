"""Fitting and judging the MER model: datasets, augmentation, the loop, metrics, the report."""
