"""`catena bundles` from a run file to its table, its JSON and its report."""

import json
from pathlib import Path

import numpy as np
import pytest

from ray_apps.cli import main

RUN = """
name: shop
workspace: {folder}/workspace
source:
  function: {{path: "data.baskets.documents:names", arguments: {{path: "{folder}/lines.csv", basket: [order]}}}}
baskets:
  orders: {{path: "{folder}/lines.csv", basket: [order], unit_price: price, time: day}}
bundles:
  sources: [itemsets, pairs]
  objectives: [reach, lift, revenue]
  constraints: {{bundles: 2, max_size: 2}}
  search: {{evaluations: 200, population: 20}}
"""


def shop(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    lines = ["order,product_id,quantity,price,day"]
    for order in range(300):
        items = {*rng.integers(2, 12, 2).tolist(), *((0, 1) if order % 3 == 0 else ())}
        lines += [f"o{order},p{item},1,{item + 1}.5,2026-0{1 + order // 60}-01" for item in sorted(items)]
    (folder / "lines.csv").write_text("\n".join([*lines, "o1,p1,0,1.5,2026-01-01"]) + "\n")
    run = folder / "shop.yaml"
    run.write_text(RUN.format(folder=folder))
    return run


def test_bundles_of_a_run_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = shop(tmp_path)
    assert main(["bundles", str(run), "--json"]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["baskets"]["reject_reasons"] == {"quantity is 0": 1}
    made = result["bundles"]
    assert {"p0", "p1"} in [set(bundle["item_ids"]) for bundle in made["bundles"]]
    assert made["backtest"]["split_by"] == "period"
    assert set(made["phases"]) >= {"candidates", "search", "back-test"}
    assert "<svg" in Path(result["report"]).read_text()
    assert main(["bundles", str(run)]) == 0
    assert "p0 + p1" in capsys.readouterr().out
    assert main(["bundles", str(run), "--strict"]) == 2
    told = capsys.readouterr().err
    assert "order lines were rejected: quantity is 0 (1)\n" in told and "rejects.parquet" in told
    assert main(["bundles", str(run), "--strict", "--workspace", str(tmp_path / "new")]) == 2
    last = len((tmp_path / "lines.csv").read_text().splitlines())
    assert f"lines.csv, line {last}: quantity is 0 (product" in capsys.readouterr().err


def test_one_unreadable_time_is_told_and_changes_no_period(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = shop(tmp_path)
    with (tmp_path / "lines.csv").open("a") as lines:
        lines.write("o2,p1,1,2.5,sometime\no3,p1,1,2.5,\n")
    assert main(["bundles", str(run), "--json"]) == 0
    shown = capsys.readouterr()
    result = json.loads(shown.out.splitlines()[-1])
    assert result["baskets"]["reject_reasons"]["time is not a time (YYYY-MM-DD first)"] == 1
    assert result["baskets"]["without_time"] == 1
    assert result["bundles"]["periods"] < 20
    assert "1 line rejected: time is not a time" in shown.err


def test_a_run_without_order_lines_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = shop(tmp_path)
    run.write_text(run.read_text().partition("baskets:\n")[0])
    assert main(["bundles", str(run)]) == 2
    assert "the run file has no `baskets`" in capsys.readouterr().err
