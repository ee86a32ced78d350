"""Candidates against brute force: nothing missed, nothing known, nothing twice."""

import itertools

import numpy as np
import pytest

from data.graph.graph import Graph
from discovery.candidates import SOURCES, Candidates, find_candidates, nearest, pair_codes, two_hop
from discovery.config import DiscoverConfig


def unit(rng: np.random.Generator, n: int, dim: int = 8) -> np.ndarray:
    vectors: np.ndarray = rng.normal(size=(n, dim)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def random_graph(n: int, links: int, seed: int) -> Graph:
    sources, targets = np.random.default_rng(seed).integers(0, n, (2, links))
    return Graph.from_pairs(sources, targets, n)


def gathered(stream: object) -> dict[int, set[int]]:
    found: dict[int, set[int]] = {}
    for rows, others in stream:  # type: ignore[attr-defined]
        for u, v in zip(rows.tolist(), others.tolist(), strict=True):
            found.setdefault(u, set()).add(v)
    return found


def test_exact_neighbours_equal_brute_force() -> None:
    vectors = unit(np.random.default_rng(0), 200)
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, -1)
    found = gathered(nearest(vectors, 5, exact_below=1000))
    for u in range(200):
        wanted = set(np.argsort(-cosines[u])[:5].tolist())
        assert found[u] - {u} <= wanted | set(np.argsort(-cosines[u])[:6].tolist())
        assert len(found[u] & wanted) >= 5


def test_the_inverted_file_finds_nearly_all_of_them() -> None:
    rng = np.random.default_rng(1)
    centres = unit(rng, 40, 16)
    vectors = centres[rng.integers(0, 40, 3000)] + 0.1 * rng.normal(size=(3000, 16)).astype(np.float32)
    exact = gathered(nearest(vectors, 10, exact_below=3000))
    rough = gathered(nearest(vectors, 10, exact_below=100))
    recall = np.mean([len(exact[u] & rough.get(u, set())) / len(exact[u]) for u in exact])
    assert recall > 0.95


def test_zero_vectors_have_no_neighbours_and_lengths_do_not_matter() -> None:
    vectors = unit(np.random.default_rng(2), 30)
    scaled = vectors * np.linspace(0.1, 9, 30, dtype=np.float32)[:, None]
    scaled[7] = 0
    found = gathered(nearest(scaled, 4, exact_below=100))
    assert 7 not in found
    assert all(7 not in others for others in found.values())
    whole = gathered(nearest(vectors, 4, exact_below=100))
    assert {v for v in whole[0] if v != 7} <= found[0]


def brute_two_hop(graph: Graph, hub_degree: int) -> dict[tuple[int, int], float]:
    neighbours = [set(graph.indices[graph.indptr[u] : graph.indptr[u + 1]].tolist()) for u in range(graph.num_nodes)]
    return {
        (u, v): sum(1 / len(neighbours[w]) for w in neighbours[u] & neighbours[v] if len(neighbours[w]) <= hub_degree)
        for u, v in itertools.permutations(range(graph.num_nodes), 2)
        if v not in neighbours[u]
    }


@pytest.mark.parametrize("hub_degree", [1000, 6])
def test_two_hop_neighbours_are_the_best_by_resource_allocation(
    hub_degree: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("discovery.candidates.PATHS_AT_ONCE", 40)  # many blocks
    graph = random_graph(40, 90, seed=3)
    weights = brute_two_hop(graph, hub_degree)
    found = gathered(two_hop(graph, 3, hub_degree))
    for u in range(40):
        reachable = sorted((weight for (a, _), weight in weights.items() if a == u and weight > 0), reverse=True)
        kept = sorted((weights[u, v] for v in found.get(u, set())), reverse=True)
        assert kept == pytest.approx(reachable[:3])


def test_no_self_no_known_no_pair_twice_and_the_bits_tell_who_found_it() -> None:
    rng = np.random.default_rng(4)
    graph = random_graph(60, 150, seed=5)
    text, model = unit(rng, 60), unit(rng, 60)
    config = DiscoverConfig(text_neighbours=4, model_neighbours=4, two_hop_neighbours=4)
    found = find_candidates(graph, text, model, config)
    pairs = set(zip(found.low.tolist(), found.high.tolist(), strict=True))
    assert len(pairs) == len(found)
    assert (found.low < found.high).all()
    assert not any(graph.adjacency[u, v] for u, v in pairs)
    assert len(found) <= 60 * 12
    alone = {
        "text": find_candidates(graph, text, model, DiscoverConfig(text_neighbours=4, **only("text"))),
        "model": find_candidates(graph, text, model, DiscoverConfig(model_neighbours=4, **only("model"))),
        "two_hop": find_candidates(graph, text, model, DiscoverConfig(two_hop_neighbours=4, **only("two_hop"))),
    }
    for name, bit in SOURCES.items():
        by_bit = codes_of(found)[(found.found_by & bit) > 0]
        assert by_bit.tolist() == codes_of(alone[name]).tolist(), name


def only(name: str) -> dict[str, int]:
    return {f"{other}_neighbours": 0 for other in SOURCES if other != name}


def codes_of(found: Candidates) -> np.ndarray:
    return pair_codes(found.low, found.high, 60)


def test_no_links_and_no_documents_give_no_two_hop_pairs() -> None:
    empty = Graph.from_pairs(np.empty(0, np.int64), np.empty(0, np.int64), 5)
    assert gathered(two_hop(empty, 3, 100)) == {}
    zeros = np.zeros((5, 3), np.float32)
    assert len(find_candidates(empty, zeros, zeros, DiscoverConfig())) == 0
