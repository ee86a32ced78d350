"""Mapping and mining shared among Ray's workers give what one process gives."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from data.baskets import mapping
from data.baskets.config import BasketsConfig
from data.baskets.mapping import map_baskets
from data.baskets.table import Baskets, Market
from data.spread import here, on_ray
from discovery.itemsets import frequent_itemsets

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("cluster")]


def test_itemsets_of_many_workers_are_those_of_one() -> None:
    rng = np.random.default_rng(0)
    baskets = Baskets.of_lists([rng.integers(0, 25, rng.integers(1, 9)).tolist() for _ in range(400)], 25)
    one, many = (frequent_itemsets(baskets, 0.01, 4, runner=runner) for runner in (here, on_ray))
    assert one.as_dict() == many.as_dict() and len(one) > 300


def test_baskets_of_many_workers_are_those_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapping, "LINES_OF_PARTITION", 200)
    rng = np.random.default_rng(0)
    columns = {"basket_id": rng.integers(0, 200, 900), "product_id": rng.integers(0, 30, 900), "quantity": [1] * 900}
    for part in range(2):
        pl.DataFrame(columns).slice(450 * part, 450).write_parquet(tmp_path / f"lines-{part}.parquet")
    config = BasketsConfig.model_validate({"orders": {"path": str(tmp_path / "lines-*.parquet")}})
    results = []
    for name, runner in (("here", here), ("ray", on_ray)):
        (tmp_path / name).mkdir()
        results.append(map_baskets(config, tmp_path / name, runner))
    assert results[0] == results[1]
    one, many = (Market.open(tmp_path / name) for name in ("here", "ray"))
    np.testing.assert_array_equal(one.baskets.indptr, many.baskets.indptr)
    np.testing.assert_array_equal(one.baskets.items, many.baskets.items)
