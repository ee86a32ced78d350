"""What the figures of bundles are measured on."""

from pathlib import Path

import numpy as np
import polars as pl

from data.baskets.config import BasketsConfig
from data.baskets.mapping import map_baskets
from data.baskets.table import Baskets, Market
from data.sources.paths import expand
from ray_apps.config import RunConfig, load_run

RUNS = Path(__file__).resolve().parents[2] / "runs"


def synthetic_baskets(count: int = 50_000, items: int = 2000, mean: float = 10.0, seed: int = 0) -> Baskets:
    """Baskets of items of falling popularity, half of them with one of 300 planted sets of two to four items."""
    rng = np.random.default_rng(seed)
    popularity = 1 / np.arange(1, items + 1) ** 0.8
    lengths = rng.poisson(mean - 1, count) + 1
    basket = np.repeat(np.arange(count), lengths)
    item = rng.choice(items, int(lengths.sum()), p=popularity / popularity.sum())
    planted = [rng.choice(items, rng.integers(2, 5), replace=False) for _ in range(300)]
    chosen = rng.choice(300, count // 2)
    sizes = np.array([len(planted[n]) for n in chosen])
    holders = np.repeat(rng.choice(count, count // 2), sizes)
    more = np.concatenate([planted[n] for n in chosen])
    return Baskets.of_pairs(np.concatenate([basket, holders]), np.concatenate([item, more]).astype(np.int32), items)


def write_lines(path: Path, lines: int, products: int = 20_000, seed: int = 0) -> None:
    """Order lines of about ten a basket in Parquet, with prices, weeks and names as text, written group by group."""
    import pyarrow.parquet as pq

    rng = np.random.default_rng(seed)
    group = 250_000
    writer = None
    for start in range(0, lines, group):
        count = min(group, lines - start)
        basket = (start + np.sort(rng.integers(0, count, count))) // 10
        frame = pl.DataFrame(
            {
                "basket_id": basket,
                "product_id": rng.integers(0, products, count),
                "quantity": rng.integers(1, 4, count),
                "price": rng.integers(50, 2000, count) / 100,
                "week": (basket % 52).astype(np.int32),
            }
        ).with_columns(pl.col("basket_id", "product_id").cast(pl.String))
        table = frame.to_arrow()
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    assert writer is not None
    writer.close()


def market_of(name: str, folder: Path) -> tuple[Market, RunConfig]:
    """The market of a run file, mapped into a folder, and the run."""
    run = load_run(RUNS / f"{name}.yaml")
    assert run.baskets is not None
    folder.mkdir(parents=True, exist_ok=True)
    map_baskets(run.baskets, folder)
    return Market.open(folder), run


def fimi(name: str, folder: Path) -> Baskets:
    """One of the files of the Frequent Itemset Mining Implementations repository."""
    folder.mkdir(parents=True, exist_ok=True)
    orders = {"orders": {"path": str(expand(f"$CATENA_DATA/market/fimi/{name}.dat"))}}
    map_baskets(BasketsConfig.model_validate(orders), folder)
    return Market.open(folder).baskets
