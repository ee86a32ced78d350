"""Candidates against brute force: nothing missed, nothing known, nothing twice, whatever the shards."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from data.graph.graph import Graph
from discovery.candidates import (
    SOURCES,
    Candidates,
    Clues,
    Finder,
    Nodes,
    TwoHop,
    merge,
    pair_codes,
    rare_words,
)
from discovery.config import DiscoverConfig
from retrieval.neighbours import build_index, nearest, open_index


def unit(rng: np.random.Generator, n: int, dim: int = 8) -> np.ndarray:
    vectors: np.ndarray = rng.normal(size=(n, dim)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def random_graph(n: int, links: int, seed: int) -> Graph:
    sources, targets = np.random.default_rng(seed).integers(0, n, (2, links))
    return Graph.from_pairs(sources, targets, n)


def gathered(pairs: tuple[Nodes, Nodes]) -> dict[int, set[int]]:
    found: dict[int, set[int]] = {}
    for u, v in zip(pairs[0].tolist(), pairs[1].tolist(), strict=True):
        found.setdefault(u, set()).add(v)
    return found


def all_nearest(vectors: np.ndarray, k: int, exact_below: int, folder: Path) -> dict[int, set[int]]:
    path = folder / f"{exact_below}.faiss"
    build_index(vectors, exact_below, path)
    assert any(folder.glob(f"{exact_below}.*")) == (len(vectors) > exact_below)
    return gathered(nearest(open_index(vectors, path), vectors, 0, len(vectors), k))


def test_exact_neighbours_equal_brute_force(tmp_path: Path) -> None:
    vectors = unit(np.random.default_rng(0), 200)
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, -1)
    found = all_nearest(vectors, 5, 1000, tmp_path)
    for u in range(200):
        wanted = set(np.argsort(-cosines[u])[:5].tolist())
        assert found[u] <= wanted | set(np.argsort(-cosines[u])[:6].tolist())
        assert len(found[u] & wanted) >= 5


@pytest.mark.parametrize("graph_above", [100_000, 100])
def test_an_index_finds_nearly_all_of_them(tmp_path: Path, graph_above: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Comparing along the directions that hold most, and the graph of neighbours."""
    monkeypatch.setattr("retrieval.neighbours.GRAPH_ABOVE", graph_above)
    rng = np.random.default_rng(1)
    centres = unit(rng, 40, 256)
    vectors = centres[rng.integers(0, 40, 3000)] + 0.025 * rng.normal(size=(3000, 256)).astype(np.float32)
    vectors *= np.geomspace(1, 0.05, 256, dtype=np.float32)  # texts do not fill their dimensions either
    exact = all_nearest(vectors, 10, 3000, tmp_path)
    rough = all_nearest(vectors, 10, 100, tmp_path)
    recall = np.mean([len(exact[u] & rough.get(u, set())) / len(exact[u]) for u in exact])
    assert recall > 0.93


def test_zero_vectors_have_no_neighbours_and_lengths_do_not_matter(tmp_path: Path) -> None:
    vectors = unit(np.random.default_rng(2), 30)
    scaled = vectors * np.linspace(0.1, 9, 30, dtype=np.float32)[:, None]
    scaled[7] = 0
    found = all_nearest(scaled, 4, 100, tmp_path)
    assert 7 not in found
    assert all(7 not in others for others in found.values())
    whole = all_nearest(vectors, 4, 100, tmp_path)
    assert {v for v in whole[0] if v != 7} <= found[0]


def brute_two_hop(graph: Graph, hub_degree: int) -> dict[tuple[int, int], float]:
    neighbours = [set(graph.indices[graph.indptr[u] : graph.indptr[u + 1]].tolist()) for u in range(graph.num_nodes)]
    return {
        (u, v): sum(1 / len(neighbours[w]) for w in neighbours[u] & neighbours[v] if len(neighbours[w]) <= hub_degree)
        for u, v in itertools.permutations(range(graph.num_nodes), 2)
        if v not in neighbours[u]
    }


