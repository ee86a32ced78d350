"""What a ranker is told of documents: their place among the links that may be learned from, and the newest date.

Shapes: n documents, m links.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import scipy.sparse as sp

from data.errors import InputError
from data.graph.graph import Graph
from data.metadata import read_metadata
from data.partitions import read_batches
from data.schema import SPLITS
from retrieval.facts import Dates, day_of, write_facts
from retrieval.filters import parse_path

DAMPING = 0.85
TOLERANCE = 1e-7  # of the sum of all changes of a round, as a share of the whole
MOST_ROUNDS = 200

Numbers = npt.NDArray[np.int64]
Values = npt.NDArray[np.float64]


def pagerank(sources: Numbers, targets: Numbers, nodes: int) -> Values:
    """PageRank of documents times their number: 1 is that of all where there are no links (Brin and Page, WWW 1998).

    A document without links out hands its rank on to all alike.

    Args:
        sources: int64 (m,), of directed links; repeated ones count once, loops not at all.
        targets: int64 (m,).
        nodes: n.

    Returns:
        float64 (n,); the mean is 1.
    """
    kept = sources != targets
    ends = (targets[kept], sources[kept])
    links = sp.coo_array((np.ones(int(kept.sum())), ends), (nodes, nodes)).tocsr()
    links.data[:] = 1.0  # repeated ones were added up
    out_n = np.asarray(links.sum(axis=0)).ravel()
    share_n = np.divide(1.0, out_n, out=np.zeros(nodes), where=out_n > 0)
    rank_n = np.ones(nodes)
    for _ in range(MOST_ROUNDS):
        everywhere = 1 - DAMPING + DAMPING * float(rank_n[out_n == 0].sum()) / nodes
        next_n = everywhere + DAMPING * (links @ (rank_n * share_n))
        change, rank_n = float(np.abs(next_n - rank_n).sum()), next_n
        if change < TOLERANCE * nodes:
            break
    return rank_n


def write_link_facts(split: Path, folder: Path) -> bool:
    """Write degree and PageRank of all documents by the training links alone; held-out links are not to be known.

    Args:
        split: output folder of the split stage.
        folder: receives them.

    Returns:
        Whether there are training links.
    """
    table = pq.read_table(split / "links.parquet", columns=["source", "target", "split"])
    trained = table["split"].to_numpy() == SPLITS.index("train")
    sources, targets = (table[end].to_numpy()[trained].astype(np.int64) for end in ("source", "target"))
    if not (sources != targets).any():
        return False
    ids = pq.read_table(split / "nodes.parquet", columns=["id"])["id"].to_pylist()
    degrees = Graph.from_pairs(sources, targets, len(ids)).degrees
    write_facts(folder, ids, degrees, pagerank(sources, targets, len(ids)))
    return True


def find_dates(documents: Path, key: str | None) -> Dates | None:
    """Where dates are and which is the newest; None where no key is named.

    Args:
        documents: folder of the documents table, read as a stream.
        key: of the metadata, as a dotted path.

    Raises:
        InputError: if no document has a date there.
    """
    if key is None:
        return None
    path, newest = parse_path(key), -np.inf
    for batch in read_batches(documents, ["metadata"]):
        days = [day_of(read_metadata(cell), path) for cell in batch["metadata"].to_pylist()]
        newest = max([newest, *(day for day in days if not np.isnan(day))])
    if newest == -np.inf:
        raise InputError(
            f"boosted.date: no document has a date or a year under {key!r} of its metadata",
            "Name another key: a date is written 2026-01-31, a year 2026.",
        )
    return Dates(path, float(newest))
