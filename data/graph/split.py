"""Which links are for training, validation and test: split once, before anything learns from them.

Training links carry messages and are supervision, a batch's own links taken out of the graph that it is scored on.
Validation and test links are only asked for. Links that held-out documents bring carry messages when these documents
are judged, and are neither supervision nor asked for.
"""

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
from data.matrices import distinct
from data.partitions import read_table
from data.schema import LINKS, PARTS, SPLITS

NO_TIME = np.iinfo(np.int64).min  # of a link without a time, which counts as older than all others

logger = logging.getLogger("catena")


class SplitConfig(StageConfig):
    """Which links are held out."""

    split: Literal["random", "time", "unseen", "given"] = Field(
        "random",
        description="held-out links: a seeded sample, the latest ones (links without a time count as oldest), all "
        "links of a seeded sample of documents, or those that the source itself gives as valid and test",
    )
    valid_fraction: float = Field(
        0.05, gt=0, lt=0.5, description="share of links held out for validation; with unseen, of linked documents"
    )
    test_fraction: float = Field(
        0.10, gt=0, lt=0.5, description="share of links held out for the final test; with unseen, of linked documents"
    )
    embargo_days: float = Field(
        0, ge=0, description="with time: links of so many days before the first held-out one are not trained on"
    )
    brought_fraction: float = Field(
        0,
        ge=0,
        lt=1,
        description="with unseen: share of held-out documents' links that scorers may see, though never in training",
    )
    seed: int = Field(0, ge=0, description="seed of the split")


DAY_US = 86_400_000_000
TRAIN, VALID, TEST, BROUGHT, UNUSED = range(len(PARTS))


def split_links(
    sources: np.ndarray, targets: np.ndarray, config: SplitConfig, time_us: np.ndarray | None = None
) -> np.ndarray:
    """Assign links to ``PARTS`` so that the two directions of a pair, and its relations, stay together.

    Args:
        sources: node numbers, int64 (m,).
        targets: node numbers, int64 (m,).
        config: fractions and seed, and which links are held out.
        time_us: int64 (m,), microseconds since the epoch; needed for ``split="time"``. A pair linked more than once
            counts from its first link.

    Returns:
        int8 (m,). Of m unordered pairs, ``round(fraction * pairs)`` are held out for each purpose; with
        ``split="unseen"``, all pairs of ``round(fraction * linked documents)``.

    Raises:
        ValueError: if ``split="time"`` and no times are given.
    """
    low, high = np.minimum(sources, targets).astype(np.int64), np.maximum(sources, targets).astype(np.int64)
    base = high.max(initial=0) + 1
    codes, pair_of_link = np.unique(low * base + high, return_inverse=True)
    rng = np.random.default_rng(config.seed)
    if config.split == "unseen":
        part = _by_document(codes // base, codes % base, config, rng)
    elif config.split == "time":
        if time_us is None:
            raise ValueError("split='time' needs the time of each link, none given")
        known_since = np.full(len(codes), np.iinfo(np.int64).max)
        np.minimum.at(known_since, pair_of_link, time_us)
        part = _first_held_out(np.argsort(known_since, kind="stable")[::-1], config)
        held_out = known_since[part != TRAIN]
        if config.embargo_days and len(held_out):
            lately = known_since > held_out.min() - round(config.embargo_days * DAY_US)
            part[lately & (part == TRAIN) & (known_since > NO_TIME)] = UNUSED
    else:
        part = _first_held_out(rng.permutation(len(codes)), config)
    return part[pair_of_link]


def _first_held_out(order: np.ndarray, config: SplitConfig) -> np.ndarray:
    """The first of an order of things for test, the next for validation, the rest for training; int8."""
    n_test, n_valid = round(config.test_fraction * len(order)), round(config.valid_fraction * len(order))
    part = np.zeros(len(order), np.int8)
    part[order[:n_test]] = TEST
    part[order[n_test : n_test + n_valid]] = VALID
    return part


def _by_document(low: np.ndarray, high: np.ndarray, config: SplitConfig, rng: np.random.Generator) -> np.ndarray:
    """Parts of pairs by those of their documents: a pair belongs to that end which is held out more strictly."""
    linked = distinct(np.concatenate([low[low != high], high[low != high]]))
    part_of = np.zeros(int(high.max(initial=-1)) + 1, np.int8)
    part_of[linked] = _first_held_out(rng.permutation(len(linked)), config)
    part: np.ndarray = np.maximum(part_of[low], part_of[high])
    part[(part != TRAIN) & (rng.random(len(part)) < config.brought_fraction)] = BROUGHT
    return part


def write_split(documents: Path, links: Path, config: SplitConfig, out: Path) -> dict[str, int]:
    """Number the documents and split the links; the split stage.

    Args:
        documents: folder of the documents table.
        links: folder of the links table, every id known to the documents.
        config: how links are split.
        out: receives ``nodes.parquet`` (``id``, ``title``; node number = row) and ``links.parquet`` (``source`` and
            ``target`` as node numbers, ``relation``, ``weight``, ``split`` as an index into ``PARTS``).

    Returns:
        Number of documents and links, and of the links in each of ``PARTS``.

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
    time_us = pc.fill_null(table["time"].cast(pa.int64()), NO_TIME).to_numpy()
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
    counts = np.bincount(split, minlength=len(PARTS))
    return {"documents": len(ids), "links": len(split), **dict(zip(PARTS, counts.tolist(), strict=True))}


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
