"""Order lines to baskets, names of items to vectors, and both to bundles."""

import sys
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from data.artifacts import Artifact, StageConfig, StageResult
from data.baskets.config import BasketsConfig
from data.encoders.config import EncoderConfig
from data.encoders.files import contents
from data.errors import InputError, StageAbsent
from data.imports import code_digest
from discovery.bundles.config import BundlesConfig, ObjectiveConfig
from discovery.bundles.words import times
from ray_apps.command import Command
from ray_apps.encoder.check import encoder_needs, encoder_permits, ready_encoder
from ray_apps.plan import Inputs, Plan, Stage
from ray_apps.tables import table

REPORT = "report.html"


class BasketsResult(StageResult):
    """What order lines were made of, and what the rules of the cleaning did."""

    lines: int
    baskets: int
    pairs: int
    products: int
    items: int
    rejects: int
    reject_reasons: dict[str, int] = Field(default_factory=dict)
    excluded: int = 0
    products_excluded: int = 0
    duplicate_products: int = 0
    invalid_prices: int = 0
    duplicate_lines: int = 0
    lines_merged: int = 0
    cancelled_baskets: int = 0
    cancelled_lines: int = 0
    split_shipments: int = 0
    baskets_cut: int = 0
    without_price: int = 0
    without_time: int = 0
    price_of_0: int = 0


class ItemVectorsConfig(StageConfig):
    """What decides the vectors of the items' names."""

    encoder: EncoderConfig
    min_baskets: int


class ItemVectorsResult(StageResult):
    """What was embedded: items in enough baskets; the others have vectors of zeros."""

    items: int
    embedded: int
    dim: int
    fingerprint: str


class BundlesResult(StageResult):
    """The bundles, the front they were chosen of, and what was measured on the way."""

    baskets: int
    baskets_mined: int
    items: int
    periods: int
    objectives: list[dict[str, Any]]
    bundles: list[dict[str, Any]]
    front: list[dict[str, Any]]
    candidates: list[dict[str, Any]]
    sources: dict[str, Any]
    left_out: dict[str, int]
    search: dict[str, Any]
    response: dict[str, Any]
    backtest: dict[str, Any] | None
    words: str
    words_failed: str | None
    phases: dict[str, float]


def no_baskets(plan: Plan) -> StageAbsent | None:
    """Why no bundles can be made; None where the run has order lines."""
    if plan.run.baskets is not None:
        return None
    return StageAbsent("the run file has no `baskets`", "Give order lines; docs/bundles.md shows how.")


def _baskets(plan: Plan) -> BasketsConfig:
    absent = no_baskets(plan)
    if absent is not None:
        raise absent
    assert plan.run.baskets is not None
    return plan.run.baskets


def _map(config: BasketsConfig, inputs: Inputs, out: Path) -> BasketsResult:
    from data.baskets.mapping import map_baskets
    from data.spread import here, on_ray

    return BasketsResult.model_validate(map_baskets(config, out, on_ray if _is_large(config) else here))


def _is_large(config: BasketsConfig) -> bool:
    """Whether order lines are so many that workers of a cluster are worth their start."""
    from data.baskets.columns import count_lines, format_of, local_files

    orders = config.orders
    return sum(count_lines(file, format_of(file, orders.format)) for file in local_files(orders.path)) > 5_000_000


def _refuse_rejects(config: BasketsConfig, made: Artifact) -> None:
    """Refuse baskets with rejected lines, made by a run that was not strict, in one that is."""
    reasons = made.result["reject_reasons"]
    if config.strict and reasons:
        raise InputError(
            f"order lines were rejected: {'; '.join(f'{reason} ({n:,})' for reason, n in reasons.items())}",
            f"Correct the lines ({made.path / 'rejects.parquet'} names them), or leave out --strict.",
        )


def _embed(config: ItemVectorsConfig, inputs: Inputs, out: Path) -> ItemVectorsResult:
    import numpy as np

    from data.baskets.table import Market
    from data.encoders import load_encoder
    from data.files import whole_or_absent
    from discovery.bundles.words import readable

    market = Market.open(inputs["baskets"].path)
    encoder = load_encoder(ready_encoder(config.encoder, inputs))
    wanted = np.flatnonzero(market.baskets.counts >= config.min_baskets)
    vectors = np.zeros((len(market.names), encoder.dim), np.float32)
    if len(wanted):
        vectors[wanted] = encoder.encode([readable(market.names[item]) for item in wanted])
    with whole_or_absent(out / "vectors.npy") as unfinished, unfinished.open("wb") as file:
        np.save(file, vectors)
    return ItemVectorsResult(items=len(vectors), embedded=len(wanted), dim=encoder.dim, fingerprint=encoder.fingerprint)


