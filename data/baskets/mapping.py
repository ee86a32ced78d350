"""Order lines to baskets, on many workers: pieces of files are cleaned, then partitions of baskets are grouped.

Memory is bounded by a batch of lines and a partition, whatever the number of lines.
"""

import logging
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from data.baskets.columns import count_lines, format_of, local_files, pieces_of
from data.baskets.config import BasketsConfig
from data.baskets.grouping import Grouped, Sales, group
from data.baskets.items import read_items, write_items
from data.baskets.landing import REJECTS, Landed, Piece, land, lines_of
from data.errors import InputError
from data.files import whole_or_absent
from data.spread import Runner, here

logger = logging.getLogger("catena")

LINES_OF_PARTITION = 500_000
ARRAYS = ("lengths", "items", "periods")


def map_baskets(config: BasketsConfig, out: Path, runner: Runner = here) -> dict[str, Any]:
    """Read order lines and products; write baskets, items, their sales, and the rejected lines.

    Writes ``lengths.npy``, ``items.npy`` and ``periods.npy`` (int32; baskets, pairs, baskets), ``items.parquet``,
    ``sales.parquet`` and ``rejects.parquet``.

    Args:
        config: where they are.
        out: the artifact's folder, on storage that all workers share.
        runner: spreads the work.

    Returns:
        Counts: ``lines``, ``baskets``, ``pairs``, ``products``, ``items``, ``rejects``, ``reject_reasons``, and what
        the rules of the cleaning did.

    Raises:
        InputError: if a file cannot be read, there are two currencies and none is chosen, a line is rejected while
            ``strict`` is set, or no basket is left.
    """
    files = [(file, format_of(file, config.orders.format)) for file in local_files(config.orders.path)]
    listed = [(file, format_, groups) for file, format_ in files for groups in pieces_of(file, format_)]
    pieces = [Piece(number, *piece) for number, piece in enumerate(listed)]
    parts = max(1, round(sum(count_lines(*file) for file in files) / LINES_OF_PARTITION))
    products, items, counted = read_items(config)
    landing = out / "landed"
    shutil.rmtree(landing, ignore_errors=True)
    landing.mkdir(parents=True)
    landed = _land_all(pieces, config, products, parts, landing, runner)
    _check(landed, config)
    counts = sum((of.counts for of in landed), Counter())
    sales = Sales()
    for grouped in _group_all(parts, config.max_items, landing, runner):
        counts.update(grouped.counts)
        sales.add(grouped.codes, grouped.sums)
    if not counts["baskets"]:
        raise InputError(
            f"{config.orders.path}: {_nothing_left(counts, _reasons(landed))}",
            "Check the column mapping, and that order lines and products name products alike.",
        )
    for name in ARRAYS:
        _join(sorted(landing.glob(f"*.{name}.npy")), out / f"{name}.npy")
    write_items(items, out)
    sales.table().write_parquet(out / "sales.parquet")
    rejected = sorted(landing.glob(f"*/{REJECTS}"))
    if rejected:
        pl.concat([pl.scan_parquet(file) for file in rejected]).sink_parquet(out / REJECTS)
    shutil.rmtree(landing)
    reasons = _reasons(landed)
    for reason, count in reasons.items():
        logger.warning("baskets: %s rejected: %s", _lines(count), reason)
    if reasons:
        logger.warning("baskets: they are in %s", out / REJECTS)
    return {
        **{name: count for name, count in counts.items() if count},
        **counted,
        "rejects": sum(reasons.values()),
        "reject_reasons": reasons,
    }


def _land_all(
    pieces: Sequence[Piece], config: BasketsConfig, products: pl.DataFrame, parts: int, folder: Path, runner: Runner
) -> list[Landed]:
    def make() -> Callable[[Piece], Landed | InputError]:
        def work(piece: Piece) -> Landed | InputError:
            try:
                return land(piece, config, products, parts, folder)
            except InputError as error:  # returned, as Ray would wrap it in its own with a long traceback
                return error

        return work

    done = []
    for found in runner.run(pieces, make, "baskets"):
        if isinstance(found, InputError):
            raise found
        if found.first_reject:
            raise InputError(found.first_reject, "Correct the line, or leave out --strict (baskets.strict).")
        done.append(found)
    return done


def _group_all(parts: int, max_items: int, folder: Path, runner: Runner) -> Iterator[Grouped]:
    def make() -> Callable[[int], Grouped]:
        return lambda part: group(lines_of(part, folder), part, max_items, folder)

    return runner.run(range(parts), make, "group")


def _check(landed: Sequence[Landed], config: BasketsConfig) -> None:
    found = sum((of.currencies for of in landed), Counter())
    if config.currency is None and len(found) > 1:
        listed = ", ".join(f"{name} ({_lines(count)})" for name, count in found.most_common())
        raise InputError(
            f"{config.orders.path}: prices in several currencies: {listed}",
            "Set baskets.currency to the one to keep; lines of others are rejected.",
        )
    if config.currency is not None and found and config.currency not in found:
        raise InputError(
            f"{config.orders.path}: no line is in {config.currency}; found: {', '.join(sorted(found))}",
            "Correct baskets.currency.",
        )


def _lines(count: int) -> str:
    return f"{count:,} line{'' if count == 1 else 's'}"


def _nothing_left(counts: Counter[str], reasons: Mapping[str, int]) -> str:
    if not counts["lines"]:
        return "no order line"
    left_out = {**reasons, "product that is left out": counts["excluded"], "order cancelled": counts["cancelled_lines"]}
    told = "; ".join(f"{reason} ({count:,})" for reason, count in left_out.items() if count)
    return f"no basket is left of {_lines(counts['lines'])}: {told}"


def _reasons(landed: Sequence[Landed]) -> dict[str, int]:
    return dict(sum((of.reasons for of in landed), Counter()).most_common())


def _join(files: Sequence[Path], path: Path) -> None:
    """Arrays one after another in one file, copied part by part."""
    shapes = [np.load(file, mmap_mode="r").shape[0] for file in files]
    with whole_or_absent(path) as unfinished, unfinished.open("wb") as target:
        header = {"descr": "<i4", "fortran_order": False, "shape": (sum(shapes),)}
        np.lib.format.write_array_header_1_0(target, header)
        for file in files:
            target.write(np.ascontiguousarray(np.load(file), "<i4").tobytes())
