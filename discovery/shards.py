"""Candidates found and scored shard by shard, through files: no process ever holds the pairs of the whole corpus.

``found/SHARD.codes.npy`` has what a shard's documents found, ascending, so that the pairs whose lower end is in another
shard are one stretch of it. ``scored/SHARD.npy`` has all pairs whose lower end is in the shard, each once. A file that
is there is complete: a job that was killed goes on where it stopped.

Shapes: n documents, P pairs.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from data.files import whole_or_absent
from data.graph.graph import GraphArtifact
from data.progress import tracked
from data.spread import Pool, Runner
from discovery.candidates import Candidates, Clues, Finder, Nodes, merge
from discovery.config import DiscoverConfig
from retrieval.neighbours import build_index

SCORED = np.dtype(
    [("low", np.int32), ("high", np.int32), ("forward", np.float32), ("backward", np.float32), ("found_by", np.uint8)]
)
"""A scored pair: node numbers, the scores from low to high and from high to low, and bits of ``SOURCES``."""

Pairs = npt.NDArray[Any]


class PairScorer(Protocol):
    """What discovery needs of a link model.

    Attributes:
        relation_names: name of each relation index.
        node_vectors: float32 (n, d), the model's vectors.
    """

    @property
    def relation_names(self) -> list[str]:
        """Name of each relation index."""

    @property
    def node_vectors(self) -> npt.NDArray[np.float32]:
        """float32 (n, d): the model's vectors."""

    def score_pairs(self, sources: Nodes, targets: Nodes) -> npt.NDArray[np.float32]:
        """Score of each pair, float32 (P,), in the direction given; higher is likelier."""

    def relations(self, sources: Nodes, targets: Nodes) -> npt.NDArray[np.int64]:
        """Likeliest relation of each pair, int64 (P,)."""


