"""The whole pipeline on real baskets, its sources at the same time, and what later baskets say of its bundles."""

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.bundles.data import market_of
from benchmarks.rows import Row
from data.baskets.table import Market
from data.encoders import load_encoder
from discovery.bundles.make import make_bundles
from discovery.bundles.report import write_report
from discovery.bundles.words import readable
from ray_apps.config import RunConfig


def measure() -> list[Row]:
    """Completejourney and groceries, with vectors of the default encoder, which are not timed."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in ("completejourney", "groceries"):
            started = time.perf_counter()
            market, run = market_of(name, Path(folder) / name)
            mapped = time.perf_counter() - started
            vectors = _vectors(market, run)
            started = time.perf_counter()
            made = make_bundles(market, vectors, run.bundles, Path(folder))
            write_report(made, run.bundles, Path(folder) / "report.html")
            seconds = mapped + time.perf_counter() - started
            if name == "completejourney":
                rows.append(_seconds(seconds, mapped, made))
                rows.append(_parallel(market, vectors, run))
            rows += _judged(name, made["backtest"])
    return rows


def _vectors(market: Market, run: RunConfig) -> np.ndarray[Any, np.dtype[np.float32]]:
    encoder = load_encoder(run.encoder)
    wanted = np.flatnonzero(market.baskets.counts >= run.bundles.min_baskets)
    vectors = np.zeros((len(market.names), encoder.dim), np.float32)
    vectors[wanted] = encoder.encode([readable(market.names[item]) for item in wanted])
    return vectors


def _seconds(seconds: float, mapped: float, made: dict[str, Any]) -> Row:
    phases = ", ".join(f"{name} {spent:.2f}" for name, spent in made["phases"].items())
    return Row(
        id="bundles.whole_seconds",
        what="completejourney, 75,000 lines and 92,331 products, after embedding: from files to bundles and report",
        value=seconds,
        unit="s",
        at_most=20.0,
        reach=8.0,
        peer=f"mapping {mapped:.2f}, {phases}",
    )


def _parallel(market: Market, vectors: np.ndarray[Any, np.dtype[np.float32]], run: RunConfig) -> Row:
    """Median of five: time of all sources at once over that of the slowest of them alone."""
    ratios, said = [], ""
    for _ in range(5):
        alone = make_bundles(market, vectors, run.bundles.model_copy(update={"parallel": False}))["sources"]
        together = make_bundles(market, vectors, run.bundles)["sources"]
        slowest = max(source["seconds"] for source in alone["by_source"].values())
        ratios.append(together["elapsed_s"] / slowest)
        said = f"in turn {alone['elapsed_s']:.2f} s, together {together['elapsed_s']:.2f}, slowest alone {slowest:.2f}"
    return Row(
        id="bundles.sources_parallel",
        what="completejourney: four sources at the same time over the slowest of them alone",
        value=float(np.median(ratios)),
        unit="x",
        at_most=1.1,
        peer=said,
    )


def _judged(name: str, judged: dict[str, Any]) -> list[Row]:
    def interval(found: dict[str, float | None]) -> str:
        return f"{found['low']:.2f} to {found['high']:.2f}" if found["low"] is not None else "no interval"

    rate, ratio, take = judged["hit_rate"], judged["ratio"], judged["take_ratio"]
    top = "top pairs by count"
    hindsight = rate["best pairs in hindsight"]["rate"] / max(rate[top]["rate"], 1e-12)
    return [
        Row(
            id=f"bundles.backtest_{name}",
            what=f"{name}: share of {judged['baskets']:,} later baskets that hold one of {judged['bundles']} proposed "
            "bundles, over that of the top pairs by count",
            value=ratio[top]["ratio"],
            unit="x",
            at_least=1.3,
            reach=2.0,
            peer=f"95% {interval(ratio[top])}; pairs chosen in hindsight would reach {hindsight:.2f}",
        ),
        Row(
            id=f"bundles.backtest_{name}_random",
            what=f"{name}: the same over random pairs",
            value=ratio["random pairs"]["ratio"],
            unit="x",
            peer=f"take rate over top pairs by count {take[top]['ratio']:.2f} ({interval(take[top])})",
        ),
    ]
