"""None"""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mer_numbers import calibrated, numbers
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from toys import HALF, TINY_ALBERT, TINY_BERT, TINY_HUBERT, WORDS, tiny, utterance

from models.emotions import COMBINATIONS, EMOTIONS, MODALITIES, OUTPUTS
from models.errors import UsageError
from models.mer.acoustic import AcousticBackbone, levelled, log_mel
from models.mer.bert import BertEncoder
from models.mer.paper import HubertBackbone, InceptionBackbone
from models.training.starting_points import speech_state

torch.set_num_threads(1)  # as the program does: small networks gain nothing from more


# --- what goes in, what comes out ---


def test_a_prediction_has_seven_probabilities_thresholds_and_says_what_it_used(model):
    scores = model.predict(*utterance(1))
    assert tuple(scores.probabilities) == EMOTIONS
    assert all(0 < number < 1 for number in (*scores.probabilities.values(), scores.neutral))
    assert scores.thresholds == HALF
    assert scores.modalities == MODALITIES


@pytest.mark.parametrize("present", [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)])
def test_any_modality_may_be_missing_as_none_or_empty(model, present):
    given = utterance(2)
    empty = ([], np.zeros(0, np.float32), " \n")
    nones = [given[n] if n in present else None for n in range(3)]
    empties = [given[n] if n in present else empty[n] for n in range(3)]
    scores = model.predict(*nones)
    assert scores.modalities == tuple(MODALITIES[n] for n in present)
    assert numbers(model.predict(*empties)) == numbers(scores)


def test_a_missing_modality_is_a_zero_vector(model):
    example = model.prepare(utterance(3)[0], None, None)
    seen = {}
    hook = model.fusion[0].register_forward_hook(lambda layer, x, y: seen.update(x=x[0]))
    model([example])
    hook.remove()
    assert seen["x"][0, :8].abs().max() > 0
    assert seen["x"][0, 8:].abs().max() == 0


def test_with_nothing_there_is_nothing_to_say(model):
    for nothing in ((None, None, None), ([], np.zeros(0, np.float32), "")):
        with pytest.raises(ValueError, match="faces, audio and text are all missing"):
            model.predict(*nothing)


def test_longer_inputs_are_cut_to_five_faces_ten_seconds_and_a_hundred_tokens(model):
    faces, audio, text = utterance(4, faces=7, seconds=12, words=130)
    cut = model.predict(faces[:5], audio[:160_000], " ".join(text.split()[:98]))
    assert numbers(model.predict(faces, audio, text)) == numbers(cut)
    example = model.prepare(faces, audio, text)
    assert [len(example["visual"]), len(example["textual"])] == [5, 100]
    assert example["acoustic"].shape == (80, 1000)


@pytest.mark.parametrize("samples", [1, 2, 100, 511, 1025])
def test_the_shortest_sounds_are_no_error(model, samples):
    scores = model.predict(None, np.full(samples, 0.1, np.float32), None)
    assert all(np.isfinite(numbers(scores)))


@pytest.mark.parametrize(
    ("faces", "audio", "message"),
    [
        ([np.zeros((48, 48), np.uint8)], None, "uint8 \\(height, width, 3\\), not uint8 \\(48, 48"),
        ([np.zeros((48, 48, 3))], None, "not float64"),
        ([np.zeros((0, 48, 3), np.uint8)], None, "not uint8 \\(0, 48, 3"),
        (None, np.zeros(100), "not float64"),
        (None, np.zeros((100, 2), np.float32), "\\(100, 2\\)"),
        (None, np.full(100, np.nan, np.float32), "finite"),
    ],
)
def test_inputs_of_another_form_are_refused_by_name(model, faces, audio, message):
    with pytest.raises(ValueError, match=message):
        model.predict(faces, audio, None)


batch_of_utterances = st.lists(
    st.tuples(
        st.integers(0, 1000),
        st.integers(0, 6),
        st.sampled_from([0.0, 0.1, 0.9, 2.3]),
        st.integers(0, 12),
    ).filter(lambda one: any(one[1:])),
    min_size=1,
    max_size=4,
)


# --- the same input, the same answer ---


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(batch_of_utterances)
def test_a_batch_gives_what_single_utterances_give(model, drawn):
    given = [
        utterance(seed, faces=faces, seconds=seconds, words=words)
        for seed, faces, seconds, words in drawn
    ]
    together = model.predict_batch(*map(list, zip(*given, strict=True)))
    for one, scores in zip(given, together, strict=True):
        alone = model.predict(*one)
        assert scores.modalities == alone.modalities
        np.testing.assert_allclose(numbers(scores), numbers(alone), atol=1e-5)


@pytest.mark.slow
def test_the_same_input_gives_the_same_digits_whatever_came_before(model):
    first = numbers(model.predict(*utterance(5)))
    model.predict_batch(*zip(*(utterance(n, seconds=n / 3) for n in range(1, 7)), strict=True))
    model.predict(None, utterance(6, seconds=9)[1], None)
    assert numbers(model.predict(*utterance(5))) == first


