"""What a shop system reads: the feed of bundles, and the plan of an experiment that would show their worth."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.special import ndtri

from data.files import whole_or_absent

ALPHA, POWER = 0.05, 0.8

FEED = pa.schema(
    [
        ("bundle_id", pa.string()),
        ("title", pa.string()),
        ("item_ids", pa.list_(pa.string())),
        ("item_names", pa.list_(pa.string())),
        ("price", pa.float64()),
        ("list_price", pa.float64()),
        ("discount", pa.float64()),
        ("reason", pa.string()),
        ("sources", pa.list_(pa.string())),
        ("held", pa.int64()),
        ("baskets", pa.int64()),
        ("lift", pa.float64()),
        ("lift_low", pa.float64()),
        ("lift_high", pa.float64()),
        ("objectives", pa.map_(pa.string(), pa.float64())),
    ]
)


def write_feed(bundles: Sequence[Mapping[str, Any]], folder: Path, name: str = "bundles") -> None:
    """Write ``NAME.parquet`` and ``NAME.jsonl``: the same rows, columns of ``FEED``."""
    rows = [{name: bundle.get(name) for name in FEED.names} for bundle in bundles]
    table = pa.Table.from_pylist([{**row, "objectives": list((row["objectives"] or {}).items())} for row in rows], FEED)
    with whole_or_absent(folder / f"{name}.parquet") as unfinished:
        pq.write_table(table, unfinished)
    with whole_or_absent(folder / f"{name}.jsonl") as unfinished:
        unfinished.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def sample_size(base: float, expected: float, alpha: float = ALPHA, power: float = POWER) -> int | None:
    """Baskets of each of two groups that show the difference of two shares.

    Two-sided z-test of two proportions (Fleiss, Statistical Methods for Rates and Proportions, 1981).

    Args:
        base: share without the bundle.
        expected: share with it.
        alpha: chance of a false finding.
        power: chance to find the difference.

    Returns:
        None where the shares do not differ, or are none.
    """
    if not (0 <= base < 1 and 0 < expected < 1) or expected == base:
        return None
    middle = (base + expected) / 2
    spread = ndtri(1 - alpha / 2) * np.sqrt(2 * middle * (1 - middle)) + ndtri(power) * np.sqrt(
        base * (1 - base) + expected * (1 - expected)
    )
    return int(np.ceil((spread / (expected - base)) ** 2))


def experiment_plan(bundles: Sequence[Mapping[str, Any]], baskets_a_period: float) -> dict[str, Any]:
    """What would show each bundle's worth: groups by buyer or by session, half of them sees the bundle.

    Args:
        bundles: with ``bundle_id``, ``held``, ``baskets`` and ``added`` (baskets of a period).
        baskets_a_period: of the shop.
    """
    planned = []
    for bundle in bundles:
        base = bundle["held"] / max(bundle["baskets"], 1)
        expected = base + bundle["added"] / max(baskets_a_period, 1e-9)
        size = sample_size(base, expected)
        planned.append(
            {
                "bundle_id": bundle["bundle_id"],
                "share_without": base,
                "share_expected": expected,
                "baskets_a_group": size,
                "periods": None if size is None else 2 * size / max(baskets_a_period, 1e-9),
            }
        )
    return {"alpha": ALPHA, "power": POWER, "baskets_a_period": baskets_a_period, "bundles": planned}


def write_plan(plan: Mapping[str, Any], folder: Path) -> None:
    """Write ``experiment.json``."""
    with whole_or_absent(folder / "experiment.json") as unfinished:
        unfinished.write_text(json.dumps(plan, indent=1), encoding="utf-8")
