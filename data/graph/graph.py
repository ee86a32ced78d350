"""Links as a graph: adjacency in CSR form, beside the documents' vectors and words."""

import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import scipy.sparse as sp
from pydantic import Field

from data.graph.split import SplitConfig
from data.graph.words import tfidf
from data.labels import Labels
from data.lexical import Language
from data.matrices import unit_rows
from data.partitions import partitions, read_batches
from data.schema import FEATURES_FILE, PARTS, SPLITS
from data.vectors.read import matrix
from data.vectors.table import storage_of

VOCABULARY = "vocabulary.npz"
KEPT_GRAPHS = ("training_graph", "seen_graph", "known_graph")  # properties of ``GraphArtifact`` that are files too


class GraphConfig(SplitConfig):
    """How links become a graph."""

    language: Language = Field(
        "english", description="stemmer of the words that documents are compared by; none: no stems"
    )

    @property
    def held_out(self) -> SplitConfig:
        """The keys that decide which links are held out."""
        return SplitConfig(**self.model_dump(include=set(SplitConfig.model_fields)))


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
        u, v = sources[different].astype(np.int32), targets[different].astype(np.int32)
        ends = np.concatenate([u, v]), np.concatenate([v, u])
        links = sp.coo_array((np.ones(len(ends[0]), np.int8), ends), (num_nodes, num_nodes)).tocsr()
        links.sum_duplicates()
        return cls(links.indptr.astype(np.int64), links.indices.astype(np.int32))

    def save(self, folder: Path, name: str) -> None:
        """Write both arrays, ``NAME.indptr.npy`` and ``NAME.indices.npy``."""
        np.save(folder / f"{name}.indptr.npy", self.indptr)
        np.save(folder / f"{name}.indices.npy", self.indices)

    @classmethod
    def open(cls, folder: Path, name: str) -> "Graph":
        """What ``save`` wrote, memory-mapped: processes share it, and what one writes to it stays its own."""
        return cls(*(np.load(folder / f"{name}.{array}.npy", mmap_mode="c") for array in ("indptr", "indices")))

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
    """The output of the graph stage, opened for reading; node number = row of ``ids``, ``titles`` and ``vectors``.

    Shapes:
        vectors: float32 (n, dim), unit length, memory-mapped; of texts, or features of a graph without text; dim is 0
            where there are neither. pairs: int64 (m, 2). split, relation: int8, int32 (m,).
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
        """Source and target node numbers, int64 (k,), of the links in one of ``PARTS``.

        Links of a document to itself, which a source may keep, are left out: only ``triples`` has them.
        """
        chosen = self.pairs[(self.split == PARTS.index(split)) & (self.pairs[:, 0] != self.pairs[:, 1])]
        return chosen[:, 0], chosen[:, 1]

    def triples(self, split: str) -> np.ndarray:
        """Head, relation and tail as numbers, int64 (k, 3), of the links in ``train``, ``valid`` or ``test``."""
        chosen = self.split == SPLITS.index(split)
        return np.column_stack([self.pairs[chosen, 0], self.relation[chosen], self.pairs[chosen, 1]]).astype(np.int64)

    @cached_property
    def training_graph(self) -> Graph:
        """Graph of the training links alone: the only one that anything may learn from."""
        return Graph.from_pairs(*self.links("train"), num_nodes=len(self.ids))

    @cached_property
    def seen_graph(self) -> Graph:
        """Graph of the training links and of those that held-out documents bring: what scorers may see when judged.

        With every split but ``unseen`` it is the training graph.
        """
        brought = self.split == PARTS.index("brought")
        if not brought.any():
            return self.training_graph
        pairs = self.pairs[brought | (self.split == PARTS.index("train"))]
        return Graph.from_pairs(pairs[:, 0], pairs[:, 1], num_nodes=len(self.ids))

    @cached_property
    def known_graph(self) -> Graph:
        """Graph of every known link, of all splits: to filter ranks, and to name what proposed pairs share."""
        return Graph.from_pairs(self.pairs[:, 0], self.pairs[:, 1], num_nodes=len(self.ids))

    @cached_property
    def labels(self) -> Labels:
        """Names of the documents for people."""
        return Labels(self.ids, self.titles)


def load_graph(path: Path) -> GraphArtifact:
    """Open the output folder of the graph stage."""
    nodes = pq.read_table(path / "nodes.parquet")
    links = pq.read_table(path / "links.parquet")
    relation = links["relation"].combine_chunks().dictionary_encode()
    opened = GraphArtifact(
        ids=nodes["id"].to_pylist(),
        titles=nodes["title"].to_pylist(),
        vectors=np.load(path / "vectors.npy", mmap_mode="r"),
        pairs=np.column_stack([links["source"].to_numpy(), links["target"].to_numpy()]),
        split=links["split"].to_numpy(),
        relation=relation.indices.to_numpy(),
        relation_names=relation.dictionary.to_pylist(),
        words=sp.csr_matrix(sp.load_npz(path / "words.npz")),
    )
    for name in KEPT_GRAPHS:
        opened.__dict__[name] = Graph.open(path, name)  # in the place of what the cached property would compute
    return opened


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
        unit_rows(block, out=block)
    means.flush()
    return means


def build_graph(documents: Path, split: Path, vectors: Path, language: Language, out: Path) -> dict[str, Any]:
    """Put numbered documents, split links, mean vectors and words into one folder; the graph stage.

    Args:
        documents: folder of the documents table.
        split: output folder of the split stage.
        vectors: folder of the embedded passages.
        language: stemmer of the words.
        out: receives ``nodes.parquet``, ``links.parquet``, ``vectors.npy``, ``words.npz``, ``vocabulary.npz`` and the
            arrays of ``KEPT_GRAPHS``.

    Returns:
        Counts of nodes and links, degree figures and component figures.
    """
    for name in ("nodes.parquet", "links.parquet"):
        shutil.copyfile(split / name, out / name)
    ids = pq.read_table(out / "nodes.parquet", columns=["id"])["id"].combine_chunks()
    document_vectors(vectors, ids, out / "vectors.npy")
    words, vocabulary = tfidf(documents, language)
    sp.save_npz(out / "words.npz", words)
    vocabulary.save(out / VOCABULARY)
    return finish_graph(out)


def build_bare_graph(split: Path, features: Path, out: Path) -> dict[str, Any]:
    """The graph of a source without text: its vectors are the features of its nodes, and there are no words.

    Args:
        split: output folder of the split stage.
        features: output folder of ingest; ``features.npy`` in it has the vectors, where there are any.
        out: receives the same files as from ``build_graph``.

    Returns:
        As ``build_graph``.
    """
    for name in ("nodes.parquet", "links.parquet"):
        shutil.copyfile(split / name, out / name)
    nodes = pq.read_metadata(out / "nodes.parquet").num_rows
    if (features / FEATURES_FILE).exists():
        shutil.copyfile(features / FEATURES_FILE, out / "vectors.npy")
    else:
        np.save(out / "vectors.npy", np.zeros((nodes, 0), np.float32))
    sp.save_npz(out / "words.npz", sp.csr_matrix(np.zeros((nodes, 1), np.float32)))
    return finish_graph(out)


def finish_graph(folder: Path) -> dict[str, Any]:
    """Write the graphs of a folder's links in compressed rows; figures of that of all links."""
    nodes = pq.read_metadata(folder / "nodes.parquet").num_rows
    links = pq.read_table(folder / "links.parquet", columns=["source", "target", "split"])
    source, target, split = (links[name].to_numpy() for name in ("source", "target", "split"))
    seen = split == PARTS.index("train")
    for name, chosen in (("training_graph", seen), ("seen_graph", seen | (split == PARTS.index("brought")))):
        Graph.from_pairs(source[chosen], target[chosen], nodes).save(folder, name)
    known = Graph.from_pairs(source, target, nodes)
    known.save(folder, "known_graph")
    return {"nodes": nodes, "links": len(links), **describe(known)}


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
