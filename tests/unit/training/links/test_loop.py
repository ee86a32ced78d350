"""The training loop learns what is there, and nothing where there is nothing to learn."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from data.graph.graph import GraphArtifact
from evaluation.baselines import cosine
from evaluation.links import both_directions, link_metrics, link_ranks
from training.links.batches import LinkBatches
from training.links.config import TrainConfig
from training.links.loop import Progress, fit
from training.links.model import LinkModel
from training.links.sampler import NeighborSampler
from training.links.scoring import LinkScorer

Wiring = Callable[..., GraphArtifact]


def mrr(score: Callable[[np.ndarray], np.ndarray], graph: GraphArtifact, split: str = "test") -> float:
    return link_metrics(link_ranks(score, *both_directions(*graph.links(split)), graph.known_graph))["mrr"]


def chance(competitors: int) -> float:
    """Mean reciprocal rank of a guess."""
    return float((1 / np.arange(1, competitors + 1)).mean())


def losses(progress: Progress) -> list[float]:
    return [row["loss"] for row in progress.history]


@pytest.fixture(scope="module")
def trained(planted: GraphArtifact, small: TrainConfig) -> tuple[LinkModel, Progress]:
    return fit(planted, small.model_copy(update={"epochs": 10, "learning_rate": 0.03, "patience": 10}))


def test_learns_the_planted_pattern(planted: GraphArtifact, trained: tuple[LinkModel, Progress]) -> None:
    model, progress = trained
    assert losses(progress)[-1] < losses(progress)[0]
    found = mrr(LinkScorer(model, planted.training_graph, planted.vectors).score, planted)
    assert found > 2 * mrr(cosine(planted.vectors), planted) > 4 * chance(290)
    assert not model.training
    for key in ("epoch", "loss", "valid_mrr", "seconds", "links_per_s"):
        assert all(key in row for row in progress.history)


def test_names_the_planted_relation(planted: GraphArtifact, trained: tuple[LinkModel, Progress]) -> None:
    scorer = LinkScorer(trained[0], planted.training_graph, planted.vectors)
    held_out = planted.split > 0
    predicted = scorer.relations(*planted.pairs[held_out].T)
    share = (predicted == planted.relation[held_out]).mean()
    commonest = max(np.bincount(planted.relation[held_out])) / held_out.sum()
    assert share > 0.85 > commonest + 0.2
    turned = scorer.relations(*planted.pairs[held_out][:, ::-1].T)
    assert (turned == planted.relation[held_out]).mean() < share - 0.2, "the direction of a link was not learned"


def test_the_feature_only_baseline_learns_too(planted: GraphArtifact, small: TrainConfig) -> None:
    model, _ = fit(planted, small, views=False)
    scorer = LinkScorer(model, planted.training_graph, planted.vectors)
    assert mrr(scorer.score, planted) > mrr(cosine(planted.vectors), planted)


def test_the_binary_loss_learns_too(planted: GraphArtifact, small: TrainConfig) -> None:
    model, progress = fit(planted, small.model_copy(update={"loss": "binary"}))
    assert losses(progress)[-1] < losses(progress)[0] and losses(progress)[-1] < 0.69
    found = mrr(LinkScorer(model, planted.training_graph, planted.vectors).score, planted)
    assert found > mrr(cosine(planted.vectors), planted)


# Canaries of leakage


def test_where_links_are_random_nothing_is_found(patternless: GraphArtifact, small: TrainConfig) -> None:
    for views in (True, False):
        model, _ = fit(patternless, small.model_copy(update={"valid_links": 5000}), views)
        scorer = LinkScorer(model, patternless.training_graph, patternless.vectors)
        sources, targets = (patternless.pairs[patternless.split > 0]).T
        ranks = link_ranks(scorer.score, *both_directions(sources, targets), patternless.known_graph)
        spread = float((1 / ranks).std() / np.sqrt(len(ranks)))
        assert (1 / ranks).mean() == pytest.approx(chance(590), abs=4 * spread)
        assert ranks.mean() == pytest.approx(295, rel=0.08)


def first_epoch(graph: GraphArtifact, config: TrainConfig, views: bool = True) -> list[float]:
    return losses(fit(graph, config, views)[1])


def test_a_training_link_does_not_tell_of_itself(
    patternless_and_sparse: GraphArtifact, small: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where links are random, the loss of links met for the first time cannot fall below a guess's.

    It does fall where messages run along the links of the batch: the canary sings.
    """
    graph = patternless_and_sparse
    sizes = {"epochs": 1, "batch_links": 8, "steps_per_epoch": 1000, "fan_out": (30, 30), "learning_rate": 0.02}
    once = small.model_copy(update=sizes)
    relation = np.zeros(len(graph.links("train")[0]), np.int64)
    batches = LinkBatches(graph.training_graph, np.array(graph.vectors), *graph.links("train"), relation, once)
    guess = float(np.mean([torch.logsumexp(batch.log_weight_SC, dim=1).mean().item() for batch in batches.epoch(0)]))
    assert first_epoch(graph, once, views=False)[0] > 0.98 * guess
    assert first_epoch(graph, once)[0] > 0.98 * guess

    honest = NeighborSampler.sample
    monkeypatch.setattr(NeighborSampler, "sample", lambda self, seeds, without=None: honest(self, seeds))
    assert first_epoch(graph, once)[0] < 0.95 * guess


