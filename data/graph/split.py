"""Which links are for training, validation and test: split once, before anything learns from them."""

import logging
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import Field

from data.artifacts import StageConfig
from data.errors import InputError
from data.partitions import read_table
from data.schema import LINKS, SPLITS

logger = logging.getLogger("catena")


class SplitConfig(StageConfig):
    """Which links are held out."""

    split: Literal["random", "time", "given"] = Field(
        "random",
        description="held-out links: a seeded sample, the latest ones (links without a time count as oldest), or those "
        "that the source itself gives as valid and test",
    )
    valid_fraction: float = Field(0.05, gt=0, lt=0.5, description="share of links held out for validation")
    test_fraction: float = Field(0.10, gt=0, lt=0.5, description="share of links held out for the final test")
    seed: int = Field(0, ge=0, description="seed of the random split")


def split_links(
    sources: np.ndarray, targets: np.ndarray, config: SplitConfig, time_us: np.ndarray | None = None
) -> np.ndarray:
    """Assign links to train (0), validation (1) and test (2) so that the two directions of a pair stay together.

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


def write_split(documents: Path, links: Path, config: SplitConfig, out: Path) -> dict[str, int]:
    """Number the documents and split the links; the split stage.

    Args:
        documents: folder of the documents table.
        links: folder of the links table, every id known to the documents.
        config: how links are split.
        out: receives ``nodes.parquet`` (``id``, ``title``; node number = row) and ``links.parquet`` (``source`` and
            ``target`` as node numbers, ``relation``, ``weight``, ``split`` as an index into ``SPLITS``).

    Returns:
        Number of documents and links, and of the links in each split.

    Raises:
        InputError: if links are to be split by time and none has one, or as given and one has no split.
    """
    nodes = read_table(documents, columns=["id", "title"])
    ids = nodes["id"].combine_chunks()
    pq.write_table(nodes, out / "nodes.parquet", compression="zstd")
    table = read_table(links, schema=LINKS)
    if config.split == "time" and 0 < table["time"].null_count == len(table):
        raise InputError(
            "graph.split: 'time' holds out the latest links, but no link of this corpus has a time",
            "Give the links a time, or set graph.split to 'random'.",
        )
    if config.split == "given":
        _need_splits(table)
    elif table["split"].null_count < len(table):
        logger.warning("split: the source has a split of its own, which graph.split '%s' ignores", config.split)
    sources = pc.index_in(table["source"], ids).combine_chunks().to_numpy(zero_copy_only=False).astype(np.int64)
    targets = pc.index_in(table["target"], ids).combine_chunks().to_numpy(zero_copy_only=False).astype(np.int64)
    time_us = pc.fill_null(table["time"].cast(pa.int64()), np.iinfo(np.int64).min).to_numpy()
    if config.split == "given":
        split = pc.index_in(table["split"], pa.array(SPLITS)).to_numpy().astype(np.int8)
    else:
        split = split_links(sources, targets, config, time_us)
    columns = {
        "source": sources,
        "target": targets,
        "relation": table["relation"],
        "weight": table["weight"],
        "split": split,
    }
    pq.write_table(pa.table(columns), out / "links.parquet", compression="zstd")
    counts = np.bincount(split, minlength=len(SPLITS))
    return {"documents": len(ids), "links": len(split), **dict(zip(SPLITS, counts.tolist(), strict=True))}


def _need_splits(table: pa.Table) -> None:
    """Check that each link has a split of its own.

    Raises:
        InputError: naming how many have none, and the first of them.
    """
    missing = table["split"].null_count
    if not missing:
        return
    first = table.filter(pc.is_null(table["split"])).slice(0, 1).to_pylist()[0]
    which = f"{first['source']!r} -> {first['target']!r}"
    raise InputError(
        f"graph.split: 'given' takes each link's split from the source, but {missing:,} of {len(table):,} links have "
        f"none, the first {which}",
        "Name source.triples.train, valid and test, or the column source.files.links.split; or set graph.split to "
        "'random'.",
    )


def linked_ids(split: Path, part: str) -> list[tuple[str, str]]:
    """Ids of source and target of the links in ``train``, ``valid`` or ``test``; a document's link to itself left out.

    Args:
        split: output folder of the split stage, or of the graph stage.
        part: one of ``SPLITS``.
    """
    ids = pq.read_table(split / "nodes.parquet", columns=["id"])["id"]
    table = pq.read_table(split / "links.parquet", columns=["source", "target", "split"])
    chosen = table.filter(
        pc.and_(pc.equal(table["split"], SPLITS.index(part)), pc.not_equal(table["source"], table["target"]))
    )
    ends = (ids.take(chosen[end]).to_pylist() for end in ("source", "target"))
    return list(zip(*ends, strict=True))
