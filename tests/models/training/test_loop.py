import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from models.errors import AnalyserError, UsageError
from models.training import loop
from models.training.loop import Schedule, choose_device, fit

torch.set_num_threads(1)


class Lines:
    """Which side of a line points lie on, through a hidden layer, BatchNorm and dropout."""

    name = "lines"
    steps = 6

    def __init__(self, figures=None):
        torch.manual_seed(1)
        self.first, self.last = nn.Linear(4, 16), nn.Linear(16, 1)
        self.module = nn.Sequential(
            self.first, nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), self.last
        )
        self.figures = figures  # what to say instead of the truth
        self.batches, self.judged = [], []

    def groups(self):
        others = [p for layer in (self.first, self.module[1]) for p in layer.parameters()]
        return [
            {"params": others, "part": 0.1},
            {"params": list(self.last.parameters()), "part": 1.0, "weight_decay": 0.0},
        ]

    def batch(self, step):
        self.batches.append(step)
        points = np.random.default_rng([3, step]).standard_normal((16, 4)).astype(np.float32)
        return {"points": torch.from_numpy(points), "side": [torch.from_numpy(points[:, 0] > 0)]}

    def loss(self, batch):
        assert self.module.training
        found = self.module(batch["points"])[:, 0].float()
        return F.binary_cross_entropy_with_logits(found, batch["side"][0].float())

    def judge(self, module):
        assert not module.training
        self.judged.append({name: t.clone() for name, t in module.state_dict().items()})
        if self.figures:
            return {"right": self.figures[len(self.judged) - 1]}
        one = self.batch(10**6)
        return {"right": ((module(one["points"])[:, 0] > 0) == one["side"][0]).float().mean()}


SCHEDULE = Schedule(epochs=3, rate=0.03, best="right", seed=7)


def same(one, two):
    assert one.keys() == two.keys()
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=0, atol=0)


def test_the_rate_warms_up_and_falls_to_nothing():
    schedule = Schedule(epochs=1, rate=2.0, best="", seed=0, warm_up=0.1)
    rates = [schedule.rate_at(step / 100) for step in range(101)]
    assert rates[0] == 0
    assert rates[10] == pytest.approx(2)
    assert rates[100] == pytest.approx(0, abs=1e-9)
    assert rates[:11] == sorted(rates[:11])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert replace(schedule, warm_up=0).rate_at(0) == 2


@pytest.mark.parametrize("precision", ["float32", "mixed"])
@pytest.mark.parametrize("average", [None, 0.9])
def test_it_learns_and_tells_how(tmp_path, precision, average):
    task = Lines()
    seen = []
    schedule = replace(SCHEDULE, epochs=12, precision=precision, average=average)
    result = fit(task, schedule, state=tmp_path / "state", on_progress=seen.append)
    # Of 16 points. Over ten seeds, with 1, 2 and 4 threads, at least 13 are right; by chance 8 are.
    assert result.epochs[result.best].figures["right"] >= 0.75
    assert [one.step for one in seen] == list(range(1, 73))
    assert {(one.stage, one.steps) for one in seen} == {("lines", 72)}
    assert [one.epoch for one in seen if one.epoch] == list(result.epochs)
    assert [one.step for one in seen if one.epoch] == list(range(6, 73, 6))
    assert len(result.losses) == 72
    for number, epoch in enumerate(result.epochs):
        losses = result.losses[6 * number : 6 * number + 6]
        assert epoch.loss == pytest.approx(np.mean(losses))
        assert epoch.rate == schedule.rate_at((number + 1) / 12)
        assert seen[6 * number + 2].loss == pytest.approx(np.mean(losses[:3]))
    assert result.epochs[-1].loss < result.epochs[0].loss
    assert not task.module.training


class Watching(Lines):
    """Notes whether its losses are computed in mixed precision."""

    def loss(self, batch):
        self.mixed = torch.is_autocast_enabled("cpu")
        return super().loss(batch)


