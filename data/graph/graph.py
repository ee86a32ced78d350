"""Links as a graph: adjacency in CSR form, and the split of links into train, validation and test."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import scipy.sparse as sp
from pydantic import Field

from data.artifacts import StageConfig
from data.errors import InputError
from data.graph.words import tfidf
from data.labels import Labels
from data.lexical import Language
from data.partitions import partitions, read_batches, read_table
from data.vectors.read import matrix
from data.vectors.table import storage_of

SPLITS = ("train", "valid", "test")


class GraphConfig(StageConfig):
    """How links become a graph."""

    split: Literal["random", "time"] = Field(
        "random",
        description="held-out links: a seeded sample, or the latest ones (links without a time count as oldest)",
    )
    valid_fraction: float = Field(0.05, gt=0, lt=0.5, description="share of links held out for validation")
    test_fraction: float = Field(0.10, gt=0, lt=0.5, description="share of links held out for the final test")
    seed: int = Field(0, ge=0, description="seed of the random split")
    language: Language = Field(
        "english", description="stemmer of the words that documents are compared by; none: no stems"
    )


@dataclass(frozen=True)
class Graph:
    """Undirected graph as compressed sparse rows: the neighbours of node u are ``indices[indptr[u]:indptr[u + 1]]``.

    Shapes:
        indptr: int64 (n + 1,).
        indices: int32 (m,), ascending in each row, each edge once in either direction, no loops.
    """

    indptr: np.ndarray
    indices: np.ndarray

    @classmethod
    def from_pairs(cls, sources: np.ndarray, targets: np.ndarray, num_nodes: int) -> "Graph":
        """Graph of pairs (two integer arrays of one length), taken without direction; repeats and loops vanish."""
        different = sources != targets
        u, v = sources[different].astype(np.int64), targets[different].astype(np.int64)
        codes = np.unique(np.concatenate([u * num_nodes + v, v * num_nodes + u]))
        indptr = np.zeros(num_nodes + 1, np.int64)
        np.cumsum(np.bincount(codes // num_nodes, minlength=num_nodes), out=indptr[1:])
        return cls(indptr, (codes % num_nodes).astype(np.int32))

    @property
    def num_nodes(self) -> int:
        """Nodes, isolated ones included."""
        return len(self.indptr) - 1

    @cached_property
    def degrees(self) -> np.ndarray:
        """int64 (n,): number of neighbours of each node."""
        return np.diff(self.indptr)

    @cached_property
    def adjacency(self) -> sp.csr_matrix:
        """float32 (n, n) matrix of ones; shares ``indices`` with this graph."""
        ones = np.ones(len(self.indices), np.float32)
        return sp.csr_matrix((ones, self.indices, self.indptr), shape=(self.num_nodes, self.num_nodes))


@dataclass(frozen=True)
class GraphArtifact:
    """What the graph stage wrote, opened for reading; node number = row of ``ids``, ``titles`` and ``vectors``.

    Shapes:
        vectors: float32 (n, dim), unit length, memory-mapped. pairs: int64 (m, 2). split, relation: int8, int32 (m,).
        words: float32 (n, terms), unit TF-IDF rows; None where only vectors are to be compared.
    """

    ids: list[str]
    titles: list[str]
    vectors: np.ndarray
    pairs: np.ndarray
    split: np.ndarray
    relation: np.ndarray
    relation_names: list[str]
    words: sp.csr_matrix | None = None

    def links(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        """Source and target node numbers, int64 (k,), of the links in ``train``, ``valid`` or ``test``."""
        chosen = self.pairs[self.split == SPLITS.index(split)]
        return chosen[:, 0], chosen[:, 1]

    @cached_property
    def training_graph(self) -> Graph:
        """Graph of the training links alone: the only one that models and baselines may look at."""
        return Graph.from_pairs(*self.links("train"), num_nodes=len(self.ids))

    @cached_property
    def known_graph(self) -> Graph:
        """Graph of every known link, whatever its split: to filter ranks, and to name what proposed pairs share."""
        return Graph.from_pairs(self.pairs[:, 0], self.pairs[:, 1], num_nodes=len(self.ids))

    @cached_property
    def labels(self) -> Labels:
        """What the documents are called where people read of them."""
        return Labels(self.ids, self.titles)


def load_graph(path: Path) -> GraphArtifact:
    """Open the output folder of the graph stage."""
    nodes = pq.read_table(path / "nodes.parquet")
    links = pq.read_table(path / "links.parquet")
    relation = links["relation"].combine_chunks().dictionary_encode()
    return GraphArtifact(
        ids=nodes["id"].to_pylist(),
        titles=nodes["title"].to_pylist(),
        vectors=np.load(path / "vectors.npy", mmap_mode="r"),
        pairs=np.column_stack([links["source"].to_numpy(), links["target"].to_numpy()]),
        split=links["split"].to_numpy(),
        relation=relation.indices.to_numpy(),
        relation_names=relation.dictionary.to_pylist(),
        words=sp.csr_matrix(sp.load_npz(path / "words.npz")),
    )


def split_links(
    sources: np.ndarray, targets: np.ndarray, config: GraphConfig, time_us: np.ndarray | None = None
) -> np.ndarray:
    """Deal links to train (0), validation (1) and test (2) so that the two directions of a pair stay together.

    Args:
        sources: node numbers, int64 (m,).
        targets: node numbers, int64 (m,).
        config: fractions, seed, and whether the latest links are held out instead of a random sample.
        time_us: int64 (m,), microseconds since the epoch; needed for ``split="time"``. A pair linked more than once
            counts from its first link.

    Returns:
        int8 (m,). Of m unordered pairs, ``round(fraction * pairs)`` are held out for each purpose.

    Raises:
        ValueError: if ``split="time"`` and no times are given.
    """
    low, high = np.minimum(sources, targets).astype(np.int64), np.maximum(sources, targets).astype(np.int64)
    codes, pair_of_link = np.unique(low * (high.max(initial=0) + 1) + high, return_inverse=True)
    if config.split == "time":
        if time_us is None:
            raise ValueError("split='time' needs the time of each link, none given")
        known_since = np.full(len(codes), np.iinfo(np.int64).max)
        np.minimum.at(known_since, pair_of_link, time_us)
        latest_first = np.argsort(known_since, kind="stable")[::-1]
    else:
        latest_first = np.random.default_rng(config.seed).permutation(len(codes))
    n_test, n_valid = round(config.test_fraction * len(codes)), round(config.valid_fraction * len(codes))
    split_of_pair = np.zeros(len(codes), np.int8)
    split_of_pair[latest_first[:n_test]] = 2
    split_of_pair[latest_first[n_test : n_test + n_valid]] = 1
    return split_of_pair[pair_of_link]


def document_vectors(vectors: Path, nodes: pa.Array, out: Path) -> np.ndarray:
    """Mean of each document's passage vectors, scaled back to unit length, written as ``out`` (``.npy``).

    Args:
        vectors: folder of partitions, columns ``document_id`` and ``vector`` in any storage.
        nodes: string (n,), the document ids in node order.
        out: file to write; float32 (n, dim), memory-mapped while it is filled. A document without a passage stays zero.
    """
    _, dim = storage_of(pq.read_schema(partitions(vectors)[0]))
    means = np.lib.format.open_memmap(out, mode="w+", dtype=np.float32, shape=(len(nodes), dim))
    for batch in read_batches(vectors, columns=["document_id", "vector"]):
        rows = pc.index_in(batch["document_id"], nodes).to_numpy(zero_copy_only=False)
        np.add.at(means, rows, matrix(batch))
    for start in range(0, len(means), 65_536):
        block = means[start : start + 65_536]
        block /= np.maximum(np.linalg.norm(block, axis=1, keepdims=True), 1e-12)
    means.flush()
    return means


def build_graph(documents: Path, links: Path, vectors: Path, config: GraphConfig, out: Path) -> dict[str, Any]:
    """Number the documents, split the links, average the vectors; the graph stage.

    Args:
        documents: folder of the documents table.
        links: folder of the links table, every id known to the documents.
        vectors: folder of the embedded passages.
        config: how links are split.
        out: receives ``nodes.parquet``, ``links.parquet``, ``vectors.npy`` and ``words.npz``.

    Returns:
        Counts of nodes, links and their splits, degree figures and component figures.

    Raises:
        InputError: if links are to be split by time and none has one.
    """
    nodes = read_table(documents, columns=["id", "title"])
    ids = nodes["id"].combine_chunks()
    pq.write_table(nodes, out / "nodes.parquet", compression="zstd")
    document_vectors(vectors, ids, out / "vectors.npy")
    sp.save_npz(out / "words.npz", tfidf(documents, config.language))
    table = read_table(links)
    if config.split == "time" and 0 < table["time"].null_count == len(table):
        raise InputError(
            "graph.split: 'time' holds out the latest links, but no link of this corpus has a time",
            "Give the links a time, or set graph.split to 'random'.",
        )
    sources = pc.index_in(table["source"], ids).combine_chunks().to_numpy(zero_copy_only=False).astype(np.int64)
    targets = pc.index_in(table["target"], ids).combine_chunks().to_numpy(zero_copy_only=False).astype(np.int64)
    time_us = pc.fill_null(table["time"].cast(pa.int64()), np.iinfo(np.int64).min).to_numpy()
    split = split_links(sources, targets, config, time_us)
    columns = {
        "source": sources,
        "target": targets,
        "relation": table["relation"],
        "weight": table["weight"],
        "split": split,
    }
    pq.write_table(pa.table(columns), out / "links.parquet", compression="zstd")
    counts = np.bincount(split, minlength=3)
    return {
        "nodes": len(ids),
        "links": len(sources),
        **{name: int(count) for name, count in zip(SPLITS, counts, strict=True)},
        **describe(Graph.from_pairs(sources, targets, len(ids))),
    }


def describe(graph: Graph) -> dict[str, Any]:
    """Degree and component figures of a graph."""
    degrees = graph.degrees
    components, label = sp.csgraph.connected_components(graph.adjacency, directed=False)
    powers = 2 ** np.arange(0, int(degrees.max(initial=1)).bit_length())
    return {
        "degree_mean": round(float(degrees.mean()), 3) if len(degrees) else 0.0,
        "degree_median": float(np.median(degrees)) if len(degrees) else 0.0,
        "degree_max": int(degrees.max(initial=0)),
        "isolated": int((degrees == 0).sum()),
        "components": int(components),
        "largest_component": int(np.bincount(label).max()) if len(label) else 0,
        "degree_histogram": {  # nodes whose degree is in [2^k, 2^(k+1))
            str(low): int(((degrees >= low) & (degrees < 2 * low)).sum()) for low in powers.tolist()
        },
    }
