"""Around Ray Train: Ctrl-C is told as elsewhere, and an early end is said."""

import json
import logging
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from training import workers
from training.config import SpreadConfig
from training.workers import EPOCHS, _interruptible, run_workers


def leaving() -> None:
    """What Ray Train's own handler does."""

    def leave(*_: object) -> None:
        raise SystemExit(0)

    signal.signal(signal.SIGINT, leave)
    signal.raise_signal(signal.SIGINT)


def test_an_exit_by_ray_trains_handler_is_an_interruption_and_the_handler_goes() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), _interruptible():
        leaving()
    assert signal.getsignal(signal.SIGINT) is before


def test_what_else_is_raised_stays_as_it_is() -> None:
    with pytest.raises(ValueError, match="no"), _interruptible():
        raise ValueError("no")


def run(epochs: list[int], out: Path, monkeypatch: pytest.MonkeyPatch, ends: Callable[[], None] = lambda: None) -> None:
    """A training whose workers are not started: the file of epochs is there as the first one writes it."""

    class Trainer:
        def __init__(self, *_: object, **__: object) -> None:
            pass

        def fit(self) -> None:
            rows = [json.dumps({"epoch": epoch, "loss": 0.5}) + "\n" for epoch in epochs]
            (out / EPOCHS).write_text("".join(rows))
            ends()

    monkeypatch.setattr(workers, "TorchTrainer", Trainer)
    monkeypatch.setattr(workers, "ray", SimpleNamespace(cluster_resources=lambda: {"CPU": 1}))
    run_workers(lambda settings: None, {}, out, SpreadConfig(), 12)


@pytest.mark.parametrize(("epochs", "said"), [([1, 2, 3], True), ([10, 11, 12], False), ([4, 5], True), ([], False)])
def test_an_early_end_is_said_also_of_a_training_that_went_on(
    epochs: list[int], said: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "catena"):
        run(epochs, tmp_path, monkeypatch)
    assert (f"stopped early, after epoch {epochs[-1] if epochs else 0} of 12" in caplog.text) is said


def test_an_interrupted_training_says_nothing_of_an_early_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "catena"), pytest.raises(KeyboardInterrupt):
        run([1], tmp_path, monkeypatch, leaving)
    assert "epoch 1" in caplog.text and "stopped early" not in caplog.text
