"""Training batches of typed links: both ways, candidates that stand for all entities, known answers marked."""

import numpy as np
import pytest
import torch

from data.graph.graph import GraphArtifact
from evaluation.triples import both_ways
from training.typed.config import TypedConfig
from training.typed.questions import QuestionBatches, Questions


def batches(graph: GraphArtifact, rank: int = 0, world: int = 1, **config: object) -> QuestionBatches:
    made = TypedConfig.model_validate({"batch_triples": 20, "negatives": 10, **config})
    return QuestionBatches(graph.triples("train"), len(graph.relation_names), graph.vectors, made, 3, rank, world)


def triples_of(asked: Questions) -> list[tuple[int, ...]]:
    entities, candidates = asked.entities_E, asked.entities_E[asked.candidates_C]
    rows = torch.stack([entities[asked.head_B], asked.relation_B, candidates[asked.target_B]], dim=1)
    return [tuple(row) for row in rows.tolist()]


@pytest.mark.parametrize("negatives", [1, 10, 10_000, None])
def test_every_triple_is_asked_both_ways_among_marked_answers(ring: GraphArtifact, negatives: int | None) -> None:
    made = batches(ring, negatives=negatives)
    asked = [triple for batch in made.epoch(0) for triple in triples_of(batch)]
    known = {tuple(row) for row in both_ways(made.triples, made.relations).tolist()}
    assert set(asked) == known and len(asked) == made.steps * 40
    batch = next(made.epoch(0))
    marked = set(map(tuple, batch.known_2K.T.tolist()))
    candidates = batch.entities_E[batch.candidates_C].tolist()
    assert len(set(candidates)) == len(candidates) and (negatives != 10_000 or len(candidates) == len(ring.ids))
    for question, (head, way, tail) in enumerate(triples_of(batch)):
        for column, candidate in enumerate(candidates):
            is_other = (head, way, candidate) in known and candidate != tail
            assert ((question, column) in marked) == is_other
    assert torch.equal(batch.text_ED, torch.from_numpy(ring.vectors[batch.entities_E.numpy()]))


def test_weighted_candidates_stand_for_all_entities(ring: GraphArtifact) -> None:
    made, rng = batches(ring, batch_triples=2, negatives=6), np.random.default_rng(0)
    total, rounds = np.zeros(len(ring.ids)), 4000
    for _ in range(rounds):
        batch = made.batch(made.triples[rng.choice(len(made.triples), 2, replace=False)], rng)
        total[batch.entities_E[batch.candidates_C].numpy()] += batch.log_weight_C.exp().numpy()
    assert total / rounds == pytest.approx(np.ones(len(ring.ids)), abs=0.2)
    assert (total / rounds).mean() == pytest.approx(1.0, abs=0.02)


def test_epochs_repeat_and_workers_share_the_triples(ring: GraphArtifact) -> None:
    def epoch(made: QuestionBatches, number: int) -> list[list[tuple[int, ...]]]:
        return [triples_of(batch) for batch in made.epoch(number)]

    assert epoch(batches(ring), 1) == epoch(batches(ring), 1) != epoch(batches(ring), 2)
    halves = [batches(ring, rank, 2) for rank in (0, 1)]
    assert halves[0].steps == halves[1].steps
    seen = {triple for made in halves for batch in epoch(made, 0) for triple in batch}
    assert seen == {tuple(row) for row in both_ways(ring.triples("train"), 3).tolist()}


def test_a_single_triple_fills_a_batch(ring: GraphArtifact) -> None:
    made = QuestionBatches(np.array([[0, 0, 1]]), 1, ring.vectors, TypedConfig(), 0, rank=1, world=3)
    assert [triples_of(batch) for batch in made.epoch(0)] == [[(0, 0, 1), (1, 1, 0)]]