def test_a_link_that_is_all_there_is_to_know_is_not_found(wire: Wiring, small: TrainConfig) -> None:
    """Pairs with no other links: once the link is held out, any document without links is as good as any other."""
    rng = np.random.default_rng(2)
    vectors = rng.normal(size=(600, 16))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    graph = wire(rng.permutation(600).reshape(300, 2), vectors, valid=0.4, test=0.1)
    model, _ = fit(graph, small)
    scorer = LinkScorer(model, graph.training_graph, graph.vectors)
    without_links = int((graph.training_graph.degrees == 0).sum())
    assert without_links == 300
    for split in ("valid", "test"):
        assert mrr(scorer.score, graph, split) < 2 * chance(without_links - 1)


# Stopping and going on


def test_a_resumed_training_equals_an_undisturbed_one(
    planted: GraphArtifact, small: TrainConfig, tmp_path: Path
) -> None:
    def keep(progress: Progress, save: Callable[[Path], None]) -> None:
        folder = tmp_path / str(progress.epoch)
        folder.mkdir()
        save(folder)

    assert small.dropout > 0, "random numbers have to continue where they were"
    undisturbed, all_of_it = fit(planted, small, on_epoch=keep)
    torch.manual_seed(99)
    resumed, rest = fit(planted, small, resume=tmp_path / "2")
    assert losses(rest) == losses(all_of_it) and rest.epoch == small.epochs
    assert (rest.best_mrr, rest.best_epoch) == (all_of_it.best_mrr, all_of_it.best_epoch)
    expected = undisturbed.state_dict()
    assert all(torch.equal(weights, expected[name]) for name, weights in resumed.state_dict().items())

    after_the_end, nothing = fit(planted, small, resume=tmp_path / "3")
    assert losses(nothing) == losses(all_of_it)
    assert all(torch.equal(weights, expected[name]) for name, weights in after_the_end.state_dict().items())


def test_the_same_seed_trains_the_same_model(planted: GraphArtifact, small: TrainConfig) -> None:
    one = small.model_copy(update={"epochs": 1, "steps_per_epoch": 5})
    first, again = fit(planted, one), fit(planted, one)
    other = fit(planted, one.model_copy(update={"seed": 1}))
    assert losses(first[1]) == losses(again[1]) != losses(other[1])


def test_stops_early_and_keeps_the_best_epoch(patternless: GraphArtifact, small: TrainConfig, tmp_path: Path) -> None:
    """Without a pattern validation soon goes up and down."""
    states: dict[int, dict[str, torch.Tensor]] = {}
    running: list[Progress] = []

    def watch(progress: Progress, save: Callable[[Path], None]) -> None:
        save(tmp_path)
        states[progress.epoch] = _model_state(tmp_path)
        running.append(progress)

    config = small.model_copy(update={"epochs": 40, "patience": 2, "steps_per_epoch": 4})
    model, progress = fit(patternless, config, on_epoch=watch)
    figures = [row["valid_mrr"] for row in progress.history]
    assert progress.epoch == len(figures) == progress.best_epoch + 2 < 40
    assert progress.best_epoch == int(np.argmax(figures)) + 1
    best = states[progress.best_epoch]
    assert all(torch.equal(weights, best[name]) for name, weights in model.state_dict().items())


def _model_state(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    tensors = load_file(folder / "state.safetensors")
    return {name.removeprefix("model."): tensor for name, tensor in tensors.items() if name.startswith("model.")}


@pytest.mark.parametrize("missing", [0, 1])
def test_no_links_to_learn_from_or_to_judge_by(planted: GraphArtifact, small: TrainConfig, missing: int) -> None:
    without = replace(planted, split=np.where(planted.split == missing, 2, planted.split))
    with pytest.raises(ValueError, match="training needs training and validation links"):
        fit(without, small)
