"""The scorer of pairs is never worse than what it contains, and learns only from links that nothing has seen."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from data.graph.graph import GraphArtifact
from discovery.candidates import Candidates
from discovery.shards import BothWays, score_both_ways
from evaluation.baselines import LocalPush
from evaluation.links import both_directions, link_metrics, link_ranks
from training.links.config import ScorerConfig, TrainConfig
from training.links.features import FEATURES, STRUCTURE
from training.links.paths import WALK_TOLERANCE
from training.links.scorer import Lists, PairScorer, ScorerShape, fit_scorer, list_ranks
from training.links.scoring import FAR, LinkScorer
from training.links.shortlist import Shortlists
from training.links.stacking import choose, hidden_parts, join, make_lists, valid_pairs

CONFIG = ScorerConfig(units=8, members=2, epochs=8, links=100, shortlist=20, random=30)
F = len(FEATURES)


def lists_where(first: np.ndarray, others: np.ndarray, wanted: bool = True) -> Lists:
    """Lists of a true target with features ``first`` (Q, F) and rivals ``others`` (Q, L, F)."""
    features = torch.from_numpy(np.concatenate([first[:, None], others], 1).astype(np.float32))
    return Lists(
        features, torch.zeros(features.shape[:2], dtype=torch.bool), np.arange(len(first)), np.full(len(first), wanted)
    )


def of_two_features(seed: int = 0) -> Lists:
    """True targets are a little above others in each of two features, more so in their sum."""
    rng = np.random.default_rng(seed)
    first, others = rng.normal(size=(200, F)), rng.normal(size=(200, 30, F))
    first[:, [1, 4]] += 1.5
    return lists_where(first, others)


def test_a_fitted_scorer_joins_what_single_features_know() -> None:
    lists, unseen = of_two_features(), of_two_features(1)
    for units in (0, 8):
        scorer = fit_scorer(lists, FEATURES, CONFIG.model_copy(update={"units": units}))
        with torch.inference_mode():
            joined = (1 / list_ranks(scorer(unseen.features), unseen.absent)).mean()
        assert joined > (1 / list_ranks(unseen.features[..., 1], unseen.absent)).mean() + 0.05


def test_the_best_feature_alone_is_chosen_where_fitting_adds_nothing() -> None:
    rng = np.random.default_rng(0)
    first, others = rng.normal(size=(20, F)), rng.normal(size=(20, 30, F))
    first[:, 2] = 10 + rng.random(20)
    lists = lists_where(first, others)
    scorer, figures, best = choose(lists, FEATURES, CONFIG, 0)
    assert figures[best] == max(figures.values()) >= figures["resource_allocation"] == 1
    shuffled = lists_where(rng.normal(size=(20, F)), rng.normal(size=(20, 30, F)))
    scorer, figures, best = choose(shuffled, FEATURES, CONFIG, 0)
    assert figures[best] == max(figures.values())
    with torch.inference_mode():
        ranks = list_ranks(scorer(shuffled.features), shuffled.absent)
    if best in FEATURES:
        assert (1 / ranks).mean() == pytest.approx(figures[best])


def test_choices_are_made_on_validation_lists_where_there_are_any() -> None:
    rng = np.random.default_rng(0)
    first, others = rng.normal(size=(60, F)), rng.normal(size=(60, 20, F))
    first[:, 2] += 20
    first[:, 3] -= 20
    hidden = lists_where(first, others, wanted=False)
    first, others = rng.normal(size=(30, F)), rng.normal(size=(30, 20, F))
    first[:, 3] += 20
    figures = choose(join([hidden, lists_where(first, others)]), FEATURES, CONFIG, 0)[1]
    assert figures["three_paths"] == 1 and figures["resource_allocation"] < 0.5


def test_ties_rank_in_the_middle_and_absent_places_do_not_compete() -> None:
    logits = torch.tensor([[1.0, 1.0, 2.0, 9.0], [3.0, 1.0, 2.0, 3.0]])
    absent = torch.tensor([[False, False, False, True], [False, False, False, False]])
    np.testing.assert_array_equal(list_ranks(logits, absent), [2.5, 1.5])


def test_a_scorer_comes_back_whole(tmp_path: Path) -> None:
    scorer = fit_scorer(of_two_features(), STRUCTURE, CONFIG)
    scorer.save(tmp_path / "x.scorer.safetensors")
    again = PairScorer.load(tmp_path / "x.scorer.safetensors")
    features = np.random.default_rng(0).normal(size=(40, F)).astype(np.float32)
    np.testing.assert_array_equal(again.logits(features), scorer.logits(features))
    changed = features.copy()
    changed[:, [FEATURES.index(name) for name in FEATURES if name not in STRUCTURE]] += 1
    np.testing.assert_array_equal(again.logits(changed), scorer.logits(features))
    assert again.logits(features[:0]).shape == (0,)


def test_lists_hold_the_true_target_first_and_no_known_link(planted: GraphArtifact) -> None:
    links, every = valid_pairs(planted), CONFIG.model_copy(update={"shortlist": 300})
    lists = make_lists(planted, planted.training_graph, planted.vectors, links, every, 0, True)
    assert len(lists.group) == 2 * min(CONFIG.links, len(links[0])) and not lists.absent[:, 0].any()
    assert lists.features.shape[2] == F and lists.absent.shape == lists.features.shape[:2]
    # common neighbours of the first place are those of the validation links
    graph = planted.training_graph.adjacency
    kept = np.random.default_rng(0).permutation(len(links[0]))[: CONFIG.links]
    shared = np.asarray(graph[links[0][kept]].multiply(graph[links[1][kept]]).sum(1)).ravel()
    found = lists.features[: len(kept), 0, FEATURES.index("common_neighbours")].numpy()
    np.testing.assert_allclose(np.expm1(found), shared, atol=1e-4)


def test_test_links_change_nothing_in_lists(planted: GraphArtifact) -> None:
    """What they are cannot show in what the scorer learns from."""
    other = replace(planted, pairs=planted.pairs.copy())
    chosen = np.flatnonzero(planted.split == 2)
    other.pairs[chosen] = np.random.default_rng(0).permutation(300)[: 2 * len(chosen)].reshape(-1, 2)
    made = [make_lists(g, g.training_graph, g.vectors, valid_pairs(g), CONFIG, 0, True) for g in (planted, other)]
    assert torch.equal(made[0].features, made[1].features) and torch.equal(made[0].absent, made[1].absent)


def test_parts_are_hidden_where_validation_links_are_few() -> None:
    assert hidden_parts(1000, 5000, CONFIG, 0) == []
    parts = hidden_parts(1000, 40, CONFIG.model_copy(update={"links": 300}), 0)
    assert len(parts) == 3 and all(part.sum() == 100 for part in parts) and not (parts[0] & parts[1]).any()
    assert len(hidden_parts(1000, 0, CONFIG.model_copy(update={"links": 10_000}), 0)) == 10
    assert hidden_parts(1000, 0, CONFIG.model_copy(update={"folds": 0}), 0) == []
    few = hidden_parts(3, 0, CONFIG, 0)
    assert len(few) == 3 and all(part.sum() == 1 for part in few) and hidden_parts(1, 0, CONFIG, 0) == []


@pytest.mark.parametrize("links", [3, 12, 40])
def test_a_handful_of_links(wire: Callable[..., GraphArtifact], links: int) -> None:
    """Lists with hardly a rival, parts of one link: something is chosen, and it scores."""
    pairs = np.random.default_rng(links).permutation(60)[:30].reshape(-1, 2)[:links] % 12
    graph = wire(pairs[pairs[:, 0] != pairs[:, 1]], np.eye(12, 8) + 0.1, valid=0.2, test=0.1)
    states = graph.vectors
    lists = [make_lists(graph, graph.seen_graph, states, valid_pairs(graph), CONFIG, 0, True)]
    scorer, figures, best = choose(join(lists), FEATURES, CONFIG, 0)
    assert figures[best] == max(figures.values())
    assert np.isfinite(LinkScorer(scorer, graph, states).score(np.arange(12))).all()


def test_shortlists_have_no_neighbour_and_not_the_source(planted: GraphArtifact) -> None:
    graph = planted.training_graph
    sources = np.arange(0, 300, 7)
    row, column = Shortlists(graph, planted.vectors, None, None, 15).of(sources)
    assert not np.asarray(graph.adjacency[sources[row], column]).any() and (sources[row] != column).all()
    codes = row * 300 + column
    assert (np.diff(codes) > 0).all() and np.bincount(row).min() >= 5
    two_hop = graph.adjacency[sources[:1]] @ graph.adjacency
    nearest = np.argsort(-(planted.vectors[sources[0]] @ planted.vectors.T))[:16]
    visited = LocalPush(graph, tolerance=WALK_TOLERANCE).rows(sources[:1])
    assert set(column[row == 0]) <= set(two_hop.indices) | set(nearest) | set(visited.indices)


@pytest.fixture(scope="module")
def scorer(planted: GraphArtifact, small: TrainConfig) -> LinkScorer:
    lists = make_lists(planted, planted.training_graph, planted.vectors, valid_pairs(planted), small.scorer, 0, True)
    return LinkScorer(choose(lists, FEATURES, small.scorer, 0)[0], planted, planted.vectors)


def test_rows_hold_the_scores_of_pairs_and_all_else_below(planted: GraphArtifact, scorer: LinkScorer) -> None:
    sources = np.array([5, 0, 299])
    rows = scorer.score(sources)
    assert rows.shape == (3, 300) and rows.dtype == np.float32
    row, column = np.nonzero(rows > FAR / 2)
    assert len(row) > 60
    np.testing.assert_allclose(rows[row, column], scorer.score_pairs(sources[row], column), atol=1e-4)
    cosines = planted.vectors[sources] @ planted.vectors.T
    far = rows <= FAR / 2
    np.testing.assert_allclose(rows[far] - FAR, cosines[far], atol=1e-3)
    assert scorer.score_pairs(np.arange(0), np.arange(0)).shape == (0,)


def test_both_directions_at_once_are_what_each_is_alone(
    planted: GraphArtifact, scorer: LinkScorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.links.paths.WALK_TOLERANCE", 1e-10)  # else walks there and back differ by as much
    scorer = LinkScorer(scorer.scorer, planted, scorer.node_vectors)
    low, high = np.array([3, 3, 40, 77]), np.array([9, 200, 41, 299])
    pairs = Candidates(low, high, np.ones(4, np.uint8))
    assert isinstance(scorer, BothWays)
    forward, backward = score_both_ways(scorer, pairs, batch_pairs=3)
    np.testing.assert_allclose(forward, scorer.score_pairs(low, high), atol=1e-4)
    np.testing.assert_allclose(backward, scorer.score_pairs(high, low), atol=1e-4)


def test_the_scorer_finds_what_states_and_features_know(planted: GraphArtifact, scorer: LinkScorer) -> None:
    pairs = both_directions(*planted.links("test"))
    figure = link_metrics(link_ranks(scorer.score, *pairs, planted.known_graph))["mrr"]
    alone = link_metrics(link_ranks(lambda s: planted.vectors[s] @ planted.vectors.T, *pairs, planted.known_graph))
    assert figure > 1.5 * alone["mrr"]


def test_a_scorer_of_features_has_no_states(planted: GraphArtifact) -> None:
    plain = LinkScorer(PairScorer(ScorerShape(features=STRUCTURE, units=0, members=0)), planted, None)
    with pytest.raises(ValueError, match="no states"):
        _ = plain.node_vectors
    assert plain.relations(np.arange(3), np.arange(3)).tolist() == [0, 0, 0]


def test_a_link_whose_target_no_shortlist_has_is_not_learnt_from(planted: GraphArtifact) -> None:
    links, graph = valid_pairs(planted), planted.training_graph
    few, many = (
        make_lists(planted, graph, planted.vectors, links, ScorerConfig(shortlist=count), 0, True) for count in (3, 300)
    )
    sources, targets = both_directions(*links)
    row, column = Shortlists(graph, planted.vectors, planted.words, planted.vectors, 3).of(sources)
    assert len(few.group) == int((column == targets[row]).sum()) < len(many.group) == len(sources)