@pytest.mark.parametrize("native", [True, False])
def test_bfloat16_is_left_to_processors_that_have_it(tmp_path, monkeypatch, native):
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: native)
    task = Watching()
    fit(task, replace(SCHEDULE, epochs=1, precision="mixed"), state=tmp_path / "state")
    assert task.mixed is native


def test_the_first_of_the_best_epochs_is_kept_and_the_rest_forgotten(tmp_path):
    task = Lines(figures=[0.1, 0.5, 0.5, 0.2])
    best = []
    result = fit(
        task,
        replace(SCHEDULE, epochs=4),
        state=tmp_path / "state",
        on_best=lambda module: best.append({n: t.clone() for n, t in module.state_dict().items()}),
    )
    assert result.best == 1
    same(task.module.state_dict(), task.judged[1])
    assert len(best) == 2  # after the first epoch and after the second
    same(best[1], task.judged[1])


@pytest.mark.parametrize(("patience", "epochs"), [(1, 3), (2, 6), (3, 8), (None, 8)], ids=str)
def test_it_stops_when_it_gets_no_better_for_so_many_epochs(tmp_path, patience, epochs):
    task = Lines(figures=[0.1, 0.5, 0.4, 0.6, 0.6, 0.3, 0.7, 0.2])
    schedule = replace(SCHEDULE, epochs=8, patience=patience)
    result = fit(task, schedule, state=tmp_path / "state")
    assert len(result.epochs) == epochs
    assert len(result.losses) == 6 * epochs


def test_the_average_follows_the_weights_and_copies_the_statistics(tmp_path):
    decay = 0.5
    task = Lines(figures=[0.5])
    expected = {name: t.clone() for name, t in task.module.state_dict().items()}

    def follow(progress):
        part = min(decay, progress.step / (9 + progress.step))
        for name, tensor in task.module.state_dict().items():
            if name.startswith("1.") and name not in ("1.weight", "1.bias"):
                expected[name] = tensor.clone()
            else:
                expected[name] = part * expected[name] + (1 - part) * tensor

    fit(
        task,
        replace(SCHEDULE, epochs=1, average=decay),
        state=tmp_path / "state",
        on_progress=follow,
    )
    for name, tensor in expected.items():
        torch.testing.assert_close(task.judged[0][name], tensor)
    same(task.module.state_dict(), task.judged[0])


def test_groups_learn_at_their_part_of_the_rate(tmp_path):
    """Adam's first step is as long as its rate, whatever the gradient."""
    task = Lines()
    before = {name: t.clone() for name, t in task.module.state_dict().items()}
    steps = {}

    def stop(progress):
        for name, tensor in task.module.state_dict().items():
            steps[name] = (tensor - before[name]).abs().max().item()
        raise StoppedError

    schedule = replace(SCHEDULE, rate=0.01, warm_up=0, weight_decay=0, precision="float32")
    with pytest.raises(StoppedError):
        fit(task, schedule, state=tmp_path / "state", on_progress=stop)
    assert steps["4.weight"] == pytest.approx(0.01, rel=1e-3)
    assert steps["0.weight"] == pytest.approx(0.001, rel=1e-2)


class StoppedError(Exception):
    pass


def stop_at(step):
    def stop(progress):
        if progress.step == step:
            raise StoppedError

    return stop


@pytest.mark.parametrize("average", [None, 0.8])
@pytest.mark.parametrize("stopped", [1, 4, 6, 11, 17])
def test_resumed_training_comes_to_the_same_weights(tmp_path, monkeypatch, average, stopped):
    monkeypatch.setattr(loop, "_SAVE_EVERY", 4)
    schedule = replace(SCHEDULE, average=average)
    whole, parts = Lines(), Lines()
    expected = fit(whole, schedule, state=tmp_path / "whole")
    with pytest.raises(StoppedError):
        fit(Lines(), schedule, state=tmp_path / "parts", on_progress=stop_at(stopped))
    torch.manual_seed(99)  # nothing of the interpreter's state may matter
    assert fit(parts, schedule, state=tmp_path / "parts", resume=True) == expected
    same(parts.module.state_dict(), whole.module.state_dict())
    saved = max((s for s in range(stopped + 1) if s % 4 == 0 or s % 6 == 0), default=0)
    assert min(parts.batches) == saved


