"""Pairs of texts that belong together, from links or from questions and their answers, split for training."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from data.errors import InputError
from data.partitions import write_partition
from training.encoders.config import MatryoshkaConfig
from training.encoders.examples import Corpus, share_of
from training.encoders.task import PairBatch


@dataclass(frozen=True)
class HeldOut:
    """Anchors and documents of held-out pairs; an anchor's training pairs are left out of its ranking."""

    anchor_ids: list[str]
    anchors: list[str]
    document_ids: list[str]
    documents: list[str]
    qrels: dict[str, dict[str, int]]
    left_out: dict[str, set[str]]

    def run(self, scores_QN: npt.NDArray[np.float32], depth: int = 100) -> dict[str, dict[str, float]]:
        """The best documents of each anchor with their scores, as ``evaluation.ranking`` takes them."""
        run: dict[str, dict[str, float]] = {}
        for anchor, scores_N in zip(self.anchor_ids, scores_QN, strict=True):
            out = self.left_out.get(anchor, set())
            best = np.argsort(-scores_N, kind="stable")[: depth + len(out)]
            ranked = {self.document_ids[i]: float(scores_N[i]) for i in best if self.document_ids[i] not in out}
            run[anchor] = dict(list(ranked.items())[:depth])
        return run


class Pairs:
    """The pairs of a fine-tuning.

    Args:
        anchor_ids: of P pairs.
        positive_ids: what belongs to each: ids of documents.
        texts: of anchors by ("anchor", id), of positives by ("document", id).
        held: bool of shape (P,): held out of training.
        symmetric: whether an anchor is a document too, so that each pair holds in both directions.
    """

    def __init__(
        self,
        anchor_ids: Sequence[str],
        positive_ids: Sequence[str],
        texts: dict[tuple[str, str], str],
        held: npt.NDArray[np.bool_],
        symmetric: bool,
    ) -> None:
        self.anchor_ids = list(anchor_ids)
        self.positive_ids = list(positive_ids)
        self.held = held
        self._texts = texts
        self._known: dict[str, set[str]] = defaultdict(set)
        for anchor, positive in zip(self.anchor_ids, self.positive_ids, strict=True):
            self._known[anchor].add(positive)
            if symmetric:
                self._known[positive].add(anchor)
                self._known[anchor].add(anchor)

    @cached_property
    def training(self) -> npt.NDArray[np.int64]:
        """Positions of the training pairs."""
        return np.flatnonzero(~self.held)

    def steps(self, batch_pairs: int, world: int) -> int:
        """Batches of an epoch on each of ``world`` workers; what does not fill one on all is left for another epoch."""
        return max(1, len(self.training) // (batch_pairs * world))

    def batches(self, epoch: int, batch_pairs: int, seed: int, rank: int = 0, world: int = 1) -> Iterator[PairBatch]:
        """A worker's batches of an epoch: equally many on all workers, and the same whenever they are asked for."""
        order = np.random.default_rng((seed, epoch)).permutation(self.training)
        for step in range(self.steps(batch_pairs, world)):
            start = (step * world + rank) * batch_pairs
            yield self._batch(order[start : start + batch_pairs])

    def _batch(self, chosen: npt.NDArray[np.int64]) -> PairBatch:
        anchors = [self.anchor_ids[i] for i in chosen]
        positives = [self.positive_ids[i] for i in chosen]
        # A positive that occurs twice in the batch, or belongs to another anchor as well, is no negative of it.
        masked = np.array([[document in self._known[anchor] for document in positives] for anchor in anchors])
        np.fill_diagonal(masked, False)
        texts = [self._texts["anchor", id_] for id_ in anchors] + [self._texts["document", id_] for id_ in positives]
        count = np.arange(len(chosen))
        return PairBatch(texts, count, count + len(chosen), masked)

    def held_out(self, most: int) -> HeldOut:
        """At most ``most`` held-out pairs, as questions to the documents among them."""
        chosen = np.flatnonzero(self.held)[:most]
        qrels: dict[str, dict[str, int]] = defaultdict(dict)
        for i in chosen:
            qrels[self.anchor_ids[i]][self.positive_ids[i]] = 1
        documents = sorted({self.positive_ids[i] for i in chosen})
        return HeldOut(
            anchor_ids=list(qrels),
            anchors=[self._texts["anchor", id_] for id_ in qrels],
            document_ids=documents,
            documents=[self._texts["document", id_] for id_ in documents],
            qrels=dict(qrels),
            left_out={anchor: self._known[anchor] - relevant.keys() for anchor, relevant in qrels.items()},
        )


def write_pairs(corpus: Corpus, config: MatryoshkaConfig, path: Path) -> dict[str, int]:
    """Gather the pairs of a corpus with their texts into one file that every worker reads.

    A question's pairs are held out all together; of links, each for itself, both directions alike. Links are those of
    the graph's training split alone.

    Args:
        corpus: where pairs and texts come from.
        config: what to take pairs from, how many, which share is held out, seed.
        path: the file; all of its pairs count as seen by the model.

    Returns:
        ``training_pairs`` and ``valid_pairs``.

    Raises:
        InputError: if the corpus has none of the kind, or too few to hold some out and train on the rest.
    """
    links, seed = config.pairs == "links", config.seed
    pairs = corpus.linked() if links else corpus.answered()
    if len(pairs) > config.max_pairs:
        chosen = np.random.default_rng(seed).choice(len(pairs), config.max_pairs, replace=False)
        pairs = [pairs[i] for i in np.sort(chosen)]
    documents = corpus.texts({p for _, p in pairs} | ({a for a, _ in pairs} if links else set()))
    queries = documents if links else corpus.questions()
    pairs = [(a, p) for a, p in pairs if queries.get(a, "").strip() and documents.get(p, "").strip()]
    held = [share_of("|".join(sorted(pair)) if links else pair[0], seed) < config.valid_share for pair in pairs]
    counts = {"training_pairs": held.count(False), "valid_pairs": held.count(True)}
    if counts["training_pairs"] < 2 or not counts["valid_pairs"]:
        raise InputError(
            f"matryoshka.pairs: {config.pairs} give {counts['training_pairs']} pairs to train on and "
            f"{counts['valid_pairs']} to validate with",
            "Give the source more of them, raise matryoshka.valid_share, or take the other kind with matryoshka.pairs.",
        )
    table = pa.table(
        {
            "anchor_id": [a for a, _ in pairs],
            "positive_id": [p for _, p in pairs],
            "anchor": [queries[a] for a, _ in pairs],
            "positive": [documents[p] for _, p in pairs],
            "held": held,
        }
    )
    write_partition(table.replace_schema_metadata({"symmetric": str(links)}), path)
    return counts


def read_pairs(path: Path) -> Pairs:
    """Read what ``write_pairs`` wrote."""
    table = pq.read_table(path)
    anchors, positives = table["anchor_id"].to_pylist(), table["positive_id"].to_pylist()
    texts = {("anchor", id_): text for id_, text in zip(anchors, table["anchor"].to_pylist(), strict=True)}
    texts |= {("document", id_): text for id_, text in zip(positives, table["positive"].to_pylist(), strict=True)}
    symmetric = table.schema.metadata[b"symmetric"] == b"True"
    return Pairs(anchors, positives, texts, np.array(table["held"].to_pylist()), symmetric)
