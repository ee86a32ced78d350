"""What every method is asked about links: the same held-out links, non-links and hard negatives for all of them.

Shapes: L unordered test links, P judged pairs, N documents.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from data.graph.graph import GraphArtifact
from evaluation.baselines import cosine, personalised_pagerank, resource_allocation
from evaluation.blocks import Nodes
from evaluation.config import LinkJudging
from evaluation.links import HardNegatives, Scorer, SparseScorer, unordered_pairs
from evaluation.non_links import hard_negatives, random_non_links

SCORES_AT_ONCE = 2**26  # float32: 256 MiB
CALIBRATED_ON = 1000  # validation links, at most: a curve of two dozen steps needs no more
HARD_TOLERANCE = 5e-4  # of the PageRank that names hard negatives: their order among the first few hundred is enough


@dataclass(frozen=True)
class JudgedPairs:
    """Links and pairs that are none.

    Attributes:
        sources: int64 (P,).
        targets: int64 (P,).
        linked: bool (P,).
        hard: bool (P,), whether a pair that is no link was named by the simple methods rather than drawn at random.
    """

    sources: Nodes
    targets: Nodes
    linked: npt.NDArray[np.bool_]
    hard: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class LinkQuestions:
    """Held-out links, and what they are compared with.

    Attributes:
        sources: int64 (L,) of the test links, each pair once.
        targets: int64 (L,).
        relations: int64 (L,) number of each link's relation; where a pair has several, of the first.
        degrees: int64 (L,) training links of the end that has fewer.
        hard: hard negatives of every source, in both directions; None where there are to be none.
        test: the test links beside as many pairs of either kind of non-links.
        valid: the same of the validation links, to calibrate scores on.
    """

    sources: Nodes
    targets: Nodes
    relations: Nodes
    degrees: Nodes
    hard: HardNegatives | None
    test: JudgedPairs
    valid: JudgedPairs


def rows_at_once(config: LinkJudging, nodes: int) -> int:
    """How many sources are scored against all documents at once: ``batch_sources``, or fewer where there are many."""
    return max(1, min(config.batch_sources, SCORES_AT_ONCE // max(nodes, 1)))


def link_questions(graph: GraphArtifact, config: LinkJudging) -> LinkQuestions:
    """Draw what is asked, with the seed.

    Args:
        graph: documents and split links.
        config: how many links and hard negatives.
    """
    sizes = {"test": config.max_test_links, "valid": CALIBRATED_ON}
    parts = {part: _sample(*unordered_pairs(*graph.links(part)), size, config.seed) for part, size in sizes.items()}
    named = _hard_negatives(graph, np.concatenate([*parts["test"], parts["valid"][0]]), config)
    sources, targets = parts["test"]
    degrees = graph.training_graph.degrees
    return LinkQuestions(
        sources,
        targets,
        relations_of(graph, sources, targets),
        np.minimum(degrees[sources], degrees[targets]),
        named,
        *(_judged_pairs(graph, *parts[part], named, config.seed + place) for place, part in enumerate(parts)),
    )


def relations_of(graph: GraphArtifact, sources: Nodes, targets: Nodes) -> Nodes:
    """Number of the relation that joins each unordered pair, int64 (L,): that of the pair's first row among links."""
    n = len(graph.ids)
    codes = graph.pairs.min(axis=1) * n + graph.pairs.max(axis=1)
    unique, first = np.unique(codes, return_index=True)
    wanted = np.minimum(sources, targets) * n + np.maximum(sources, targets)
    return graph.relation[first[np.searchsorted(unique, wanted)]].astype(np.int64)


def _sample(sources: Nodes, targets: Nodes, size: int, seed: int) -> tuple[Nodes, Nodes]:
    """At most ``size`` pairs, drawn with the seed."""
    if len(sources) <= size:
        return sources, targets
    chosen = np.random.default_rng(seed).choice(len(sources), size, replace=False)
    return sources[chosen], targets[chosen]


def _hard_negatives(graph: GraphArtifact, nodes: Nodes, config: LinkJudging) -> HardNegatives | None:
    """Half of them for either end of a link."""
    if config.hard_negatives == 0:
        return None
    seen = graph.seen_graph
    pagerank = personalised_pagerank(seen, tolerance=HARD_TOLERANCE)
    methods: list[Scorer | SparseScorer] = [resource_allocation(seen).rows, pagerank.rows]
    if graph.vectors.shape[1]:
        methods.append(cosine(graph.vectors))
    count = -(-config.hard_negatives // 2)
    return hard_negatives(methods, nodes, graph.known_graph, count, config.seed, rows_at_once(config, len(graph.ids)))


def _judged_pairs(
    graph: GraphArtifact, sources: Nodes, targets: Nodes, named: HardNegatives | None, seed: int
) -> JudgedPairs:
    """Links, as many random non-links, and one hard negative of each link's source."""
    pairs = [(sources, targets), random_non_links(graph.known_graph, len(sources), seed)]
    if named is not None:
        listed = named.documents[np.searchsorted(named.sources, sources)]
        place = np.random.default_rng(seed).integers(0, listed.shape[1], len(listed))
        drawn = listed[np.arange(len(listed)), place]
        pairs.append((sources[drawn >= 0], drawn[drawn >= 0]))
    kind = np.repeat(np.arange(len(pairs)), [len(ends) for ends, _ in pairs])
    ends, others = (np.concatenate(side) for side in zip(*pairs, strict=True))
    return JudgedPairs(ends, others, kind == 0, kind == 2)