def test_a_finished_training_returns_at_once(tmp_path):
    first, again = Lines(), Lines()
    expected = fit(first, SCHEDULE, state=tmp_path / "state")
    before = (tmp_path / "state").read_bytes()
    assert fit(again, SCHEDULE, state=tmp_path / "state", resume=True) == expected
    assert again.batches == again.judged == []
    same(again.module.state_dict(), first.module.state_dict())
    assert (tmp_path / "state").read_bytes() == before


def test_without_resume_it_begins_anew(tmp_path):
    expected = fit(Lines(), SCHEDULE, state=tmp_path / "state")
    task = Lines()
    assert fit(task, SCHEDULE, state=tmp_path / "state") == expected
    assert task.batches[0] == 0


def refused(task, schedule, path):
    with pytest.raises(UsageError) as caught:
        fit(task, schedule, state=path, resume=True)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_a_state_of_other_settings_is_refused_in_one_line(tmp_path):
    path = tmp_path / "state"
    fit(Lines(), SCHEDULE, state=path)
    assert "seed 7, not 8" in refused(Lines(), replace(SCHEDULE, seed=8), path)
    message = refused(Lines(), replace(SCHEDULE, epochs=4, average=0.9), path)
    assert "epochs 3, not 4" in message
    assert "average None, not 0.9" in message
    other = Lines()
    other.name = "circles"
    assert "task lines, not circles" in refused(other, SCHEDULE, path)


def test_a_damaged_state_is_refused_in_one_line(tmp_path):
    path = tmp_path / "state"
    fit(Lines(), SCHEDULE, state=path)
    whole = path.read_bytes()
    wider = Lines()
    wider.module[0] = wider.first = nn.Linear(5, 16)
    assert "cannot be resumed" in refused(wider, SCHEDULE, path)
    for damaged in (b"", b"nothing", whole[: len(whole) // 2]):
        path.write_bytes(damaged)
        assert "cannot be resumed" in refused(Lines(), SCHEDULE, path)
    for strange in ({}, [1], {"settings": 3}):
        torch.save(strange, path)
        assert "cannot be resumed" in refused(Lines(), SCHEDULE, path)


def test_a_loss_that_is_no_number_ends_the_training(tmp_path):
    task = Lines()
    task.loss = lambda batch: task.module(batch["points"]).mean() * math.nan
    with pytest.raises(AnalyserError, match=r"lines: the loss became nan at step 1: "):
        fit(task, SCHEDULE, state=tmp_path / "state")


def test_a_failing_batch_ends_the_training_with_its_own_error(tmp_path):
    task = Lines()

    def batch(step):
        if step == 4:
            raise UsageError("clip 4 is damaged")
        return Lines.batch(task, step)

    task.batch = batch
    with pytest.raises(UsageError, match="clip 4"):
        fit(task, SCHEDULE, state=tmp_path / "state")


def test_devices_by_name():
    assert choose_device("cpu") == torch.device("cpu")
    gpu = torch.cuda.is_available()
    assert choose_device("auto").type == ("cuda" if gpu else "cpu")
    with pytest.raises(UsageError, match="no device tpu"):
        choose_device("tpu")
    if not gpu:
        with pytest.raises(UsageError, match="--device cpu"):
            choose_device("cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="not on this machine: a GPU")
@pytest.mark.parametrize("bfloat16", [True, False])
def test_it_learns_on_a_gpu(tmp_path, monkeypatch, bfloat16):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: bfloat16)
    task = Lines()
    task.figures = [0.5] * 12
    schedule = replace(SCHEDULE, epochs=12)
    result = fit(task, schedule, state=tmp_path / "state", device=choose_device("cuda"))
    assert result.epochs[-1].loss < result.epochs[0].loss