def _make(config: BundlesConfig, inputs: Inputs, out: Path) -> BundlesResult:
    import numpy as np

    from data.baskets.table import Market
    from discovery.bundles.make import make_bundles
    from discovery.bundles.report import write_report

    vectors = np.load(inputs["vectors"].path / "vectors.npy", mmap_mode="r") if "vectors" in inputs else None
    made = make_bundles(Market.open(inputs["baskets"].path), vectors, config, out)
    write_report(made, config, out / REPORT)
    return BundlesResult.model_validate(made)


def _needs(plan: Plan) -> Mapping[str, str]:
    vectors = {"vectors": "item_vectors"} if "text" in plan.run.bundles.sources else {}
    return {"baskets": "baskets", **vectors}


def _stamps(config: BundlesConfig) -> Mapping[str, Any]:
    own = [named.path for named in config.objectives or [] if isinstance(named, ObjectiveConfig)]
    return {"objectives": {path: code_digest("bundles.objectives.path", path) for path in own}} if own else {}


def bundles(plan: Plan, arguments: Namespace) -> dict[str, Any]:
    """Bundles of a run with their reasons.

    Raises:
        InputError: if the run has no order lines, or the constraints cannot be kept.
    """
    baskets = plan.bring("baskets")
    made = plan.bring("bundles")
    return {
        "run": plan.run.name,
        "baskets": baskets.result,
        "bundles": made.result,
        "artifact": str(made.path),
        "report": str(made.path / REPORT),
    }


def _show(result: Mapping[str, Any]) -> str:
    made = result["bundles"]
    if any(b["price"] is not None for b in made["bundles"]):
        priced = [
            (b["number"], b["title"], "" if b["price"] is None else f"{b['price']:.2f}", b["reason"])
            for b in made["bundles"]
        ]
        shown = [table(("", "bundle", "price", "why"), priced)]
    else:
        shown = [table(("", "bundle", "why"), [(b["number"], b["title"], b["reason"]) for b in made["bundles"]])]
    judged = made["backtest"]
    if judged:
        rate = judged["hit_rate"]["proposed"]
        said = (
            f"{rate['rate']:.2%} of {judged['baskets']:,} later baskets hold one (95%: {rate['low']:.2%} to "
            f"{rate['high']:.2%})"
        )
        compared = [_compared(way, judged["ratio"][way]) for way in ("top pairs by count", "random pairs")]
        shown.append(f"{'; '.join([said, *filter(None, compared)])}.")
    return "\n\n".join([*shown, f"report: {result['report']}"])


def _compared(way: str, ratio: Mapping[str, float | None]) -> str:
    if not ratio["ratio"]:
        return ""
    between = "" if ratio["low"] is None else f" (95%: {ratio['low']:.2f} to {ratio['high']:.2f})"
    return f"{times(ratio['ratio'])} times as many as hold one of as many {way}{between}"


BASKETS = Stage(
    name="baskets",
    result=BasketsResult,
    config=_baskets,
    make=_map,
    wanted=lambda plan: plan.run.baskets is not None,
    absent=no_baskets,
    stamps=lambda config: {"files": config.stamps()},
    reuse=_refuse_rejects,
    version=2,  # times that cannot be read are rejected, and items know their variants
    on_ray=lambda plan: _is_large(_baskets(plan)),
)
ITEM_VECTORS = Stage(
    name="item_vectors",
    result=ItemVectorsResult,
    config=lambda plan: ItemVectorsConfig(encoder=plan.encoder, min_baskets=plan.run.bundles.min_baskets),
    make=_embed,
    needs=lambda plan: {"baskets": "baskets", **encoder_needs(plan)},
    permits=encoder_permits,
    wanted=lambda plan: plan.run.baskets is not None and "text" in plan.run.bundles.sources,
    absent=no_baskets,
    stamps=lambda config: {"files": contents(config.encoder)},
)
BUNDLES = Stage(
    name="bundles",
    result=BundlesResult,
    config=lambda plan: plan.run.bundles,
    make=_make,
    needs=_needs,
    wanted=lambda plan: plan.run.baskets is not None,
    absent=no_baskets,
    stamps=_stamps,
)
COMMAND = Command(
    name="bundles",
    summary="propose bundles of products, priced and with reasons, from order lines",
    call=bundles,
    show=_show,
    sections=("baskets", "bundles", "encoder"),
)

if __name__ == "__main__":
    from ray_apps.cli import main

    sys.exit(main(["bundles", *sys.argv[1:]]))
