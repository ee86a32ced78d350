"""The best proposals of every document, whether or not they are among the best of all.

Shapes: n documents, P pairs.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data.errors import InputError, nearest
from data.graph.graph import GraphArtifact
from data.matrices import contains
from data.partitions import partition_name, write_partition
from data.progress import tracked
from data.spread import Pool, Runner
from discovery.candidates import SOURCES, pair_codes
from discovery.config import DiscoverConfig
from discovery.proposals import Proposed, proposal_table
from discovery.select import Held, score_of
from discovery.shards import SCORED, Pairs, Source
from discovery.texts import shared_words, texts_of
from evaluation.calibration import Calibrator

MOST_NAMED = 20_000  # ids among which the nearest to a misspelt one is looked for

BY_DOCUMENT = pa.schema(
    [
        pa.field("document", pa.string(), nullable=False),
        pa.field("rank", pa.int32(), nullable=False),  # from 1
        pa.field("other", pa.string(), nullable=False),
        pa.field("probability", pa.float32(), nullable=False),
        pa.field("score", pa.float32(), nullable=False),
        pa.field("relation", pa.string(), nullable=False),
        pa.field("outgoing", pa.bool_(), nullable=False),  # whether the link would lead from the document to the other
        pa.field("candidate_sources", pa.list_(pa.string()), nullable=False),
    ]
)


def write_by_document(
    source: Source,
    held: Held,
    files: list[Path],
    config: DiscoverConfig,
    calibrator: Calibrator,
    out: Path,
    runner: Runner,
) -> None:
    """Write each document's ``per_document`` best proposals to ``out``, a partition a shard.

    Args:
        source: graph and model.
        held: pairs that are never proposed.
        files: scored pairs, by shards of the lower number.
        config: how many, and the size of a shard.
        calibrator: scores to probabilities.
        out: folder of the table; partitions that are there are kept.
        runner: spreads the shards.
    """
    out.mkdir(exist_ok=True)
    shards = [number for number in range(len(files)) if not (out / partition_name(number)).exists()]
    pool = Pool(1, max(1, min(len(shards), int(runner.resources().cores))))

    def make() -> Callable[[int], int]:
        graph, scorer = source.graph(), source.scorer()
        ids = pa.array(graph.ids, pa.string())
        names = pa.array(scorer.relation_names, pa.string())

        def write(number: int) -> int:
            start = number * config.shard_documents
            pairs, own, rank = best_of_shard(
                files[: number + 1], start, start + config.shard_documents, held, len(ids), config
            )
            low, high = pairs["low"].astype(np.int64), pairs["high"].astype(np.int64)
            forward = pairs["forward"] >= pairs["backward"]
            sources, targets = np.where(forward, low, high), np.where(forward, high, low)
            relation = scorer.relations(sources, targets) if len(pairs) else np.empty(0, np.int64)
            table = {
                "document": ids.take(pa.array(own)),
                "rank": rank + 1,
                "other": ids.take(pa.array(low + high - own)),
                "probability": calibrator(score_of(pairs)).astype(np.float32),
                "score": score_of(pairs),
                "relation": names.take(pa.array(relation)),
                "outgoing": sources == own,
                "candidate_sources": WAYS.take(pa.array(pairs["found_by"])),
            }
            write_partition(pa.table(table, schema=BY_DOCUMENT), out / partition_name(number))
            return len(pairs)

        return write

    for _ in tracked(runner.run(shards, make, "propose", pool), "discover: by document", len(shards), "shards"):
        pass


WAYS = pa.array(
    [[name for name, bit in SOURCES.items() if bits & bit] for bits in range(2 ** len(SOURCES))], pa.list_(pa.string())
)
"""Names of the ways of finding, by the bits that stand for them."""


def best_of_shard(
    files: list[Path], start: int, end: int, held: Held, nodes: int, config: DiscoverConfig
) -> tuple[Pairs, np.ndarray, np.ndarray]:
    """The best pairs of each document of a shard, documents ascending, best first.

    Args:
        files: scored pairs of this shard and of those before it, where pairs with an end in it are.
        start: first document of the shard.
        end: one behind its last.
        held: pairs that are left out.
        nodes: n.
        config: ``per_document``.

    Returns:
        The pairs; the document that each is listed for, int64 (P,); and its place among that document's, int64 (P,).
    """
    parts, owners = [np.empty(0, SCORED)], [np.empty(0, np.int64)]
    for path in files:
        pairs = np.load(path, mmap_mode="r")
        for side in ("low", "high"):
            here = np.array(pairs[(pairs[side] >= start) & (pairs[side] < end)])
            codes = pair_codes(here["low"], here["high"], nodes)
            opened = ~(contains(held.valid, codes) | contains(held.test, codes) | contains(held.other, codes))
            parts.append(here[opened])
            owners.append(here[side][opened].astype(np.int64))
    pairs, own = np.concatenate(parts), np.concatenate(owners)
    order = np.lexsort((pairs["low"] + pairs["high"].astype(np.int64), -score_of(pairs), own))
    pairs, own = pairs[order], own[order]
    rank = np.arange(len(own)) - np.searchsorted(own, own)
    kept = rank < config.per_document
    return pairs[kept], own[kept], rank[kept]


def proposals_of(graph: GraphArtifact, table: Path, document: str, documents: Path | None) -> list[dict[str, Any]]:
    """The proposals of one document, best first, as rows of ``proposals.PROPOSALS``: with reasons, which are made now.

    Args:
        graph: for ids, vectors and shared neighbours.
        table: folder that ``write_by_document`` filled.
        document: its id.
        documents: the documents table, for words in reasons; None where documents have no text.

    Raises:
        InputError: if there is no such document.
    """
    if document not in graph.ids:
        raise InputError(f"no document {document!r}", nearest(document, graph.ids[:MOST_NAMED]))
    found = pq.read_table(table, filters=pc.field("document") == document).sort_by("rank").to_pylist()
    number = {id_: graph.ids.index(id_) for id_ in {document, *(row["other"] for row in found)}}
    ends = [(document, row["other"]) if row["outgoing"] else (row["other"], document) for row in found]
    texts = {} if documents is None else texts_of(documents, number)
    proposed = Proposed(
        np.array([number[source] for source, _ in ends], np.int64),
        np.array([number[target] for _, target in ends], np.int64),
        np.array([row["probability"] for row in found], np.float64),
        np.array([row["score"] for row in found], np.float32),
        [row["relation"] for row in found],
        np.array([sum(SOURCES[name] for name in row["candidate_sources"]) for row in found], np.uint8),
    )
    rows: list[dict[str, Any]] = proposal_table(graph, proposed, shared_words(texts, ends)).to_pylist()
    return rows
