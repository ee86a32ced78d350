"""Figures of methods beside each other: separation, calibration, hard negatives, parts of the test links; canaries."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data.graph.graph import GraphArtifact
from data.graph.split import SplitConfig, split_links
from data.matrices import unit_rows
from evaluation.baselines import untrained
from evaluation.config import LinkJudging
from evaluation.link_figures import Judged, compare, judge, save_ranks
from evaluation.link_questions import link_questions, rows_at_once
from evaluation.links import LinkScores, unordered_pairs

CONFIG = LinkJudging(resamples=200, hard_negatives=20)
GROUPS, SIZE = 20, 8
N = GROUPS * SIZE


def artifact(sources: np.ndarray, targets: np.ndarray, num_nodes: int, dim: int = 8) -> GraphArtifact:
    """A graph whose vectors say nothing, of two relations: that of even and that of odd links."""
    rng = np.random.default_rng(0)
    pairs = np.column_stack([sources, targets])
    return GraphArtifact(
        ids=[f"d{n}" for n in range(num_nodes)],
        titles=[""] * num_nodes,
        vectors=unit_rows(rng.normal(size=(num_nodes, dim)).astype(np.float32)),
        pairs=pairs,
        split=split_links(sources, targets, SplitConfig(test_fraction=0.2, valid_fraction=0.2)),
        relation=(np.arange(len(pairs)) % 2).astype(np.int32),
        relation_names=["even", "odd"],
    )


@pytest.fixture(scope="module")
def graph() -> GraphArtifact:
    """Groups of documents of which half of the pairs are linked."""
    u, v = np.triu_indices(N, 1)
    linked = (u // SIZE == v // SIZE) & (np.random.default_rng(1).random(len(u)) < 0.5)
    return artifact(u[linked], v[linked], N)


def judged(graph: GraphArtifact, methods: dict[str, LinkScores], config: LinkJudging = CONFIG) -> dict[str, Judged]:
    questions = link_questions(graph, config)
    return {name: judge(name, method, questions, graph.known_graph, config) for name, method in methods.items()}


def of_table(table: np.ndarray, logits: bool = False) -> LinkScores:
    return LinkScores(lambda s: table[s], lambda s, t: table[s, t], logits)


def test_a_method_that_knows_the_groups_is_told_from_chance(graph: GraphArtifact) -> None:
    group = np.arange(N) // SIZE
    noise = np.random.default_rng(2).random((N, N)).astype(np.float32)
    informed = (noise + 4 * (group[:, None] == group) - 2).astype(np.float32)
    methods = {"chance": of_table(noise), "also_chance": of_table(noise.T.copy()), "model": of_table(informed, True)}
    questions = link_questions(graph, CONFIG)
    ordered = [judge(name, method, questions, graph.known_graph, CONFIG) for name, method in methods.items()]
    table, details = compare(ordered, questions, N, graph.relation_names, CONFIG)
    assert table["model"]["auc"] > 0.97 and table["model"]["ap"] > 0.97
    assert 0.35 < table["chance"]["auc"] < 0.65
    assert table["model"]["mrr"] > 3 * table["chance"]["mrr"]
    assert table["chance"]["mrr_low"] < table["chance"]["mrr"] < table["chance"]["mrr_high"]
    assert details["comparison"]["best_baseline"] in ("chance", "also_chance")
    assert details["comparison"]["difference_low"] > 0 and details["comparison"]["p_value"] < 0.01
    assert set(details["curves"]) == set(methods) == set(details["scoring_seconds"])
    calibration = details["calibration"]["model"]
    assert set(calibration) == {"before", "after"}
    assert calibration["after"]["brier"] < calibration["before"]["brier"]
    assert set(details["calibration"]["chance"]) == {"after"}  # its scores are no probabilities
    assert [row["relation"] for row in details["by_relation"]] and sum(
        row["links"] for row in details["by_relation"]
    ) == len(questions.sources)
    shares = [row["links"] * row["mrr"]["model"] for row in details["by_degree"]]
    assert sum(shares) / len(questions.sources) == pytest.approx(table["model"]["mrr"])


def test_hard_negatives_make_it_harder_for_those_who_named_them(graph: GraphArtifact) -> None:
    found = judged(graph, {name: make() for name, make in untrained(graph).items()})
    random = LinkJudging(**{**CONFIG.model_dump(), "hard_negatives": 0})
    easy = judged(graph, {"resource_allocation": untrained(graph)["resource_allocation"]()}, random)
    assert "heart_mrr" not in easy["resource_allocation"].figures
    assert found["resource_allocation"].figures["heart_mrr"] < 0.9
    assert found["resource_allocation"].figures["mrr"] == easy["resource_allocation"].figures["mrr"]
    assert list(found)[:2] == ["cosine", "random_projection"]


def test_without_vectors_texts_are_not_compared(graph: GraphArtifact) -> None:
    bare = replace(graph, vectors=np.zeros((N, 0), np.float32))
    assert "cosine" not in untrained(bare)
    assert judged(bare, {"katz": untrained(bare)["katz"]()})["katz"].figures["heart_mrr"] > 0


def test_an_ablation_stands_in_the_table_and_is_no_baseline(graph: GraphArtifact) -> None:
    rng = np.random.default_rng(9)
    good = rng.random((N, N)).astype(np.float32) + graph.known_graph.adjacency.toarray()
    methods = {"model": of_table(good), "part": of_table(good), "chance": of_table(rng.random((N, N), np.float32))}
    questions = link_questions(graph, CONFIG)
    ordered = [judge(name, method, questions, graph.known_graph, CONFIG) for name, method in methods.items()]
    table, details = compare(ordered, questions, N, graph.relation_names, CONFIG, ablations=("part",))
    assert table["part"]["mrr"] > table["chance"]["mrr"]
    assert details["comparison"]["best_baseline"] == "chance"


def test_ranks_are_kept(graph: GraphArtifact, tmp_path: Path) -> None:
    questions = link_questions(graph, CONFIG)
    one = judge("katz", untrained(graph)["katz"](), questions, graph.known_graph, CONFIG)
    save_ranks([one], questions, tmp_path / "ranks.npz")
    with np.load(tmp_path / "ranks.npz") as kept:
        assert kept["ranks/katz"].shape == (2, len(kept["sources"]))
        assert (1 / kept["ranks/katz"]).mean() == pytest.approx(one.figures["mrr"])


def test_permuted_links_separate_from_nothing() -> None:
    """Canary: in a graph whose links were shuffled among the documents, every baseline's AUC is that of chance."""
    rng = np.random.default_rng(3)
    sources, targets = unordered_pairs(*rng.integers(0, 900, (2, 3600)))
    shuffled = artifact(sources, targets, 900)
    found = judged(shuffled, {name: make() for name, make in untrained(shuffled).items()})
    for name, one in found.items():
        assert abs(one.figures["auc"] - 0.5) < 0.06, name


def test_a_link_that_is_its_own_only_signal_is_not_found() -> None:
    """Canary: documents are linked in pairs and with nothing else, so a held-out link leaves no trace."""
    ends = np.arange(0, 1200, 2)
    paired = artifact(ends, ends + 1, 1200)
    for name, one in judged(paired, {name: make() for name, make in untrained(paired).items()}).items():
        assert abs(one.figures["auc"] - 0.5) < 0.1, name
        assert one.figures["mrr"] < 0.05, name


def test_a_complete_graph_has_no_non_links() -> None:
    complete = artifact(*np.triu_indices(7, 1), 7)
    one = judged(complete, {"katz": untrained(complete)["katz"]()})["katz"]
    assert one.ranks.tolist() == np.ones_like(one.ranks).tolist()
    assert "auc" not in one.figures and "ece" not in one.figures


def test_memory_of_dense_scores_is_bounded() -> None:
    assert [rows_at_once(LinkJudging(), nodes) for nodes in (0, 1000, 1_000_000, 10**9)] == [256, 256, 67, 1]
