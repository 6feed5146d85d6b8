import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from models.emotions import EMOTIONS, EmotionScores

values = st.fixed_dictionaries({emotion: st.floats(0, 1) for emotion in EMOTIONS})


@given(values, values)
def test_expressed_are_the_emotions_strictly_above_their_thresholds(probabilities, thresholds):
    scores = EmotionScores(probabilities, 0.9, thresholds, ("visual",), {}, {})
    assert set(scores.expressed) == {e for e in EMOTIONS if probabilities[e] > thresholds[e]}
    assert list(scores.expressed) == sorted(scores.expressed, key=EMOTIONS.index)


def test_a_probability_equal_to_its_threshold_is_not_expressed():
    half = dict.fromkeys(EMOTIONS, 0.5)
    assert EmotionScores(half, 0.5, half, ("textual",), {}, {}).expressed == ()


def test_labels_and_weights_list_without_a_network_library():
    code = (
        "import models.emotions, models.faces, models.registry, sys;"
        "models.registry.listing();"
        "assert not {'torch', 'cv2', 'transformers'} & set(sys.modules), 'heavy import'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
