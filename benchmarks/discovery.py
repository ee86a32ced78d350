"""How evaluation of links and discovery grow with the documents, on synthetic graphs with vectors and words."""

import logging
import tempfile
import time
from pathlib import Path
from typing import ClassVar

import numpy as np
import scipy.sparse as sp

from benchmarks.rows import Row
from data.graph.graph import GraphArtifact
from data.graph.split import SplitConfig, split_links
from data.matrices import unit_rows
from discovery.candidates import Nodes
from discovery.config import DiscoverConfig
from discovery.discover import discover
from discovery.shards import Source
from evaluation.baselines import untrained
from evaluation.config import LinkJudging
from evaluation.link_figures import judge
from evaluation.link_questions import link_questions

logger = logging.getLogger("catena")

EVALUATED, DISCOVERED = (4_000, 16_000), (4_000, 64_000)
LINKS_OF_DOCUMENT = 4.65
GROUP = 40  # documents that are about the same
DIM, WORDS, TERMS = 384, 30, 200_000
BLOCK = 50_000


def measure(evaluated: tuple[int, int] = EVALUATED, discovered: tuple[int, int] = DISCOVERED) -> list[Row]:
    """Growth of both, and the rate of discovery.

    Args:
        evaluated: documents of a small and of a large graph that baselines are judged on.
        discovered: documents of a small and of a large graph that links are proposed for.
    """
    for warm_up in (_evaluate, _discover):  # imports are no part of the growth
        warm_up(synthetic(300, seed=0))
    seconds = {nodes: _evaluate(synthetic(nodes, seed=0)) for nodes in evaluated}
    found = {nodes: _discover(synthetic(nodes, seed=0)) for nodes in discovered}
    small, large = (found[nodes] for nodes in discovered)
    times = discovered[1] / discovered[0]
    return [
        Row(
            id="evaluation.growth",
            what=f"seconds to judge baselines by ranks, hard negatives and pairs, {evaluated[1]:,} documents over "
            f"{evaluated[0]:,}, at most 3,000 test links",
            value=round(seconds[evaluated[1]] / seconds[evaluated[0]], 2),
            unit="times",
            at_most=7.0,
            reach=evaluated[1] / evaluated[0],
            peer=", ".join(f"{nodes:,}: {taken:.1f} s" for nodes, taken in seconds.items()),
        ),
        Row(
            id="discovery.growth",
            what=f"seconds of discovery with a plain scorer, {discovered[1]:,} documents over {discovered[0]:,}",
            value=round(large[0] / small[0], 2),
            unit="times",
            at_most=1.25 * times,
            reach=times,
            peer=", ".join(f"{nodes:,}: {taken:.1f} s, {pairs:,} pairs" for nodes, (taken, pairs) in found.items()),
        ),
        Row(
            id="discovery.pairs_per_s",
            what=f"candidate pairs found, scored both ways and surveyed a second, {discovered[1]:,} documents",
            value=round(large[1] / large[0]),
            unit="pairs/s",
        ),
    ]


def synthetic(nodes: int, seed: int) -> GraphArtifact:
    """Documents in groups of about forty: near in text, of some words of their own, and linked within mostly."""
    rng = np.random.default_rng(seed)
    groups = max(1, nodes // GROUP)
    group = np.sort(rng.integers(0, groups, nodes))
    centres = rng.standard_normal((groups, DIM), np.float32)
    vectors = np.empty((nodes, DIM), np.float32)
    for start in range(0, nodes, BLOCK):
        of_block = group[start : start + BLOCK]
        noise = rng.standard_normal((len(of_block), DIM), np.float32)
        vectors[start : start + BLOCK] = unit_rows(centres[of_block] + np.float32(1.2) * noise)
    links = int(LINKS_OF_DOCUMENT * nodes)
    source = rng.integers(0, nodes, links)
    near = np.clip(source + rng.integers(-GROUP // 2, GROUP // 2 + 1, links), 0, nodes - 1)
    target = np.where(rng.random(links) < 0.8, near, rng.integers(0, nodes, links))
    apart = source != target
    source, target = source[apart], target[apart]
    return GraphArtifact(
        ids=[f"d{n}" for n in range(nodes)],
        titles=[""] * nodes,
        vectors=vectors,
        pairs=np.column_stack([source, target]),
        split=split_links(source, target, SplitConfig()),
        relation=np.zeros(len(source), np.int32),
        relation_names=["linked"],
        words=_words(group, rng),
    )


def _words(group: np.ndarray, rng: np.random.Generator) -> sp.csr_matrix:
    """Two in five words of a document are of its group, the rest as common as words are."""
    row = np.repeat(np.arange(len(group)), WORDS)
    common = (rng.pareto(1.0, len(row)) * 50).astype(np.int64) % TERMS
    own = (np.repeat(group, WORDS) * 7 + rng.integers(0, 30, len(row))) % TERMS
    column = np.where(rng.random(len(row)) < 0.4, own, common)
    weight = rng.random(len(row), np.float32)
    return sp.csr_matrix(sp.coo_matrix((weight, (row, column)), (len(group), TERMS)))


class _Plain:
    """Similarity of the texts and shared neighbours: what a scorer costs at least."""

    relation_names: ClassVar = ["linked"]

    def __init__(self, graph: GraphArtifact) -> None:
        self.node_vectors = graph.vectors[:, : DIM // 2]
        self._links = sp.csr_array(graph.training_graph.adjacency)

    def score_pairs(self, sources: Nodes, targets: Nodes) -> np.ndarray:
        near = np.einsum("pd,pd->p", self.node_vectors[sources], self.node_vectors[targets])
        shared = np.asarray(self._links[sources].multiply(self._links[targets]).sum(axis=1)).ravel()
        return np.asarray(near + np.log1p(shared), np.float32)

    def relations(self, sources: Nodes, targets: Nodes) -> np.ndarray:
        return np.zeros(len(sources), np.int64)


def _evaluate(graph: GraphArtifact) -> float:
    config = LinkJudging(resamples=100)
    started = time.perf_counter()
    questions = link_questions(graph, config)
    for name, make in untrained(graph).items():
        judge(name, make(), questions, graph.known_graph, config)
    return time.perf_counter() - started


def _discover(graph: GraphArtifact) -> tuple[float, int]:
    """Seconds, and candidate pairs."""
    scorer = _Plain(graph)
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        result = discover(Source(lambda: graph, lambda: scorer), DiscoverConfig(), Path(folder))
        return time.perf_counter() - started, int(result["candidates"])
