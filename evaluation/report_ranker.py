"""The part of the report on a learned ranker: whether it is better than the order it is given, and by what it goes."""

from collections.abc import Mapping
from typing import Any

from evaluation import charts, page

SHOWN = 12  # features


def ranker_parts(boosted: Mapping[str, Any]) -> list[str]:
    """A sentence, a chart of the features' shares of the gain, and a table of their splits.

    Args:
        boosted: result of the stage.
    """
    gain, split = boosted["importances"]["gain"], boosted["importances"]["split"]
    names = list(gain)[:SHOWN]
    if not names:
        return [page.prose("The trees of the learned ranker have no splits: it leaves every order as it is.")]
    shown = [name.replace("_", " ") for name in names]
    bars = charts.bars(shown, [gain[name] for name in names], width=charts.NARROW)
    table = page.table(
        ["feature", "share of gain", "splits"],
        [(label, [gain[name], split[name]]) for label, name in zip(shown, names, strict=True)],
        ["{:.3f}", "{:,.0f}"],
    )
    return [
        page.prose(_compared(boosted)),
        page.columns(page.panel(bars, "Learned ranker: share of gain"), page.panel(table, "Splits by feature")),
    ]


def _compared(boosted: Mapping[str, Any]) -> str:
    row, figures = boosted["compared"], boosted["ndcg"]
    verdict = "" if boosted["beats"] else " This is no sure gain: leave the ranker out."
    return (
        f"The learned ranker, {boosted['trees']:,} trees trained on {boosted['questions']:,} questions "
        f"({boosted['learned_from']}), has nDCG@10 {figures['reranked']:.4f} on those of them that it was not trained "
        f"on, by turns; the order it is given has {figures['first']:.4f}: {row['difference']:+.4f}, 95% "
        f"{row['difference_low']:+.4f} to {row['difference_high']:+.4f}, p = {row['p_value']:.4f}.{verdict} Gain: what "
        "the splits by a feature took off the loss, as a share of all."
    )
