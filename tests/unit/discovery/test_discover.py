"""Discovery in planted groups and in a real citation graph: what is proposed, and whether it can be trusted."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from data.graph.graph import Graph, GraphArtifact, GraphConfig
from data.graph.split import split_links
from data.partitions import partitions, read_table
from discovery.candidates import Nodes
from discovery.config import DiscoverConfig
from discovery.discover import discover
from discovery.proposals import PROPOSALS, read_best, reason, shared_neighbours
from discovery.shards import Source
from evaluation.links import unordered_pairs


class TextAndNeighbours:
    """A plain scorer: cosine plus shared neighbours; a lower number pointing to a higher one is a little likelier."""

    def __init__(self, graph: GraphArtifact) -> None:
        self.relation_names = ["cites", "extends"]
        self.node_vectors = np.asarray(graph.vectors)
        self._links = sparse.csr_array(graph.training_graph.adjacency)
        self.largest_batch = 0

    def score_pairs(self, sources: Nodes, targets: Nodes) -> np.ndarray:
        self.largest_batch = max(self.largest_batch, len(sources))
        cosine = np.einsum("pd,pd->p", self.node_vectors[sources], self.node_vectors[targets])
        shared = np.asarray(self._links[sources].multiply(self._links[targets]).sum(axis=1)).ravel()
        return np.asarray(3 * cosine + np.log1p(shared) + 0.01 * (sources < targets), np.float32)

    def relations(self, sources: Nodes, targets: Nodes) -> np.ndarray:
        return (sources + targets) % 2


def artifact_of(sources: Nodes, targets: Nodes, vectors: np.ndarray) -> GraphArtifact:
    n = len(vectors)
    return GraphArtifact(
        ids=[f"d{i}" for i in range(n)],
        titles=[f"Document {i}" for i in range(n)],
        vectors=vectors,
        pairs=np.column_stack([sources, targets]),
        split=split_links(sources, targets, GraphConfig(valid_fraction=0.2, test_fraction=0.1)),
        relation=np.zeros(len(sources), np.int32),
        relation_names=["cites"],
    )


def of(graph: GraphArtifact, scorer: TextAndNeighbours | None = None) -> Source:
    """A source of what is in memory already."""
    made = scorer or TextAndNeighbours(graph)
    return Source(lambda: graph, lambda: made)


@pytest.fixture(scope="module")
def planted() -> GraphArtifact:
    """600 documents in 40 groups; inside a group texts are alike and two in five pairs are linked."""
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(40), 15)
    u, v = np.triu_indices(600, 1)
    linked = rng.random(len(u)) < np.where(group[u] == group[v], 0.4, 0.0005)
    vectors = rng.normal(size=(40, 16))[group] + 0.5 * rng.normal(size=(600, 16))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return artifact_of(u[linked], v[linked], vectors.astype(np.float32))


@pytest.fixture(scope="module")
def outcome(planted: GraphArtifact, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    out = tmp_path_factory.mktemp("discover")
    scorer = TextAndNeighbours(planted)
    config = DiscoverConfig(keep=1000, batch_pairs=777, most_of_one=1000, shard_documents=130)
    result = discover(of(planted, scorer), config, out)
    assert scorer.largest_batch == 777
    return result, out


def test_proposals_are_new_distinct_and_ranked(planted: GraphArtifact, outcome: tuple[dict[str, Any], Path]) -> None:
    table = read_table(outcome[1] / "links")
    assert table.schema.equals(PROPOSALS)
    assert table.num_rows == outcome[0]["kept"] == 1000
    number = {name: i for i, name in enumerate(planted.ids)}
    pairs = [(number[row["source"]], number[row["target"]]) for row in table.to_pylist()]
    assert len({frozenset(pair) for pair in pairs}) == 1000
    assert all(u != v and not planted.known_graph.adjacency[u, v] for u, v in pairs)
    assert all(u < v for u, v in pairs), "the likelier direction of this scorer is upwards"
    for column in ("probability", "score"):
        values = table[column].to_numpy()
        assert (np.diff(values) <= 0).all()
    probability = table["probability"].to_numpy()
    assert (probability > 0).all() and (probability < 1).all()
    assert set(table["relation"].to_pylist()) == {"cites", "extends"}


def test_the_group_structure_is_found(outcome: tuple[dict[str, Any], Path]) -> None:
    best = read_best(outcome[1] / "links", 300)
    inside = [int(row["source"][1:]) // 15 == int(row["target"][1:]) // 15 for row in best]
    assert np.mean(inside) > 0.95
    assert outcome[0]["hidden_links_found"]["valid"] > 0.7


def test_reasons_tell_the_truth(planted: GraphArtifact, outcome: tuple[dict[str, Any], Path]) -> None:
    links = planted.known_graph.adjacency
    for row in read_best(outcome[1] / "links", 50):
        u, v = int(row["source"][1:]), int(row["target"][1:])
        common = set(links[u].indices.tolist()) & set(links[v].indices.tolist())
        assert row["shared_neighbours"] == len(common)
        assert {int(title.split()[1]) for title in row["shared"]} <= common
        assert all(title in row["reason"] for title in row["shared"])
        assert row["text_similarity"] == pytest.approx(float(planted.vectors[u] @ planted.vectors[v]), abs=1e-5)
        assert row["candidate_sources"]


def test_ids_stand_where_titles_are_empty_and_beside_titles_that_are_alike(tmp_path: Path) -> None:
    vectors = np.eye(6, dtype=np.float32) + 0.5
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    named = artifact_of(np.array([0, 1, 3]), np.array([2, 2, 2]), vectors.astype(np.float32))
    named = replace(named, titles=["", " ", "Notes", "notes ", "Only", "Other"])
    discover(of(named), DiscoverConfig(), tmp_path)
    rows = read_table(tmp_path / "links").to_pylist()
    labels = {"d0": "d0", "d1": "d1", "d2": "Notes [d2]", "d3": "notes  [d3]", "d4": "Only", "d5": "Other"}
    assert all(
        (row["source_label"], row["target_label"]) == (labels[row["source"]], labels[row["target"]]) for row in rows
    )
    shared = next(row for row in rows if {row["source"], row["target"]} == {"d0", "d1"})
    assert shared["reason"].startswith("Both are linked with “Notes [d2]”;")


def test_probabilities_hold_on_the_half_that_was_not_learnt_from(outcome: tuple[dict[str, Any], Path]) -> None:
    figures = outcome[0]["calibration"]
    assert figures["ece"] < 0.02
    assert figures["brier"] < figures["brier_of_base_rate"]
    assert figures["top"]["promised"] == pytest.approx(figures["top"]["observed"], abs=0.06)
    assert figures["top"]["observed"] > 1.5 * figures["base_rate"]


def test_a_second_run_replaces_what_is_there(planted: GraphArtifact, tmp_path: Path) -> None:
    config = DiscoverConfig(keep=5000)
    discover(of(planted), config, tmp_path)
    first = read_table(tmp_path / "links")
    (tmp_path / "links" / "part-00009.parquet").write_bytes(b"left by an interrupted run")
    discover(of(planted), config, tmp_path)
    assert read_table(tmp_path / "links").equals(first)
    assert len(partitions(tmp_path / "links")) == -(-first.num_rows // 4096)


def test_too_few_links_to_calibrate_give_the_base_rate(tmp_path: Path) -> None:
    vectors = np.eye(6, dtype=np.float32) + 0.5
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    tiny = artifact_of(np.array([0, 1]), np.array([1, 2]), vectors.astype(np.float32))
    result = discover(of(tiny), DiscoverConfig(), tmp_path)
    assert result["calibration"]["method"] == "base rate"
    rows = read_best(tmp_path / "links", 100)
    assert len(rows) == result["kept"] > 0
    assert len({row["probability"] for row in rows}) == 1


def test_nothing_to_propose_is_an_empty_table(tmp_path: Path) -> None:
    alone = artifact_of(np.array([0]), np.array([1]), np.zeros((2, 4), np.float32))
    assert discover(of(alone), DiscoverConfig(), tmp_path)["kept"] == 0
    assert read_table(tmp_path / "links").schema.equals(PROPOSALS)
    assert read_best(tmp_path / "links", 10) == []


def test_on_cora_hidden_citations_are_proposed_with_honest_probabilities(data_root: Path, tmp_path: Path) -> None:
    with np.load(data_root / "planetoid" / "cora.npz") as file:
        bags = sparse.csr_array((file["x_data"], file["x_indices"], file["x_indptr"]), shape=tuple(file["x_shape"]))
        sources, targets = unordered_pairs(*file["edges"].T.astype(np.int64))
    words = bags.toarray()
    words /= np.maximum(np.linalg.norm(words, axis=1, keepdims=True), 1e-12)
    cora = artifact_of(sources, targets, words.astype(np.float32))
    result = discover(of(cora), DiscoverConfig(), tmp_path)
    assert result["hidden_links_found"]["valid"] > 0.45
    assert result["calibration"]["ece"] < 0.01
    top = result["calibration"]["top"]
    assert abs(top["promised"] - top["observed"]) < 0.03


def test_shared_neighbours_name_the_least_linked_first() -> None:
    graph = Graph.from_pairs(np.array([0, 1, 0, 1, 2, 2]), np.array([2, 2, 3, 3, 4, 5]), 6)
    assert shared_neighbours(graph, 0, 1).tolist() == [3, 2]
    assert shared_neighbours(graph, 4, 3).tolist() == []


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ((0.714, 0, [], ["text"]), "No neighbour in common; text similarity 0.71, among the nearest texts."),
        ((0.5, 1, ["A"], ["two_hop"]), "Both are linked with “A”; text similarity 0.50."),
        (
            (0.5, 5, ["A", "B", "C"], ["model", "two_hop"]),
            "Both are linked with “A”, “B”, “C” and 2 others; text similarity 0.50; near each other in the link model.",
        ),
        ((0.5, 4, ["A", "B", "C"], []), "Both are linked with “A”, “B”, “C” and 1 other; text similarity 0.50."),
    ],
)
def test_reasons_read_like_sentences(given: tuple[float, int, list[str], list[str]], sentence: str) -> None:
    assert reason(*given) == sentence
