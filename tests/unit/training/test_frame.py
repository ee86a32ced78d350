"""The frame of all trainings: it learns, resumes exactly, stops when it should, and says why."""

import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from data.errors import InputError
from tests.point_task import Points, PointTask
from training.checkpoint import keep_checkpoint
from training.config import OptimizerConfig
from training.frame import Progress, Save, fit

CONFIG = OptimizerConfig(learning_rate=0.02, epochs=4, patience=4)


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def keeping(folder: Path) -> Callable[[Progress, Save], None]:
    """Saves every checkpoint, named after epoch and step."""

    def keep(progress: Progress, save: Save) -> None:
        made = folder / f"{progress.epoch}-{progress.step}"
        made.mkdir(parents=True)
        save(made)

    return keep


def test_it_learns_and_writes_the_history() -> None:
    task = PointTask()
    progress = fit(task, CONFIG)
    rows = progress.history
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4] and not task.model.training
    assert rows[-1]["loss"] < 0.7 * rows[0]["loss"] and rows[-1]["score"] > rows[0]["score"]
    assert set(rows[0]) == {"epoch", "loss", "score", "seconds", "valid_seconds", "points_per_s"}


@pytest.mark.parametrize(("accumulate", "kind"), [(1, "adamw"), (3, "adamw"), (1, "adagrad")])
def test_a_resumed_training_ends_with_the_same_weights(tmp_path: Path, accumulate: int, kind: str) -> None:
    config = CONFIG.model_copy(update={"accumulate": accumulate, "kind": kind})
    undisturbed = PointTask()
    whole = fit(undisturbed, config, on_epoch=keeping(tmp_path), on_part=keeping(tmp_path), parts=2)
    half = 8 // 2 // accumulate * accumulate
    assert {path.name for path in tmp_path.iterdir()} == {f"{n}-0" for n in (1, 2, 3, 4)} | {
        f"{n}-{half}" for n in range(4)
    }
    for name in ("2-0", f"1-{half}", "4-0"):
        resumed = PointTask(seed=9)
        torch.manual_seed(99)
        progress = fit(resumed, config, resume=tmp_path / name)
        assert same(weights(resumed.model), weights(undisturbed.model))
        assert [row["loss"] for row in progress.history] == [row["loss"] for row in whole.history]
        assert (progress.best_score, progress.best_epoch) == (whole.best_score, whole.best_epoch)
        assert float(resumed.counter) == 4, "the task's own state was not resumed"


def test_accumulated_batches_are_one_large_batch() -> None:
    """Eight batches of 16 in groups of four give the weights of two batches of 64, without dropout."""

    class Large(PointTask):
        def batches(self, epoch: int) -> Iterator[Points]:
            small = [self.draw(7, epoch, step, 0) for step in range(8)]
            for first in (0, 4):
                yield Points(*(torch.cat(parts) for parts in zip(*small[first : first + 4], strict=True)))

    accumulated, large = PointTask(), Large(steps=2)
    for task in (accumulated, large):
        task.model.inner[2].p = 0.0
    fit(accumulated, CONFIG.model_copy(update={"accumulate": 4}))
    fit(large, CONFIG)
    for name, tensor in accumulated.model.state_dict().items():
        torch.testing.assert_close(tensor, large.model.state_dict()[name], rtol=1e-4, atol=1e-5)


def test_it_stops_early_and_keeps_the_best_epoch(tmp_path: Path) -> None:
    task = PointTask(scores=[0.1, 0.3, 0.2, 0.3, 0.1, 0.5])
    states = {}
    config = CONFIG.model_copy(update={"epochs": 6, "patience": 2})
    progress = fit(task, config, on_epoch=lambda p, save: states.update({p.epoch: weights(task.model)}))
    assert (progress.epoch, progress.best_epoch, progress.best_score) == (4, 2, 0.3)
    assert same(weights(task.model), states[2])


def test_weights_that_came_better_stay() -> None:
    task = PointTask(scores=[0.9, 0.1, 0.2])
    task.judges_first = True
    before = weights(task.model)
    progress = fit(task, CONFIG.model_copy(update={"epochs": 2}))
    assert progress.best_epoch == 0 and progress.history[0] == {"epoch": 0, "score": 0.9}
    assert same(weights(task.model), before)


def test_groups_have_rates_and_decays_of_their_own() -> None:
    class Grouped(PointTask):
        def groups(self) -> list[dict[str, object]]:
            model = self.model
            rest = [*model.inner.parameters(), *model.last.parameters()]
            return [{"params": [model.table], "rate": 0.0, "weight_decay": 0.0}, {"params": rest}]

    task = Grouped()
    before = weights(task.model)
    fit(task, CONFIG)
    assert torch.equal(task.model.table, before["table"])
    assert not torch.equal(task.model.last.weight, before["last.weight"])


# What goes wrong


@pytest.mark.parametrize(("precision", "lower"), [("fp32", "raise warmup_fraction"), ("bf16", "set precision: fp32")])
def test_a_loss_that_is_no_number_stops_with_its_batch(tmp_path: Path, precision: str, lower: str) -> None:
    class Broken(PointTask):
        def loss(self, model: nn.Module, batch: Points) -> Tensor:
            found = super().loss(model, batch)
            return found / 0 if torch.equal(batch.points_BD, self.draw(7, 1, 5, 0).points_BD) else found

    saved = []
    with pytest.raises(InputError, match=r"epoch 2, step 6, the loss is inf") as caught:
        fit(
            Broken(),
            CONFIG.model_copy(update={"precision": precision}),
            out=tmp_path,
            on_epoch=lambda progress, save: saved.append(progress.epoch),
        )
    assert "Lower learning_rate (0.02)" in caught.value.remedy and lower in caught.value.remedy
    assert saved == [1], "an epoch with a bad step was saved"
    held = torch.load(tmp_path / "bad_batch_0.pt", weights_only=False)
    assert (held["epoch"], held["step"]) == (1, 5)
    assert torch.equal(held["batch"].points_BD, PointTask().draw(7, 1, 5, 0).points_BD)


