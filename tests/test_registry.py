import pytest

from models import registry
from models.errors import MissingWeights


@pytest.fixture
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("LIVE_EMOTION_WEIGHTS", str(tmp_path))
    return tmp_path


def test_every_weight_says_what_it_is_for_how_big_and_under_which_licence(empty_folder):
    listed = registry.listing()
    names = [one.weights.name for one in listed]
    assert len(set(names)) == len(names)
    assert {"embedded", "mtcnn", "paper", "distilhubert", "albert-base-v2"} <= set(names)
    for one in listed:
        assert one.weights.purpose
        assert one.weights.licence
        assert one.weights.source
        assert one.weights.size_mb > 0
        assert one.where is None or one.where.exists()


def test_what_comes_inside_packages_is_here(empty_folder):
    here = {one.weights.name: one.where for one in registry.listing()}
    assert (here["mtcnn"] / "pnet.pt").is_file()
    assert (here["pocketsphinx-en-us"] / "en-us.lm.bin").is_file()
    assert here["silero-vad"].is_file()
    assert here["embedded"].is_file()
    assert registry.resolve("embedded") == here["embedded"]


def test_missing_weights_are_told_in_one_line_with_size_and_remedy(empty_folder):
    with pytest.raises(MissingWeights) as caught:
        registry.resolve("distilhubert")
    line = str(caught.value)
    assert "\n" not in line
    for part in ("distilhubert", "94 MB", "ntu-spml/distilhubert", str(empty_folder)):
        assert part in line


def test_the_weights_folder_goes_before_the_package(empty_folder):
    mine = empty_folder / "embedded.safetensors"
    mine.write_bytes(b"mine")
    assert registry.resolve("embedded") == mine


def test_without_a_chosen_folder_weights_are_in_the_cache(monkeypatch, tmp_path):
    monkeypatch.delenv("LIVE_EMOTION_WEIGHTS", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert registry.weights_folder() == tmp_path / ".cache" / "live-emotion"


def test_a_name_nobody_knows_is_a_mistake_of_the_program():
    with pytest.raises(KeyError):
        registry.resolve("resnet-9000")
