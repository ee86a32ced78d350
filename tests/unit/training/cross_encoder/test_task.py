"""A cross-encoder learns from lists, the same with the same seed, and goes on from where it was killed."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from data.errors import InputError
from retrieval.pairs import PairScorer
from tests.tiny_model import tiny_model
from training.cross_encoder.config import RankerConfig
from training.cross_encoder.lists import Lists, RankedList
from training.cross_encoder.model import PairLogits, listwise_loss, new_ranker, readable
from training.cross_encoder.task import ListBatch, RankerTask
from training.frame import Progress, Save, fit

WORDS = ("sea", "moon", "rock", "tree", "bird")
TIMES = ("seconds", "valid_seconds", "questions_per_s")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("base") / "tiny"
    tiny_model(folder)
    return str(folder)


def config(**keys: object) -> RankerConfig:
    optimizer = {"learning_rate": 0.003, "epochs": 6, "patience": 9, "accumulate": 1}
    return RankerConfig.model_validate(
        {"max_length": 32, "list_documents": 4, "piece_pairs": 6, "optimizer": optimizer, **keys}
    )


def lists(seed: int = 0) -> Lists:
    """What answers says good, and the first stage does not see that; of each list two answer, one of them is missed."""
    rng = np.random.default_rng(seed)
    texts = [f"{word} {'good' if good else 'bad'} {n} {'and more ' * (n % 4)}" for n, (word, good) in _kinds(60)]
    good = np.array([n for n, (_, is_good) in _kinds(60) if is_good])
    bad = np.array([n for n, (_, is_good) in _kinds(60) if not is_good])
    made = []
    for n in range(56):
        chosen = rng.permutation([*rng.choice(bad, 9, replace=False), rng.choice(good)])
        missed = rng.choice(np.setdiff1d(good, chosen))
        places = np.array([*chosen, missed])
        made.append(RankedList(f"which {WORDS[n % 5]}", places, np.isin(places, good).astype(np.int64), 10))
    return Lists(made[:40], made[40:], pa.array(texts))


def _kinds(count: int) -> list[tuple[int, tuple[str, bool]]]:
    return [(n, (WORDS[n % 5], n % 3 == 0)) for n in range(count)]


def task_of(base: str, asked: RankerConfig, rank: int = 0, world: int = 1) -> RankerTask:
    model, tokenizer = new_ranker(base, asked.max_length, asked.optimizer.seed)
    return RankerTask(model, tokenizer, lists(), asked, rank, world)


def trained(base: str, folder: Path, resume: Path | None = None) -> tuple[RankerTask, Progress]:
    task = task_of(base, config())

    def keep(progress: Progress, save: Save) -> None:
        if resume is None:
            made = folder / f"epoch-{progress.epoch}"
            made.mkdir()
            save(made)

    return task, fit(task, config().optimizer, on_epoch=keep, resume=resume)


Trained = tuple[RankerTask, Progress]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("undisturbed")


@pytest.fixture(scope="module")
def undisturbed(base: str, folder: Path) -> Trained:
    return trained(base, folder)


def test_it_puts_what_answers_first(undisturbed: Trained) -> None:
    task, progress = undisturbed
    best = progress.history[progress.best_epoch - 1]
    assert progress.best_epoch == best["epoch"] and best["valid_ndcg@10"] == max(
        row["valid_ndcg@10"] for row in progress.history
    )
    assert best["valid_alone_ndcg@10"] > best["valid_first_ndcg@10"] + 0.1
    assert progress.history[-1]["loss"] < progress.history[0]["loss"]
    assert task.best_VD is not None and task.best_VD.shape == (16, 10)


def test_logits_of_the_best_epoch_are_those_of_the_weights_that_are_kept(undisturbed: Trained) -> None:
    task, _ = undisturbed
    kept = task.best_VD
    assert kept is not None
    again = task._logits(0, 16)  # in fp32
    assert np.abs(again - kept).max() < 0.05 * np.ptp(again)


def test_it_goes_on_from_a_saved_state_as_if_undisturbed(
    undisturbed: Trained, base: str, folder: Path, tmp_path: Path
) -> None:
    task, whole = undisturbed
    resumed, rest = trained(base, tmp_path, resume=folder / "epoch-1")
    for name, tensor in task.model.state_dict().items():
        assert torch.equal(tensor, resumed.model.state_dict()[name]), name
    kept = [{k: v for k, v in row.items() if k not in TIMES} for row in whole.history]
    assert kept == [{k: v for k, v in row.items() if k not in TIMES} for row in rest.history]
    assert task.best_VD is not None and resumed.best_VD is not None
    np.testing.assert_allclose(resumed.best_VD, task.best_VD, atol=1e-6)


def test_a_batch_has_one_answer_first_and_near_documents_that_are_none(base: str) -> None:
    asked = config(batch_questions=5)
    task, every = task_of(base, asked), lists()
    tokenizer: Any = task._scorer._tokenizer
    batches = list(task.batches(1))
    assert len(batches) == task.steps == 8
    seen = []
    for batch in batches:
        read = [
            tokenizer.decode(numbers, skip_special_tokens=True)
            for piece in batch.pieces
            for numbers in piece["input_ids"]
        ]
        assert len(read) == 20 and batch.there.all()
        for row in batch.place.tolist():
            texts = [read[place] for place in row]
            assert " good " in texts[0] and all(" bad " in text for text in texts[1:]) and len(set(texts)) == 4
            assert len({text.split()[1] for text in texts}) == 1, "all of one question"
            seen.append(texts[0])
    assert len(set(seen)) > 10, "answers are drawn, and missed ones among them"
    assert len(every.train) == 40
    same = [batch.place.tolist() for batch in task.batches(1)]
    assert same == [batch.place.tolist() for batch in batches] != [batch.place.tolist() for batch in task.batches(2)]


def test_workers_share_an_epoch(base: str) -> None:
    asked = config(batch_questions=5)
    halves = [task_of(base, asked, rank, 2) for rank in (0, 1)]
    assert [task.steps for task in halves] == [4, 4]
    firsts = [batch.pieces[0]["input_ids"].tolist() for task in halves for batch in task.batches(0)]
    assert len({str(first) for first in firsts}) == 8


def test_the_loss_is_that_of_pairs_scored_one_by_one(base: str) -> None:
    task = task_of(base, config())
    task.model.eval()
    batch = next(iter(task.batches(0)))
    logits = torch.cat(
        [
            task.model([{k: v[i : i + 1] for k, v in p.items()}])
            for p in batch.pieces
            for i in range(len(p["input_ids"]))
        ]
    )
    by_list = logits[batch.place]
    expected = -torch.log_softmax(by_list, 1)[:, 0].mean()
    torch.testing.assert_close(task.loss(task.model, batch), expected, rtol=1e-4, atol=1e-5)


def test_a_list_that_is_shorter_counts_what_there_is() -> None:
    logits = torch.tensor([[1.0, 0.0, 9.0], [2.0, 1.0, 0.0]])
    there = torch.tensor([[True, True, False], [True, True, True]])
    loss = listwise_loss(logits, there)
    expected = (-torch.log_softmax(logits[0, :2], 0)[0] - torch.log_softmax(logits[1], 0)[0]) / 2
    torch.testing.assert_close(loss, expected)
    moved = ListBatch([{"input_ids": torch.zeros(1, 2)}], logits.long(), there, logits).to(torch.device("cpu"))
    assert moved.there.equal(there) and moved.prior.equal(logits)


def test_ranks_of_the_first_stage_are_a_prior_where_that_is_asked_for(base: str) -> None:
    plain, prior = (next(iter(task_of(base, config(rank_prior=weight)).batches(0))) for weight in (0.0, 2.0))
    assert not plain.prior.any() and plain.place.equal(prior.place)
    ranks = torch.exp(-prior.prior / 2).round()
    assert ((ranks >= 1) & (ranks <= 11)).all() and len(set(ranks.flatten().tolist())) > 3
    task = task_of(base, config(rank_prior=2.0))
    task.model.eval()
    expected = listwise_loss(task.model(prior.pieces)[prior.place] + prior.prior, prior.there)
    torch.testing.assert_close(task.loss(task.model, prior), expected)


def test_frozen_layers_stay_and_the_head_learns(base: str) -> None:
    task = task_of(base, config(frozen_layers=1))
    before = {name: weights.clone() for name, weights in task.model.state_dict().items()}
    fit(task, config(optimizer={"epochs": 1}).optimizer)
    moved = {name for name, weights in task.model.state_dict().items() if not torch.equal(weights, before[name])}
    assert moved and all("layer.1." in name or "classifier" in name or "pooler" in name for name in moved)
    assert any("pooler" in name for name in moved) and any("layer.1." in name for name in moved)
    with pytest.raises(InputError, match=r"ranker\.frozen_layers: 3, and the model has 2"):
        task_of(base, config(frozen_layers=3))


def test_the_head_is_new_the_same_with_the_same_seed_and_learns_faster(base: str) -> None:
    (one, _), (same, _), (other, _) = (new_ranker(base, 32, seed) for seed in (0, 0, 1))
    assert torch.equal(one.classifier.weight, same.classifier.weight)
    assert not torch.equal(one.classifier.weight, other.classifier.weight)
    trunk = tiny_model_weights(base)
    assert all(torch.equal(weights, one.bert.state_dict()[name]) for name, weights in trunk.items())
    body, head = PairLogits(one).groups(7.0)
    new = [*one.classifier.parameters(), *one.bert.pooler.parameters()]
    assert head["rate"] == 7.0 and {id(weights) for weights in head["params"]} == {id(weights) for weights in new}
    assert len(body["params"]) + len(head["params"]) == len(list(one.parameters()))


def tiny_model_weights(base: str) -> dict[str, torch.Tensor]:
    from transformers import BertModel

    weights: dict[str, torch.Tensor] = BertModel.from_pretrained(base).state_dict()
    return weights


def test_what_cannot_be_the_base_is_refused_before_any_work(base: str, tmp_path: Path) -> None:
    fits = readable(base, 32)
    assert fits("moon " * 16) and not fits("moon " * 17)
    with pytest.raises(InputError, match=r"ranker\.max_length: 9999 is more than .* reads \(512 tokens\)"):
        readable(base, 9999)
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(InputError, match=r"ranker\.base: "):
            readable(str(path), 32)


def test_weights_that_are_no_numbers_stop_the_training(base: str, tmp_path: Path) -> None:
    task = task_of(base, config())
    with torch.no_grad():
        next(task.model.parameters()).fill_(float("nan"))
    with pytest.raises(InputError, match="loss is nan"):
        fit(task, config().optimizer, out=tmp_path)


def test_training_and_serving_cut_pairs_alike(base: str) -> None:
    task = task_of(base, config())
    assert isinstance(task._scorer, PairScorer)
    ((numbers, cut),) = task._scorer.encode([("which moon", "moon good " * 99, None)])
    assert cut and len(numbers["input_ids"]) == 32