def test_batches_may_be_empty_but_not_ragged(model):
    assert model.predict_batch([], [], []) == []
    with pytest.raises(ValueError, match="not 1, 2 and 1"):
        model.predict_batch([None], [None, None], ["hello"])


def test_an_untrained_model_never_shows_a_number():
    untrained = tiny()
    untrained.thresholds = None
    with pytest.raises(UsageError, match="never trained"):
        untrained.predict(*utterance(1))


# --- the parts ---


def test_the_front_end_is_whispers():
    from transformers import WhisperFeatureExtractor

    rng = np.random.default_rng(0)
    clip = levelled(
        rng.standard_normal(16_000).astype(np.float32) * np.linspace(0, 1, 16_000, dtype=np.float32)
    )
    theirs = WhisperFeatureExtractor()(clip, sampling_rate=16_000, padding=False)
    expected = torch.tensor(np.array(theirs["input_features"][0]))
    torch.testing.assert_close(log_mel(torch.from_numpy(clip)), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("gain", [1e-3, 0.1, 20])
def test_how_loud_somebody_is_recorded_says_nothing(gain):
    clip = utterance(1)[1]
    np.testing.assert_allclose(levelled(clip * np.float32(gain)), levelled(clip), rtol=1e-4)
    assert np.abs(levelled(np.zeros(1000, np.float32))).max() == 0


def test_the_acoustic_network_is_the_beginning_of_whispers():
    """Layer by layer, and side by side with how far each channel is from its mean."""
    from transformers import WhisperConfig
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    torch.manual_seed(0)
    sizes = {"d_model": 512, "encoder_attention_heads": 8, "encoder_ffn_dim": 2048}
    config = WhisperConfig(encoder_layers=3, max_source_positions=50, **sizes)
    theirs = WhisperEncoder(config).eval()
    ours = AcousticBackbone(layers=3).eval()
    missing, others = ours.load_state_dict(speech_state(theirs.state_dict()), strict=False)
    assert (set(missing), others) == ({"centre", "spread"}, [])
    spectrogram = ours.prepare(utterance(1)[1])
    with torch.no_grad():
        states = theirs(spectrogram[None], output_hidden_states=True).hidden_states
        heard, sounds = ours.heard([spectrogram])
    assert sounds.all()
    # The last one of theirs is normalised, as ours is not.
    torch.testing.assert_close(heard[:, :, 512:1024], states[2], atol=1e-4, rtol=1e-4)
    normalised = theirs.layer_norm(heard[:, :, 1024:1536])
    torch.testing.assert_close(normalised, states[3], atol=1e-4, rtol=1e-4)
    means, deviations = heard[0].mean(dim=0).split(1536)
    expected = (heard[0, :, :1536] - means).abs().mean(dim=0)
    torch.testing.assert_close(deviations, expected)


def test_standardised_channels_have_mean_0_and_deviation_1():
    backbone = AcousticBackbone(layers=1).eval()
    clips = [backbone.prepare(utterance(n, seconds=0.2 + n / 9)[1]) for n in range(6)]
    means = torch.cat([backbone.heard([clip])[0].mean(dim=1) for clip in clips]).detach()
    backbone.standardise(means)
    found = torch.cat([backbone([clip])[0].mean(dim=1) for clip in clips])
    torch.testing.assert_close(found.mean(dim=0), torch.zeros(1024), atol=1e-4, rtol=0)
    wide = means.std(dim=0) > 2e-3
    assert wide.any()
    torch.testing.assert_close(found.std(dim=0)[wide], torch.ones(int(wide.sum())))


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.001, 0.5, 11])
def test_the_papers_backbones_predict_built_from_tiny_configurations(seconds):
    model = tiny(visual="inception_resnet_v1", acoustic=TINY_HUBERT, textual=TINY_ALBERT)
    assert isinstance(model.backbones["visual"], InceptionBackbone)
    assert isinstance(model.backbones["acoustic"], HubertBackbone)
    given = [utterance(1, faces=2, seconds=seconds), utterance(2, faces=1, seconds=0.7, words=9)]
    together = model.predict_batch(*map(list, zip(*given, strict=True)))
    for one, scores in zip(given, together, strict=True):
        np.testing.assert_allclose(numbers(scores), numbers(model.predict(*one)), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "parts",
    [{}, {"visual": "inception_resnet_v1", "acoustic": TINY_HUBERT, "textual": TINY_ALBERT}],
    ids=["embedded", "paper"],
)
def test_on_a_gpu_nothing_is_left_on_the_processor(parts, monkeypatch):
    """Even where there is none: fake tensors have a device and no data, and refuse to be mixed."""
    # Fake tensors do not know the transformer's fused kernel.
    monkeypatch.setattr(torch.backends.mha, "_is_fastpath_enabled", False)
    model = tiny(**parts)
    given = [utterance(1), (None, utterance(2, seconds=2)[1], "w1 w2"), (utterance(3)[0], None, "")]
    examples = [model.prepare(*one) for one in given]
    with FakeTensorMode(allow_non_fake_inputs=True) as fakes, torch.no_grad():
        for part in model.modules():
            for kept in (part._parameters, part._buffers):
                for name, value in kept.items():
                    if value is not None:
                        kept[name] = fakes.from_tensor(value).to("cuda")
        logits = model(examples)
        assert (logits.device.type, logits.shape) == ("cuda", (3, 7))
        with pytest.raises(DataDependentOutputException):  # all that is left is to read the numbers
            model._scores(model.embed(examples), [("visual",), ("acoustic",), ("textual",)])