@runtime_checkable
class BothWays(Protocol):
    """A link model that scores both directions of a pair for less than twice the cost."""

    def score_both(self, sources: Nodes, targets: Nodes) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Scores in the direction given and in the other one, float32 (P,) each."""


@dataclass(frozen=True)
class Source:
    """Opens what discovery works on, in whatever process it is needed.

    Args:
        graph: opens the graph.
        scorer: opens the link model.
    """

    graph: Callable[[], GraphArtifact]
    scorer: Callable[[], PairScorer]


def find_and_score(source: Source, nodes: int, config: DiscoverConfig, folder: Path, runner: Runner) -> list[Path]:
    """Make the scored pairs of all shards.

    Args:
        source: graph and model.
        nodes: n.
        config: how candidates are found.
        folder: of the work; files in it that are complete are kept.
        runner: spreads the shards.

    Returns:
        The files of scored pairs, in the order of the documents.
    """
    for name in ("found", "scored"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    starts = range(0, nodes, config.shard_documents)
    scored = [folder / "scored" / f"{start:010d}.npy" for start in starts]
    pool = Pool(1, max(1, min(len(starts), int(runner.resources().cores))))
    left = [start for start, path in zip(starts, scored, strict=True) if not path.exists()]
    if left:
        _run(runner, [0, 1], lambda: lambda way: _prepare(source, config, folder, bool(way)), "index", None, "indexes")
        open_ = [start for start in starts if not _codes(folder, start).exists()]
        _run(runner, open_, lambda: _finder(source, config, folder), "find", pool)
        _run(runner, left, lambda: _scorer(source, config, folder), "score", pool)
    return scored


def _run(
    runner: Runner,
    starts: list[int],
    make: Callable[[], Callable[[int], Any]],
    name: str,
    pool: Pool | None,
    unit: str = "shards",
) -> None:
    for _ in tracked(runner.run(starts, make, name, pool), f"discover: {name}", len(starts), unit):
        pass


def _prepare(source: Source, config: DiscoverConfig, folder: Path, model: bool) -> int:
    """Build the index of the texts, or keep the model's vectors where all can map them, and build theirs.

    Where there are few documents, or none of such neighbours are wanted, there is no index.
    """
    if model:
        wanted, vectors = config.model_neighbours, np.zeros((0, 0), np.float32)
        if wanted:
            vectors = np.asarray(source.scorer().node_vectors, np.float32)
        _save(folder / "model.npy", vectors)
    else:
        wanted, vectors = config.text_neighbours, source.graph().vectors
    if wanted:
        build_index(vectors, config.exact_below, folder / f"{'model' if model else 'text'}.faiss", config.seed)
    return 0


def _clues(graph: GraphArtifact, folder: Path) -> Clues:
    return Clues(graph.seen_graph, graph.vectors, np.load(folder / "model.npy", mmap_mode="r"), graph.words)


def _finder(source: Source, config: DiscoverConfig, folder: Path) -> Callable[[int], int]:
    graph = source.graph()
    finder = Finder(_clues(graph, folder), config, folder)
    nodes = graph.seen_graph.num_nodes

    def find(start: int) -> int:
        found = finder.find(start, min(start + config.shard_documents, nodes))
        _save(folder / "found" / f"{start:010d}.bits.npy", found.found_by)
        _save(_codes(folder, start), found.low * nodes + found.high)
        return len(found)

    return find


def _scorer(source: Source, config: DiscoverConfig, folder: Path) -> Callable[[int], int]:
    nodes = source.graph().seen_graph.num_nodes
    model = source.scorer()

    def score(start: int) -> int:
        pairs = gather(folder, start, start + config.shard_documents, nodes)
        rows = np.empty(len(pairs), SCORED)
        rows["low"], rows["high"], rows["found_by"] = pairs.low, pairs.high, pairs.found_by
        rows["forward"], rows["backward"] = score_both_ways(model, pairs, config.batch_pairs)
        _save(folder / "scored" / f"{start:010d}.npy", rows)
        return len(rows)

    return score


def gather(folder: Path, start: int, end: int, nodes: int) -> Candidates:
    """The pairs whose lower end is in a range of documents, of whatever shard found them."""
    codes, bits = [np.empty(0, np.int64)], [np.empty(0, np.uint8)]
    for path in sorted((folder / "found").glob("*.codes.npy")):
        found = np.load(path, mmap_mode="r")
        first, last = np.searchsorted(found, [start * nodes, end * nodes])
        codes.append(np.array(found[first:last]))
        found_by = np.load(path.with_name(path.name.replace(".codes.", ".bits.")), mmap_mode="r")
        bits.append(np.array(found_by[first:last]))
    merged, ways = merge(np.concatenate(codes), np.concatenate(bits))
    return Candidates(merged // nodes, merged % nodes, ways)


def score_both_ways(
    scorer: PairScorer, pairs: Candidates, batch_pairs: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Scores from low to high and from high to low, float32 (P,) each, in batches of ``batch_pairs``.

    Each batch holds the pairs of neighbouring sources: a scorer's cost may be a row of the graph a source, so pairs in
    the other direction's order would cost many times as much.
    """
    forward, backward = np.empty(len(pairs), np.float32), np.empty(len(pairs), np.float32)
    if isinstance(scorer, BothWays):
        for start in range(0, len(pairs), batch_pairs):
            part = slice(start, start + batch_pairs)
            forward[part], backward[part] = scorer.score_both(pairs.low[part], pairs.high[part])
        return forward, backward
    for scores, sources, targets in ((forward, pairs.low, pairs.high), (backward, pairs.high, pairs.low)):
        by_source = np.argsort(sources, kind="stable")
        for start in range(0, len(pairs), batch_pairs):
            batch = by_source[start : start + batch_pairs]
            scores[batch] = scorer.score_pairs(sources[batch], targets[batch])
    return forward, backward


def scored_pairs(files: list[Path]) -> Iterator[Pairs]:
    """The scored pairs of one shard after another, memory-mapped."""
    for path in files:
        yield np.load(path, mmap_mode="r")


def _codes(folder: Path, start: int) -> Path:
    return folder / "found" / f"{start:010d}.codes.npy"


def _save(path: Path, array: npt.NDArray[Any]) -> None:
    with whole_or_absent(path) as unfinished, unfinished.open("wb") as file:
        np.save(file, array)
