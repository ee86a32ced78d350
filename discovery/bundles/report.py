"""The page that shows bundles: each with its reason, the front, what the sources gave, the back-test, timings."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from data.files import whole_or_absent
from discovery.bundles.config import BundlesConfig
from discovery.bundles.words import times
from evaluation import charts, page

CHOSEN, OTHERS = "in the chosen portfolio", "candidates"
LABELS = {
    "itemsets": "frequent itemsets",
    "pairs": "pairs by lift",
    "text": "names that are near",
    "graph": "co-purchase graph",
}


def write_report(result: Mapping[str, Any], config: BundlesConfig, path: Path) -> None:
    """Write the page.

    Args:
        result: of ``make_bundles``.
        config: the section ``bundles``.
        path: file to write.
    """
    title = f"{len(result['bundles'])} bundles of {result['items']:,} products"
    parts = [
        page.header("bundles of products", title, _lead(result)),
        page.cards(_cards(result)),
        page.section("Bundles", page.panel(_bundles(result["bundles"]))),
        page.section("The front", *_front(result)),
        *([page.section("Back-test", *_backtest(result["backtest"]))] if result["backtest"] else []),
        page.section("Where candidates come from", *_sources(result)),
        page.section("Search", *_search(result, config)),
    ]
    with whole_or_absent(path) as unfinished:
        unfinished.write_text(page.page(title, parts), encoding="utf-8")


def _lead(result: Mapping[str, Any]) -> str:
    objectives = " and ".join(o["name"].replace("_", "-") for o in result["objectives"])
    return (
        f"Chosen of {result['sources']['merged']:,} candidates in {result['baskets_mined']:,} baskets of "
        f"{result['items']:,} products, by {objectives} at once."
    )


def _cards(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    cards = [
        (f"{result['baskets']:,}", "baskets"),
        (f"{len(result['front']):,}", "portfolios on the front"),
        (f"{sum(result['phases'].values()):.1f} s", "from baskets to bundles"),
    ]
    judged = result["backtest"]
    if judged:
        cards.append((f"{judged['hit_rate']['proposed']['rate']:.1%}", "of later baskets hold a proposed bundle"))
        for way in ("top pairs by count", "random pairs"):
            ratio = judged["ratio"][way]["ratio"]
            cards += [(f"{times(ratio)}×", f"as many as hold one of the {way}")] if ratio else []
    return cards


def _bundles(bundles: Sequence[Mapping[str, Any]]) -> str:
    items = []
    for bundle in bundles:
        price = "" if bundle["price"] is None else f" <span class='relation'>{bundle['price']:.2f}</span>"
        alike = "" if bundle["similarity"] is None else f"; names alike to {bundle['similarity']:.2f}"
        found = ", ".join(LABELS[source] for source in bundle["sources"]) + alike
        items.append(
            f'<li><span class="probability">{bundle["number"]}</span><div><bdi>{escape(bundle["title"])}</bdi>{price}'
            f'<div class="why">{escape(bundle["reason"])} Found by {escape(found)}.</div></div></li>'
        )
    return f'<ol class="links">{"".join(items)}</ol>'


def _front(result: Mapping[str, Any]) -> list[str]:
    objectives = result["objectives"]
    if len(objectives) < 2:
        return [page.prose("One objective has no front: the best portfolio is the one above.")]
    first, second = objectives[:2]
    return [
        page.prose(
            "Each point is a bundle; those with a number are in the portfolio above. Point at one to see its name."
        ),
        page.panel(_bundle_points(result, first, second)),
        page.prose(
            f"Each point is a portfolio of up to {max(len(p['bundles']) for p in result['front'])} bundles that none "
            "of the others beats in every objective."
        ),
        page.panel(_portfolio_points(result, first, second)),
    ]


def _bundle_points(result: Mapping[str, Any], first: Mapping[str, Any], second: Mapping[str, Any]) -> str:
    chosen = {bundle["title"] for bundle in result["bundles"]}
    a, b = first["name"], second["name"]

    def point(row: Mapping[str, Any]) -> tuple[float, float, str]:
        return row["objectives"][a], row["objectives"][b], row["title"]

    others = [point(row) for row in result["candidates"] if row["title"] not in chosen]
    mine = [point(row) for row in result["bundles"]]
    numbers = [(x, y, str(row["number"])) for row, (x, y, _) in zip(result["bundles"], mine, strict=True)]
    return charts.scatter({OTHERS: others, CHOSEN: mine}, _axis(first), _axis(second), CHOSEN, numbers)


def _portfolio_points(result: Mapping[str, Any], first: Mapping[str, Any], second: Mapping[str, Any]) -> str:
    a, b = first["name"], second["name"]
    groups: dict[str, list[tuple[float, float, str]]] = {"portfolios of the front": [], "the chosen one": []}
    for found in result["front"]:
        named = "; ".join(found["bundles"])
        group = "the chosen one" if found["chosen"] else "portfolios of the front"
        groups[group].append((found["objectives"][a], found["objectives"][b], named))
    return charts.scatter(groups, _axis(first), _axis(second), "the chosen one", width=charts.WIDE - 0.01)


def _axis(objective: Mapping[str, Any]) -> str:
    better = "" if objective["maximise"] else ", less is better"
    return f"{objective['name'].replace('_', '-')} ({objective['unit']}{better})"


def _backtest(judged: Mapping[str, Any]) -> list[str]:
    split = {
        "period": "The last periods were kept back",
        "share": "No time is known: a share of the baskets was kept back",
    }
    parts = [
        page.prose(
            f"{split[judged['split_by']]}: {judged['baskets']:,} baskets. Left, the share of them that hold one of "
            f"{judged['bundles']} bundles whole; right, of the times that a basket held all of a bundle or all but one "
            "item, the share that it held all."
        )
    ]
    panels = []
    for key, heading in (("hit_rate", "Baskets that hold a bundle"), ("take_rate", "Baskets that complete one")):
        rates = judged[key]
        intervals = [(rate["low"], rate["high"]) for rate in rates.values()]
        values = [rate["rate"] for rate in rates.values()]
        form = "{:.1%}" if max(values) > 0.02 else "{:.2%}"
        names = [name.replace(" by ", "\nby ").replace(" of ", "\nof ").replace(" in ", "\nin ") for name in rates]
        drawn = charts.bars(names, values, intervals, "proposed", form, charts.NARROW - 0.01 * (key == "take_rate"))
        panels.append(page.panel(drawn, heading))
    return [*parts, page.columns(*panels)]


def _sources(result: Mapping[str, Any]) -> list[str]:
    found = result["sources"]["by_source"]
    head = ["source", "found", "candidates", "from it alone", "chosen", "seconds"]
    rows = [
        (LABELS[name], [row[key] for key in ("found", "kept", "kept_alone", "chosen", "seconds")])
        for name, row in found.items()
    ]
    parts = [page.panel(page.table(head, rows, ["{:,}", "{:,}", "{:,}", "{:,}", "{:.2f}"]))]
    for name, row in found.items():
        if row["failed"]:
            parts.append(page.prose(f"{LABELS[name]} failed: {row['failed']}"))
    if result["left_out"]:
        left = "; ".join(f"{count:,} {reason}" for reason, count in result["left_out"].items())
        parts.append(page.prose(f"Left out: {left}.", note=True))
    return parts


def _search(result: Mapping[str, Any], config: BundlesConfig) -> list[str]:
    search = result["search"]
    said = (
        f"{search['evaluations']:,} portfolios evaluated in {search['seconds']:.1f} s, {search['generations']} "
        f"generations{', stopped when the front grew no more' if search['stopped_early'] else ''}."
    )
    if search["exact"]:
        share = search["exact"]["front_share"]
        said += f" On the weighted sum the front reaches {share:.1%} of the exact optimum." if share else ""
    prices = config.prices
    response = result["response"]
    shown = (
        f"estimated from {response['rows']:,} products and periods on promotion"
        if response["estimated"]
        else "a stated default"
    )
    assumed = (
        f"Own-price elasticity {response['pooled']:.2f}, {shown}; a cost that is unknown is {prices.cost_share:.0%} of "
        f"the list price; baskets that lack one item "
        f"of a bundle take it at list price {prices.uptake:.0%} as often as baskets with the rest hold it."
    )
    names, seconds = list(result["phases"]), list(result["phases"].values())
    timings = page.panel(charts.bars(names, seconds, form="{:.2f} s"), "Seconds of each phase")
    return [page.prose(said), timings, page.prose(assumed, note=True)]