@pytest.mark.parametrize("config", [TINY_BERT, {**TINY_BERT, "num_attention_heads": 4}])
def test_bert_is_that_of_transformers_name_by_name_and_digit_by_digit(config):
    from transformers import BertConfig, BertModel

    ours = BertEncoder(config).eval()
    theirs = BertModel(BertConfig(**config), add_pooling_layer=False).eval()
    theirs.load_state_dict(ours.state_dict())
    ids = torch.randint(1, len(WORDS), (3, 20))
    mask = torch.arange(20) < torch.tensor([[20], [1], [7]])
    expected = theirs(input_ids=ids, attention_mask=mask.long()).last_hidden_state
    torch.testing.assert_close(ours(ids, mask)[mask], expected[mask])
    assert (ours.train()(ids, mask) != ours(ids, mask)).any(), "dropout, while it learns"


def test_thresholds_are_those_of_the_modalities_given():
    model = tiny()
    model.thresholds = {
        name: dict.fromkeys(EMOTIONS, number / 10) for number, name in enumerate(COMBINATIONS)
    }
    faces, audio, text = utterance(8)
    for parts in ((faces, None, None), (faces, None, text), (None, audio, text)):
        scores = model.predict(*parts)
        expected = COMBINATIONS.index("+".join(scores.modalities)) / 10
        assert scores.thresholds == dict.fromkeys(EMOTIONS, expected)


def expected_probabilities(model, given):
    """By hand: the logits of these modalities, calibrated as that combination is."""
    logits = model([model.prepare(*given)])[0]
    name = "+".join(m for m, value in zip(MODALITIES, given, strict=True) if value is not None)
    row = (model.calibration or {}).get(name, dict.fromkeys(OUTPUTS, (1.0, 0.0)))
    return [
        float(torch.sigmoid(row[output][0] * logits[column] + row[output][1]))
        for column, output in enumerate(OUTPUTS)
    ]


# --- calibration, contributions, classifiers ---


@pytest.mark.parametrize("present", [(0,), (1,), (2,), (0, 2), (0, 1, 2)])
@pytest.mark.parametrize("make", [tiny, calibrated])
def test_probabilities_are_calibrated_and_contributions_leave_one_modality_out(make, present):
    model = make()
    given = [value if n in present else None for n, value in enumerate(utterance(8))]
    scores = model.predict(*given)
    whole = list(scores.probabilities.values())
    expected = expected_probabilities(model, given)
    np.testing.assert_allclose([*whole, scores.neutral], expected, atol=1e-5)
    assert tuple(scores.contributions) == EMOTIONS
    for row in scores.contributions.values():
        assert tuple(row) == scores.modalities
    for n in present:
        rest = [None if m == n else value for m, value in enumerate(given)]
        if any(value is not None for value in rest):
            without = list(model.predict(*rest).probabilities.values())
        else:
            without = torch.sigmoid(model.fuse(torch.zeros(1, 3, 8)))[0, :6].tolist()
        moved = [scores.contributions[emotion][MODALITIES[n]] for emotion in EMOTIONS]
        np.testing.assert_allclose(moved, np.subtract(whole, without), atol=1e-5)


def test_contributions_cost_no_second_look(model):
    calls = []
    hooks = [
        model.backbones[name].register_forward_hook(lambda *_, name=name: calls.append(name))
        for name in MODALITIES
    ]
    given = [utterance(n) for n in (1, 2)]
    model.predict_batch(*map(list, zip(*given, strict=True)))
    for hook in hooks:
        hook.remove()
    assert calls == list(MODALITIES)


def test_classifiers_read_the_face_alone():
    classes = {"five": tuple("abcde"), "FER+": ("x", "y")}
    model = tiny(classifiers=classes)
    assert model.classes == classes
    faces, audio, text = utterance(3)
    vectors = model.embed([model.prepare(faces, audio, text), model.prepare(faces, None, None)])
    found = model.classify(vectors)
    assert {name: logits.shape for name, logits in found.items()} == {
        "five": (2, 5),
        "FER+": (2, 2),
    }
    for logits in found.values():
        torch.testing.assert_close(logits[0], logits[1])
    assert tiny().classify(vectors) == {}
