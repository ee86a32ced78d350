"""Matryoshka fine-tuning: the loss is the naive one's, it teaches short vectors, and it resumes where it stopped."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from data.errors import InputError
from tests.tiny_model import tiny_model
from training.encoders.config import MatryoshkaConfig
from training.encoders.contrast import contrastive_loss
from training.encoders.layers import freeze_lowest
from training.encoders.matryoshka import matryoshka_task
from training.encoders.matryoshka_judge import validate
from training.encoders.pairs import Pairs
from training.frame import Progress, fit

CONFIG = MatryoshkaConfig(dims=(16, 4), epochs=2, batch_pairs=8, learning_rate=2e-3, max_length=16)
TIMES = ("seconds", "valid_seconds", "pairs_per_s")


def word_pairs(count: int = 80) -> Pairs:
    """A word and a sentence with it: what a fresh model knows nothing of and can learn."""
    words = [f"{a}{b}" for a in ("sea", "moon", "rock", "tree", "fire") for b in ("man", "light", "house", "bird")]
    anchors = [f"a{i}" for i in range(count)]
    documents = [f"d{i}" for i in range(count)]
    texts = {("anchor", f"a{i}"): words[i % 20] for i in range(count)}
    texts |= {("document", f"d{i}"): f"the {words[i % 20]} of number {i}" for i in range(count)}
    return Pairs(anchors, documents, texts, np.arange(count) % 5 == 0, symmetric=False)


def test_the_loss_is_the_naive_one_with_masks_and_hard_negatives() -> None:
    rng = np.random.default_rng(0)
    anchors, positives, hard = rng.normal(size=(5, 8)), rng.normal(size=(5, 8)), rng.normal(size=(3, 8))
    masked = rng.random((5, 8)) < 0.3
    np.fill_diagonal(masked, False)
    expected = 0.0
    for dim in (8, 3):
        a, c = (each[:, :dim] for each in (anchors, np.concatenate([positives, hard])))
        a, c = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (a, c))
        for i in range(5):
            row = [math.exp(float(a[i] @ c[j]) / 0.1) for j in range(8) if not masked[i, j]]
            column = [math.exp(float(a[j] @ c[i]) / 0.1) for j in range(5) if not masked[j, i]]
            own = math.exp(float(a[i] @ c[i]) / 0.1)
            expected -= (math.log(own / sum(row)) + math.log(own / sum(column))) / 2 / 5
    a_BW, p_BW, masked_BC, h_HW = (torch.tensor(array) for array in (anchors, positives, masked, hard))
    assert float(contrastive_loss(a_BW, p_BW, masked_BC, (8, 3), 0.1, h_HW)) == pytest.approx(expected, rel=1e-6)


def test_short_vectors_learn_and_the_best_epoch_is_kept(tmp_path: Path) -> None:
    model, pairs = tiny_model(tmp_path), word_pairs()
    config = CONFIG.model_copy(update={"epochs": 6})
    progress = fit(matryoshka_task(model, pairs, config), config.optimizer)
    assert len(progress.history) == 7 and progress.history[0]["epoch"] == 0
    assert progress.history[-1]["loss"] < progress.history[1]["loss"]
    first, best = progress.history[0], progress.history[progress.best_epoch]
    assert progress.best_epoch > 0 and all(best[f"ndcg@10[{d}]"] > first[f"ndcg@10[{d}]"] for d in (16, 4))
    assert validate(model, pairs, config, torch.device("cpu")) == pytest.approx(
        {key: best[key] for key in best if key.startswith("ndcg")}, abs=1e-3
    )


def test_it_goes_on_from_a_saved_state_as_if_undisturbed(tmp_path: Path) -> None:
    saved: list[Path] = []

    def keep(progress: Progress, save: object) -> None:
        folder = tmp_path / f"state-{progress.epoch}"
        folder.mkdir()
        assert callable(save)
        save(folder)
        saved.append(folder)

    whole = fit(matryoshka_task(tiny_model(tmp_path / "model"), word_pairs(), CONFIG), CONFIG.optimizer, on_epoch=keep)
    other = matryoshka_task(tiny_model(tmp_path / "model", seed=7), word_pairs(), CONFIG)
    resumed = fit(other, CONFIG.optimizer, resume=saved[0])
    for one, other in zip(whole.history, resumed.history, strict=True):
        assert {k: v for k, v in one.items() if k not in TIMES} == pytest.approx(
            {k: v for k, v in other.items() if k not in TIMES}, rel=1e-4
        )


def test_frozen_layers_stay_as_they_are(tmp_path: Path) -> None:
    model = tiny_model(tmp_path)
    before = {name: weights.clone() for name, weights in model.state_dict().items()}
    changed: set[str] = set()

    def compare(progress: Progress, save: object) -> None:
        changed.update(name for name, weights in model.state_dict().items() if not torch.equal(weights, before[name]))

    config = CONFIG.model_copy(update={"frozen_layers": 1, "epochs": 1})
    fit(matryoshka_task(model, word_pairs(), config), config.optimizer, on_epoch=compare)
    assert changed and all("layer.1." in name for name in changed)
    with pytest.raises(InputError, match="frozen_layers: 3, and the model has 2"):
        freeze_lowest(model, 3, "matryoshka")


@pytest.mark.parametrize("dims", [[24, 48], [8, 8], [8, 0]])
def test_dimensions_must_fall(dims: list[int]) -> None:
    with pytest.raises(ValidationError, match="must be at least 1 and fall"):
        MatryoshkaConfig.model_validate({"dims": dims})