@pytest.mark.parametrize("hub_degree", [1000, 6])
@pytest.mark.parametrize("shard", [40, 7])
def test_two_hop_neighbours_are_the_best_by_resource_allocation(
    hub_degree: int, shard: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("discovery.candidates.PATHS_AT_ONCE", 40)  # many blocks
    graph = random_graph(40, 90, seed=3)
    weights = brute_two_hop(graph, hub_degree)
    way = TwoHop(graph, 3, hub_degree)
    parts = [way(start, min(start + shard, 40)) for start in range(0, 40, shard)]
    found = gathered((np.concatenate([a for a, _ in parts]), np.concatenate([b for _, b in parts])))
    for u in range(40):
        reachable = sorted((weight for (a, _), weight in weights.items() if a == u and weight > 0), reverse=True)
        kept = sorted((weights[u, v] for v in found.get(u, set())), reverse=True)
        assert kept == pytest.approx(reachable[:3])


def clues_of(n: int) -> Clues:
    rng = np.random.default_rng(4)
    words = sp.csr_matrix(sp.random_array((n, 300), density=0.02, rng=rng, dtype=np.float32))
    return Clues(random_graph(n, 2 * n, seed=5), unit(rng, n), unit(rng, n), words)


def find(clues: Clues, config: DiscoverConfig, folder: Path, shard: int) -> Candidates:
    for name, vectors in (("text", clues.text), ("model", clues.model)):
        build_index(vectors, config.exact_below, folder / f"{name}.faiss", config.seed)
    finder, n = Finder(clues, config, folder), clues.graph.num_nodes
    parts = [finder.find(start, min(start + shard, n)) for start in range(0, n, shard)]
    codes = np.concatenate([part.low * n + part.high for part in parts])
    merged, bits = merge(codes, np.concatenate([part.found_by for part in parts]))
    return Candidates(merged // n, merged % n, bits)


def only(name: str, k: int) -> DiscoverConfig:
    return DiscoverConfig.model_validate({f"{other}_neighbours": k * (other == name) for other in SOURCES})


@pytest.mark.parametrize("shard", [90, 11])
def test_no_self_no_known_no_pair_twice_and_the_bits_tell_who_found_it(tmp_path: Path, shard: int) -> None:
    clues = clues_of(90)
    config = DiscoverConfig.model_validate({f"{name}_neighbours": 4 for name in SOURCES})
    found = find(clues, config, tmp_path, shard)
    pairs = set(zip(found.low.tolist(), found.high.tolist(), strict=True))
    assert len(pairs) == len(found)
    assert (found.low < found.high).all()
    assert not any(clues.graph.adjacency[u, v] for u, v in pairs)
    assert len(found) <= 90 * 4 * len(SOURCES)
    for name, bit in SOURCES.items():
        alone = find(clues, only(name, 4), tmp_path, 90)
        assert len(alone) > 20, name
        by_bit = pair_codes(found.low, found.high, 90)[(found.found_by & bit) > 0]
        assert by_bit.tolist() == pair_codes(alone.low, alone.high, 90).tolist(), name


def test_documents_are_found_by_the_rare_words_they_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("discovery.candidates.RARE", 3)
    table = np.zeros((6, 4), np.float32)
    table[:, 0] = 1.0  # a word of all
    table[[0, 3], 1] = 0.5
    table[[1, 3, 4], 2] = 0.7
    clues = Clues(
        random_graph(6, 0, 0), np.zeros((6, 0), np.float32), np.zeros((6, 0), np.float32), sp.csr_matrix(table)
    )
    found = find(clues, only("words", 5), tmp_path, 6)
    assert list(zip(found.low.tolist(), found.high.tolist(), strict=True)) == [(0, 3), (1, 3), (1, 4), (3, 4)]
    monkeypatch.setattr("discovery.candidates.WORDS_OF_DOCUMENT", 1)
    assert rare_words(sp.csr_matrix(table)).toarray()[3].tolist() == pytest.approx([0, 0, 0.7, 0])


def test_walks_find_documents_that_are_three_links_away(tmp_path: Path) -> None:
    path = Graph.from_pairs(np.arange(5), np.arange(5) + 1, 7)
    nothing = np.zeros((7, 0), np.float32)
    found = find(Clues(path, nothing, nothing), only("walks", 2), tmp_path, 3)
    pairs = set(zip(found.low.tolist(), found.high.tolist(), strict=True))
    assert {(0, 2), (0, 3), (1, 3), (2, 4)} <= pairs
    assert 6 not in set(itertools.chain(*pairs))


def test_no_links_and_no_vectors_give_no_pairs(tmp_path: Path) -> None:
    empty = Graph.from_pairs(np.empty(0, np.int64), np.empty(0, np.int64), 5)
    zeros = np.zeros((5, 3), np.float32)
    assert len(find(Clues(empty, zeros, zeros), DiscoverConfig(), tmp_path, 2)) == 0
