"""The model of typed links, trained by the frame on a small knowledge graph."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from data.errors import InputError
from data.graph.graph import GraphArtifact
from evaluation.triples import TripleScorer, frequency, triple_questions, triple_ranks
from training.config import OptimizerConfig
from training.frame import Progress, fit
from training.links.config import TrainConfig
from training.typed.config import TypedConfig
from training.typed.driver import train_trial
from training.typed.model import TypedModel, load_model, save_model
from training.typed.scoring import TypedScorer
from training.typed.task import TypedTask, model_for

Knowledge = Callable[..., GraphArtifact]

SMALL = {
    "entities": "both",
    "width": 16,
    "text_width": 8,
    "negatives": 16,
    "batch_triples": 64,
    "n3": 0.01,
    "initial_scale": 0.1,
}
OPTIMIZER = OptimizerConfig(
    kind="adagrad", learning_rate=0.3, weight_decay=0, schedule="constant", warmup_fraction=0, epochs=25, patience=25
)


def trained(graph: GraphArtifact, epochs: int = 25, **config: object) -> tuple[TypedModel, Progress]:
    task = TypedTask(graph, TypedConfig.model_validate({**SMALL, **config}))
    progress = fit(task, OPTIMIZER.model_copy(update={"epochs": epochs}))
    assert isinstance(task.model, TypedModel)
    return task.model, progress


def mrr(score: TripleScorer, graph: GraphArtifact, part: str = "test") -> float:
    return float((1 / triple_ranks(score, triple_questions(graph, part))[0]).mean())


def by_frequency(graph: GraphArtifact) -> float:
    return mrr(frequency(graph.triples("train"), len(graph.relation_names), len(graph.ids)), graph)


@pytest.mark.parametrize(
    "config",
    [
        {"decoder": "complex"},
        {"decoder": "distmult", "negatives": None},
        {"decoder": "rotate", "loss": "self_adversarial", "margin": 3.0, "n3": 0.0},
        {"decoder": "complex", "entities": "table"},
        {"decoder": "complex", "entities": "text", "dropout": 0.2},
    ],
    ids=lambda config: "-".join(map(str, config.values())),
)
def test_it_learns_what_the_relations_say(ring: GraphArtifact, config: dict[str, object]) -> None:
    model, progress = trained(ring, **config)
    assert mrr(TypedScorer(model, ring.vectors).answers, ring) > 1.5 * by_frequency(ring)
    losses = [row["loss"] for row in progress.history]
    assert losses[-1] < losses[0] and progress.best_score == max(row["score"] for row in progress.history)


def test_the_same_seed_gives_the_same_model(ring: GraphArtifact) -> None:
    (first, _), (again, _) = (trained(ring, epochs=2) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))


def test_unseen_entities_are_ranked_from_their_texts(knowledge: Knowledge) -> None:
    graph = knowledge(unseen=4)
    new = np.arange(4) * 8
    assert not np.isin(graph.triples("train")[:, [0, 2]], new).any()
    both, _ = trained(graph)
    bare, _ = trained(graph, entities="table")
    scorers = {"both": TypedScorer(both, graph.vectors), "table": TypedScorer(bare, graph.vectors)}
    assert np.abs(scorers["table"].node_vectors[new]).max() == 0, "no learned vector without a triple"
    only = graph.split != 2
    only |= np.isin(graph.pairs, new).any(axis=1)
    unseen = replace(graph, pairs=graph.pairs[only], split=graph.split[only], relation=graph.relation[only])
    assert mrr(scorers["both"].answers, unseen) > 2 * mrr(scorers["table"].answers, unseen)


def test_entities_without_texts_are_learnt_from_triples(knowledge: Knowledge) -> None:
    graph = knowledge(texts=False)
    model, _ = trained(graph)
    assert mrr(TypedScorer(model, graph.vectors).answers, graph) > by_frequency(graph)


def test_a_graph_without_vectors_needs_a_table(ring: GraphArtifact) -> None:
    bare = replace(ring, vectors=np.zeros((len(ring.ids), 0), np.float32))
    with pytest.raises(InputError, match=r"train\.typed\.entities: 'both' needs text vectors"):
        trained(bare)
    trained(bare, epochs=1, entities="table")


@pytest.mark.parametrize("missing", ["train", "valid"])
def test_nothing_to_learn_from_or_to_judge_by_is_told(ring: GraphArtifact, missing: str) -> None:
    number = ["train", "valid"].index(missing)
    with pytest.raises(InputError, match=missing):
        trained(replace(ring, split=np.where(ring.split == number, 2, ring.split)))


def test_one_relation_with_one_example_and_loops() -> None:
    triples = np.array([[0, 0, 1], [1, 0, 1], [2, 1, 2], [2, 0, 1], [0, 1, 0]])
    graph = GraphArtifact(
        ids=list("abc"), titles=list("ABC"), vectors=np.eye(3, dtype=np.float32), pairs=triples[:, [0, 2]],
        split=np.array([0, 0, 0, 1, 2], np.int8), relation=triples[:, 1].astype(np.int32), relation_names=["r", "once"],
    )  # fmt: skip
    for decoder in ("distmult", "complex", "rotate"):
        model, progress = trained(graph, epochs=3, decoder=decoder, negatives=1)
        assert np.isfinite([row["loss"] for row in progress.history]).all()
        assert 0 < mrr(TypedScorer(model, graph.vectors).answers, graph) <= 1
    single = replace(graph, relation=np.zeros(5, np.int32), relation_names=["r"])
    model, _ = trained(single, epochs=1)
    assert TypedScorer(model, single.vectors).relations(np.array([0, 1]), np.array([2, 2])).tolist() == [0, 0]


def test_a_model_is_read_as_it_was_written(ring: GraphArtifact, tmp_path: Path) -> None:
    model = model_for(ring, TypedConfig.model_validate(SMALL), seed=4)
    save_model(model, tmp_path / "model.safetensors")
    read = load_model(tmp_path / "model.safetensors")
    assert read.shape == model.shape
    heads, ways = np.array([0, 7]), np.array([1, 5])
    ours, theirs = (TypedScorer(m, ring.vectors).answers(heads, ways) for m in (model, read))
    assert np.array_equal(ours, theirs)


def test_pairs_are_scored_under_their_likeliest_relation(ring: GraphArtifact) -> None:
    model, _ = trained(ring)
    scorer = TypedScorer(model, ring.vectors)
    heads, ways, tails = ring.triples("train").T
    scores, places = scorer.score_pairs(heads, tails, batch=50), scorer.relations(heads, tails)
    assert scorer.relation_names == ring.relation_names
    assert (places == ways).mean() > 0.9, "a pair's groups decide its relation"
    there, back = scorer.answers(heads, places), scorer.answers(tails, places + 3)
    rows = np.arange(len(heads))
    assert scores == pytest.approx((there[rows, tails] + back[rows, heads]) / 2, abs=1e-4)
    wrong = scorer.score_pairs(heads, (tails + 24) % 48)
    assert scores.mean() > wrong.mean(), "three groups on is no relation"


@pytest.mark.parametrize("decoder", ["distmult", "complex"])
def test_n3_has_a_weight_for_the_texts_part(ring: GraphArtifact, decoder: str) -> None:
    config = {**SMALL, "decoder": decoder, "n3": 1.0, "text_n3": 0.0}
    weighed = model_for(ring, TypedConfig.model_validate(config), seed=0)
    table = model_for(ring, TypedConfig.model_validate({**config, "text_n3": None}), seed=0)
    with torch.no_grad():
        for model in (weighed, table):
            model.relation.zero_()
            assert model.text is not None
        batch = next(TypedTask(ring, weighed.shape.config).batches(0))
        alike, less = table(batch).penalty, weighed(batch).penalty
        assert table.text is not None
        table.text.weight.zero_()
        assert 0 < less < alike and less.item() == pytest.approx(table(batch).penalty.item(), rel=1e-4)


def test_a_trial_of_a_search_tells_what_its_epochs_measure(
    ring: GraphArtifact, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("training.typed.driver.load_graph", lambda path: ring)
    train = TrainConfig(task="typed", typed=TypedConfig.model_validate(SMALL), optimizer=OptimizerConfig(epochs=2))
    rows: list[Mapping[str, float]] = []
    train_trial(tmp_path, train, rows.append)
    assert [row["epoch"] for row in rows] == [1, 2] and all(0 < row["score"] <= 1 for row in rows)
