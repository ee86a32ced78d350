"""The verdict on a ranker that was trained here: whether held-out questions are better answered than before it."""

from collections.abc import Mapping

LEVEL = 0.05


def is_better(compared: Mapping[str, float]) -> bool:
    """Whether a difference is above 0, and not by chance.

    Args:
        compared: as of ``evaluation.significance.paired_difference``.
    """
    return compared["difference"] > 0 and compared["p_value"] < LEVEL


def in_words(before: float, after: float, compared: Mapping[str, float], against: str) -> str:
    """A sentence for people.

    Args:
        before: mean nDCG@10 of the order that the ranker was given.
        after: of its own.
        compared: the second less the first, as of ``paired_difference``.
        against: what gave the first order.
    """
    told = (
        f"better than {against}"
        if is_better(compared)
        else f"better than {against}, but that may be chance"
        if compared["difference"] > 0
        else f"not better than {against}"
    )
    return (
        f"nDCG@10 of held-out questions {after:.4f} reranked, {before:.4f} as found: {told} "
        f"({compared['difference']:+.4f}, {compared['difference_low']:+.4f} to "
        f"{compared['difference_high']:+.4f}, p = {compared['p_value']:.4f})"
    )
