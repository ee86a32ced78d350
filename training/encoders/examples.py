"""What belongs together in a run's corpus, for everything that learns from it: pairs, their texts, and which are seen.

Of links only those of the graph's training split are ever taken: what learns from a run's links and is later judged on
the held-out ones must not have seen them.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from data.graph.split import linked_ids
from data.partitions import read_batches, read_table
from data.passages.text import passage_text
from data.schema import QRELS, QUERIES

Pair = tuple[str, str]


@dataclass(frozen=True)
class Corpus:
    """The tables that examples are taken from.

    Args:
        documents: folder of the documents table, as the run's own steps left it.
        tables: output folder of the ingest stage: ``queries`` and ``qrels``.
        split: output folder of the split stage; None where no links are wanted.
    """

    documents: Path
    tables: Path
    split: Path | None = None

    def linked(self) -> list[Pair]:
        """Ids of the two ends of every training link, sorted, each pair once."""
        return sorted(set(linked_ids(self.split, "train"))) if self.split is not None else []

    def answered(self) -> list[Pair]:
        """Ids of every question and a document judged relevant to it, sorted."""
        rows = read_table(self.tables / "qrels", schema=QRELS).to_pylist()
        return sorted({(row["query_id"], row["document_id"]) for row in rows if row["score"] > 0})

    def questions(self) -> dict[str, str]:
        """Text of every question by id."""
        table = read_table(self.tables / "queries", ["id", "text"], QUERIES)
        return dict(zip(table["id"].to_pylist(), table["text"].to_pylist(), strict=True))

    def texts(self, wanted: Iterable[str], others: int = 0, rng: np.random.Generator | None = None) -> dict[str, str]:
        """Texts of some documents by id, with their titles; then those of others, drawn evenly.

        Args:
            wanted: ids; those that the corpus lacks are left out.
            others: how many more documents to draw.
            rng: draws them.
        """
        needed = set(wanted)
        found: dict[str, str] = {}
        drawn: list[Pair] = []
        passed = 0
        for batch in read_batches(self.documents, ["id", "title", "text"]):
            for id_, title, text in zip(*(batch[name].to_pylist() for name in ("id", "title", "text")), strict=True):
                if id_ in needed:
                    found[id_] = passage_text(title, text)
                elif others and rng is not None:
                    passed += 1  # reservoir sampling (Vitter, 1985): the corpus may be of any size
                    place = len(drawn) if len(drawn) < others else int(rng.integers(passed))
                    if place < others:
                        drawn[place : place + 1] = [(id_, passage_text(title, text))]
        return {**found, **dict(drawn)}


def share_of(key: str, seed: int) -> float:
    """A number from 0 to 1 that follows from the key and the seed alone: what is below a share is held out."""
    digest = hashlib.blake2b(f"{seed}|{key}".encode(), digest_size=8).digest()
    return float(int.from_bytes(digest) / 2**64)


def draw(pairs: Sequence[Pair], most: int, rng: np.random.Generator) -> list[Pair]:
    """At most so many of some pairs, drawn at random, in their order."""
    return [pairs[n] for n in np.sort(rng.permutation(len(pairs))[:most])]


def numbered(pairs: Iterable[Pair], left: Mapping[str, int], right: Mapping[str, int]) -> npt.NDArray[np.int64]:
    """Pairs by number, sorted, int64 of shape (P, 2); those with an unknown end are left out."""
    known = sorted({(left[a], right[b]) for a, b in pairs if a in left and b in right})
    return np.array(known, dtype=np.int64).reshape(-1, 2)
