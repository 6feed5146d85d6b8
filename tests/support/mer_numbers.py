"""Numbers of a prediction."""

from toys import tiny

from models.emotions import COMBINATIONS, EMOTIONS, OUTPUTS


def numbers(scores):
    """The seven probabilities, and how much every modality moved each of the six."""
    return [
        *(scores.probabilities[emotion] for emotion in EMOTIONS),
        scores.neutral,
        *(moved for row in scores.contributions.values() for moved in row.values()),
    ]


def calibrated():
    """A model in which every combination and output has a calibration of its own."""
    model = tiny()
    model.calibration = {
        name: {output: (0.5 + number / 7, column / 3 - 1) for column, output in enumerate(OUTPUTS)}
        for number, name in enumerate(COMBINATIONS)
    }
    return model
