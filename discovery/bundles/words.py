"""A sentence for each bundle that says why it is proposed, from templates or worded by a model."""

import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

from data.encoders.config import API_KEY_VARIABLE
from discovery.bundles.config import WordsConfig

logger = logging.getLogger("catena")

PROMPT = (
    "Say in one plain English sentence of at most 35 words why a shop should offer this bundle. "
    "Use no number that is not given. "
)


def readable(name: str) -> str:
    """A product's name for people: a name all in capitals is written like a sentence."""
    return name.capitalize() if name.isupper() else name


def shown_name(name: str, variants: int) -> str:
    """An item's name for people; of one that stands for variants, how many, as its price is of all of them."""
    return readable(name) if variants < 2 else f"{readable(name)} (one of {variants:,} variants)"


def title(names: Sequence[str]) -> str:
    """The name of a bundle, of ``shown_name`` of its items."""
    return " + ".join(names)


def times(ratio: float) -> str:
    """How many times as many, to three digits and never as a power of ten."""
    return f"{ratio:.3g}" if ratio < 100 else f"{float(f'{ratio:.3g}'):,.0f}"


def reason(facts: Mapping[str, Any]) -> str:
    """One sentence of the numbers behind a bundle.

    Args:
        facts: ``held``, ``baskets``, ``items``, ``lift``, ``lift_low``, ``lift_high``, ``each_lift``; and where known
            ``price``, ``list_price``, ``discount``, ``cover_periods``.
    """
    parts = [_together(facts)]
    if facts.get("price") is not None:
        off = round(100 * facts["discount"])
        instead = f"{facts['price']:.2f} instead of {facts['list_price']:.2f} (−{off}%)"
        parts.append(instead if off else f"{facts['price']:.2f}, at list price")
    if facts.get("cover_periods") is not None:
        parts.append(f"stock for {facts['cover_periods']:.1f} periods")
    return "; ".join(parts) + "."


def _together(facts: Mapping[str, Any]) -> str:
    held, baskets = facts["held"], facts["baskets"]
    if not held:
        return f"Not yet bought together in {baskets:,} baskets, but near in name, or in what else is bought with them"
    said = f"Bought together in {held:,} of {baskets:,} baskets"
    if facts["items"] > 2:  # by chance all of several are hardly ever together, which would say too much
        often = f"{facts['each_lift']:.1f} times as often as by chance"
        return f"{said}, each with the others at least {often}" if facts["each_lift"] >= 1 else said
    between = f"95%: {facts['lift_low']:.1f} to {facts['lift_high']:.1f}"
    if facts["lift"] < 1:
        return f"{said}, no more often than by chance"
    if facts["lift_low"] < 1:
        return f"{said}, too few to say whether by chance ({facts['lift']:.1f} times as often, {between})"
    return f"{said}, {facts['lift']:.1f} times as often as by chance ({between})"


def worded(titles: Sequence[str], reasons: Sequence[str], config: WordsConfig | None) -> tuple[list[str], str | None]:
    """The reasons in a model's words; the template's where it does not answer.

    Args:
        titles: names of the bundles.
        reasons: sentences of ``reason``.
        config: where the model is; None for none.

    Returns:
        A sentence a bundle, and why the template was used, if it was. After the first failure no more is asked.
    """
    if config is None:
        return list(reasons), None
    import httpx

    key = os.environ.get(API_KEY_VARIABLE)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    said = list(reasons)
    try:
        with httpx.Client(base_url=config.url.rstrip("/") + "/", timeout=config.timeout_s, headers=headers) as client:
            for number, (name, facts) in enumerate(zip(titles, reasons, strict=True)):
                message = {"role": "user", "content": f"{PROMPT}Bundle: {name}. Facts: {facts}"}
                answer = client.post("chat/completions", json={"model": config.model, "messages": [message]})
                answer.raise_for_status()
                text = " ".join(str(answer.json()["choices"][0]["message"]["content"]).split())
                said[number] = text or facts
    except (httpx.HTTPError, KeyError, IndexError, TypeError, ValueError) as error:
        failure = f"{type(error).__name__}: {error}"
        logger.warning("bundles: reasons are from templates, %s did not answer: %s", config.url, failure)
        return said, failure
    return said, None
