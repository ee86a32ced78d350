"""The training links of a run as examples for its encoder, and its validation links to judge it by.

Shapes: N documents, L pairs with a training link, V with a validation link, B pairs of a batch, H hard negatives.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from torch import Tensor

from data.errors import InputError
from data.graph.graph import Graph
from data.partitions import read_table
from data.passages.text import passage_texts
from data.schema import SPLITS
from evaluation.links import both_directions, link_metrics, link_ranks, unordered_pairs
from training.encoders.config import FineTuneConfig
from training.encoders.mining import draw_near
from training.encoders.task import Examples, PairBatch
from training.near_misses import near_misses
from training.replicas import rows_of_all
from training.task import Figures

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

Numbers = npt.NDArray[np.int64]
Encode = Callable[["SentenceTransformer", pa.Array], npt.NDArray[np.float32]]
"""Unit vectors of texts: string (n,) -> float32 (n, W)."""

TEXTS, LINKS = "texts.parquet", "links.npz"


class LinkedPairs(Examples):
    """Pairs of documents that a training link joins.

    Args:
        texts: string (N,), what is embedded of each document; empty where nothing is.
        train: int64 (L, 2), each pair once.
        valid: int64 (V, 2), which choose the best epoch and nothing else.
        config: batches, near misses.
        encode: makes the vectors that near misses are searched and validation links ranked by.
        prompt: put before each text in training, as ``encode`` does by itself.
    """

    def __init__(
        self, texts: pa.Array, train: Numbers, valid: Numbers, config: FineTuneConfig, encode: Encode, prompt: str = ""
    ) -> None:
        self._texts, self._train, self._config, self._encode, self._prompt = texts, train, config, encode, prompt
        self._graph = Graph.from_pairs(train[:, 0], train[:, 1], len(texts))
        ends = np.concatenate([train, valid])
        self._known = Graph.from_pairs(ends[:, 0], ends[:, 1], len(texts))
        chosen = np.random.default_rng(config.optimizer.seed).permutation(len(valid))[: config.valid_links]
        self._valid = valid[chosen]
        self._near: npt.NDArray[np.int32] | None = None
        self._judged = 0

    def steps(self, batch_pairs: int, world: int) -> int:
        """See ``Examples``; what does not fill a batch on all workers is left for another epoch."""
        return max(1, len(self._train) // self._parts // (batch_pairs * world))

    @property
    def _parts(self) -> int:
        """Epochs until every pair was seen."""
        return -(-len(self._train) // self._config.epoch_pairs)

    def batches(self, epoch: int, batch_pairs: int, seed: int, rank: int = 0, world: int = 1) -> Iterator[PairBatch]:
        """See ``Examples``."""
        again, part = divmod(epoch, self._parts)
        order = np.random.default_rng((seed, again)).permutation(len(self._train))[part :: self._parts]
        for step in range(self.steps(batch_pairs, world)):
            start = (step * world + rank) * batch_pairs
            rng = np.random.default_rng((seed, epoch, step, rank))
            yield self._batch(self._train[order[start : start + batch_pairs]], rng)

    def _batch(self, pairs_B2: Numbers, rng: np.random.Generator) -> PairBatch:
        turned = rng.random(len(pairs_B2)) < 0.5
        anchors, positives = np.where(turned[:, None], pairs_B2[:, ::-1], pairs_B2).T
        hard = np.empty(0, np.int64)
        if self._near is not None:
            hard = np.setdiff1d(draw_near(self._near, anchors, self._config.hard_negatives, rng), positives)
        documents, place = np.unique(np.concatenate([anchors, positives, hard]), return_inverse=True)
        candidates = np.concatenate([positives, hard])
        masked = self._graph.adjacency[anchors][:, candidates].toarray() > 0
        masked |= anchors[:, None] == candidates
        every = np.arange(len(anchors))
        masked[every, every] = False
        texts = [self._prompt + text for text in self._texts.take(pa.array(documents)).to_pylist()]
        parts = np.split(place.astype(np.int64), [len(anchors), 2 * len(anchors)])
        return PairBatch(texts, parts[0], parts[1], masked, parts[2])

    def judge(self, model: "SentenceTransformer") -> Figures:
        """Filtered MRR of the validation links by cosine, among all documents, both ways; searches near misses anew."""
        texts = self._texts
        vectors_NW = rows_of_all(len(texts), lambda start, end: self._encode(model, texts[start:end]))
        vectors_NW[pc.equal(texts, "").to_numpy(zero_copy_only=False)] = 0
        if self._config.hard_negatives and self._judged % self._config.mine_every == 0:
            self._near = near_misses(vectors_NW, self._graph, self._config.near)
        self._judged += 1
        sources, targets = self._valid.T
        asked = both_directions(sources, targets)
        ranks = link_ranks(lambda rows: vectors_NW[rows] @ vectors_NW.T, *asked, self._known)
        metrics = link_metrics(ranks)
        cosine = float((vectors_NW[sources] * vectors_NW[targets]).sum(1).mean())
        return {
            "score": metrics["mrr"],
            "valid_mrr": round(metrics["mrr"], 5),
            "valid_hit@10": round(metrics["hit@10"], 5),
            "valid_cosine": round(cosine, 5),
        }

    def state(self) -> dict[str, Tensor]:
        """Near misses, and how often they were looked for."""
        near = {} if self._near is None else {"near": torch.from_numpy(self._near)}
        return {"judged": torch.tensor(self._judged), **near}

    def load(self, state: dict[str, Tensor]) -> None:
        """Put back what ``state`` gave."""
        self._judged = int(state["judged"])
        self._near = state["near"].numpy() if "near" in state else None


def write_linked(passages: Path, split: Path, out: Path) -> dict[str, int]:
    """Gather what is embedded of each document, and the training and validation links, for all workers to read.

    Of a document that is cut into several passages, the first is taken. Test links are not read.

    Args:
        passages: folder of the passages table.
        split: output folder of the split stage.
        out: receives ``texts.parquet`` (``text``, a row for each document in node order) and ``links.npz``.

    Returns:
        ``training_pairs`` and ``valid_pairs``.

    Raises:
        InputError: if there are fewer than two training links, or no validation link, between documents with a text.
    """
    ids = pq.read_table(split / "nodes.parquet", columns=["id"])["id"].combine_chunks()
    texts = _first_passages(passages, ids)
    has_text = pc.not_equal(texts, "").to_numpy(zero_copy_only=False)
    table = pq.read_table(split / "links.parquet", columns=["source", "target", "split"])
    part = table["split"].to_numpy()
    ends = np.column_stack([table[end].to_numpy() for end in ("source", "target")])
    pairs = {}
    for name in ("train", "valid"):
        chosen = ends[part == SPLITS.index(name)]
        chosen = chosen[has_text[chosen].all(axis=1)]
        pairs[name] = np.column_stack(unordered_pairs(chosen[:, 0], chosen[:, 1]))
    counts = {"training_pairs": len(pairs["train"]), "valid_pairs": len(pairs["valid"])}
    if counts["training_pairs"] < 2 or not counts["valid_pairs"]:
        raise InputError(
            f"finetune.pairs: links give {counts['training_pairs']} pairs of texts to train on and "
            f"{counts['valid_pairs']} to validate with",
            "Give the source more links, raise graph.valid_fraction, or leave finetune.pairs out.",
        )
    pq.write_table(pa.table({"text": texts}), out / TEXTS, compression="zstd")
    np.savez(out / LINKS, train=pairs["train"], valid=pairs["valid"])
    return counts


def read_linked(folder: Path, config: FineTuneConfig, encode: Encode, prompt: str = "") -> LinkedPairs:
    """Read what ``write_linked`` wrote."""
    texts = pq.read_table(folder / TEXTS)["text"].combine_chunks()
    with np.load(folder / LINKS) as links:
        return LinkedPairs(texts, links["train"], links["valid"], config, encode, prompt)


def _first_passages(passages: Path, ids: pa.Array) -> pa.Array:
    """The text of each document's first passage, empty where it has none: string (N,)."""
    table = read_table(passages, ["document_id", "title", "text"])
    nodes = pc.index_in(table["document_id"], ids).combine_chunks().to_numpy(zero_copy_only=False)
    with_passage, first = np.unique(nodes, return_index=True)
    rows = table.take(pa.array(first))
    place = pc.index_in(pa.array(np.arange(len(ids), dtype=nodes.dtype)), pa.array(with_passage))
    return pc.fill_null(passage_texts(rows["title"], rows["text"]).take(place).combine_chunks(), "")