def test_a_full_disk_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    """The process's own limit on the size of files answers as a full disk does."""
    told: list[str | None] = []

    def keep(progress: Progress, save: Save) -> None:
        limit, most = resource.getrlimit(resource.RLIMIT_FSIZE)
        if progress.epoch == 3:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, most))
        try:
            told.append(keep_checkpoint(tmp_path / str(progress.epoch), save))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, most))

    undisturbed = PointTask()
    fit(undisturbed, CONFIG, on_epoch=keep)
    assert told[:2] == [*told[3:], None] == [None, None]
    assert told[2] is not None and "no checkpoint could be written" in told[2]
    assert {path.name for path in tmp_path.iterdir()} == {"1", "2", "4"}
    resumed = PointTask(seed=1)
    fit(resumed, CONFIG, resume=tmp_path / "2")
    assert same(weights(resumed.model), weights(undisturbed.model))


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    fit(PointTask(), CONFIG.model_copy(update={"epochs": 1}), on_epoch=keeping(tmp_path))
    other = PointTask()
    other.model.last = nn.Linear(16, 5)
    with pytest.raises(InputError, match=r"of another model: last.bias is \(4,\) there and \(5,\) here"):
        fit(other, CONFIG, resume=tmp_path / "1-0")


def test_within_an_epoch_the_number_of_workers_cannot_change(tmp_path: Path) -> None:
    fit(PointTask(), CONFIG.model_copy(update={"epochs": 1}), on_part=keeping(tmp_path), parts=2)
    with pytest.raises(InputError, match="saved in mid-epoch by 1 workers, not 2"):
        fit(PointTask(), CONFIG, resume=tmp_path / "0-4", world=2)


def test_more_workers_than_batches_are_refused() -> None:
    with pytest.raises(InputError, match="no batch for each of 5 workers"):
        fit(PointTask(steps=0), CONFIG, world=5)


def test_a_task_that_gives_too_few_batches_is_found_out() -> None:
    class Short(PointTask):
        def batches(self, epoch: int) -> Iterator[Points]:
            return iter(list(super().batches(epoch))[:5])

    with pytest.raises(ValueError, match="promised 8 batches an epoch and gave 5"):
        fit(Short(), CONFIG)


def test_an_error_in_making_batches_surfaces() -> None:
    class Failing(PointTask):
        def batches(self, epoch: int) -> Iterator[Points]:
            yield self.draw(0)
            raise OSError("the corpus is gone")

    with pytest.raises(OSError, match="the corpus is gone"):
        fit(Failing(), CONFIG)


# Options


def test_bf16_learns_the_same_within_its_precision() -> None:
    plain, rounded = (fit(PointTask(), CONFIG.model_copy(update={"precision": p})) for p in ("fp32", "bf16"))
    assert rounded.history[-1]["loss"] == pytest.approx(plain.history[-1]["loss"], rel=0.05)
    assert rounded.history[-1]["loss"] != plain.history[-1]["loss"]


def test_recomputed_activations_give_the_same_weights() -> None:
    plain, recomputed = PointTask(), PointTask()
    fit(plain, CONFIG)
    fit(recomputed, CONFIG.model_copy(update={"checkpoint_activations": True}))
    assert same(weights(plain.model), weights(recomputed.model))
    assert recomputed.model.inner_calls == pytest.approx(2 * plain.model.inner_calls, abs=8)


def test_nothing_to_recompute_is_said(caplog: pytest.LogCaptureFixture) -> None:
    task = PointTask()
    bare = nn.Linear(8, 4)
    task.model = bare  # type: ignore[assignment]
    fit(task, CONFIG.model_copy(update={"checkpoint_activations": True, "epochs": 1}))
    assert "no module of this model recomputes" in caplog.text


def test_a_compiled_model_learns_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[nn.Module] = []
    monkeypatch.setattr(nn.Module, "compile", lambda self, **options: compiled.append(self))
    task = PointTask()
    fit(task, CONFIG.model_copy(update={"compile": True, "epochs": 1}))
    assert compiled == [task.model]


def test_the_schedules_rise_and_fall(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, list[float]] = {}
    for schedule in ("cosine", "linear", "constant"):
        rates: list[float] = []
        step = torch.optim.AdamW.step

        def noting(self: torch.optim.AdamW, *args: object, rates: list[float] = rates, step: object = step) -> object:
            rates.append(self.param_groups[0]["lr"])
            return step(self, *args)  # type: ignore[operator]

        with monkeypatch.context() as patch:
            patch.setattr(torch.optim.AdamW, "step", noting)
            fit(PointTask(), CONFIG.model_copy(update={"schedule": schedule, "epochs": 2}))
        seen[schedule] = rates
    assert all(len(rates) == 16 and max(rates) == pytest.approx(0.02) for rates in seen.values())
    assert seen["constant"][-1] == pytest.approx(0.02) and seen["linear"][-1] == pytest.approx(0.02 / 14)
    assert seen["cosine"][-1] < 0.001 and np.all(np.diff(seen["cosine"][2:]) < 0)
