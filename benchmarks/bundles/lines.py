"""Order lines to baskets: lines a second of one core, and memory as lines grow."""

import tempfile
from pathlib import Path

import polars as pl

from benchmarks.bundles.child import measured
from benchmarks.bundles.data import write_lines
from benchmarks.rows import Row

PRODUCTS = 5000  # sales of each in each week are in memory: 260,000 rows


def measure() -> list[Row]:
    """A million and ten million lines of Parquet with text ids, joined with 5,000 products."""
    with tempfile.TemporaryDirectory() as folder:
        ids = [str(n) for n in range(PRODUCTS)]
        pl.DataFrame({"id": ids, "name": ids}).write_parquet(Path(folder) / "products.parquet")
        found = {}
        for lines in (1_000_000, 10_000_000):
            path = Path(folder) / "lines.parquet"
            write_lines(path, lines, PRODUCTS)
            found[lines] = measured("map", str(path))
    one, ten = found[1_000_000], found[10_000_000]
    return [
        Row(
            id="bundles.mapping_speed",
            what="order lines of Parquet cleaned, joined and grouped, a second of one core, 10 million lines",
            value=ten["lines"] / ten["core_seconds"] / 1e6,
            unit="million lines/s",
            at_least=1.0,
            reach=5.0,
            peer=f"by the clock, beside other work, {ten['lines'] / ten['seconds'] / 1e6:.2f}; of 1 million lines "
            f"{one['lines'] / one['core_seconds'] / 1e6:.2f}",
        ),
        Row(
            id="bundles.mapping_memory",
            what="peak memory of mapping 10 million lines over that of 1 million",
            value=ten["peak_mb"] / one["peak_mb"],
            unit="x",
            at_most=1.1,
            peer=f"{one['peak_mb']:.0f} MB and {ten['peak_mb']:.0f} MB, of them {one['before_mb']:.0f} MB imports",
        ),
    ]
