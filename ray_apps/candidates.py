"""A release that is to be served, held against the live one before anybody is answered from it."""

import logging
import random
from typing import TYPE_CHECKING

from data.errors import InputError
from data.partitions import read_table
from ray_apps.plan import Plan
from ray_apps.serve import bring_served, release_of, traffic_of
from ray_apps.served_links import check_links

if TYPE_CHECKING:
    from serving.traffic import Release, Traffic

logger = logging.getLogger("catena")

SAMPLE = 100  # passages that an index is asked for by their own words
WORDS = 12  # of each
LEAST = 0.9  # of the live release's passages, and of the share that it finds


def traffic_there(plan: Plan) -> "Traffic":
    """Which releases of a run are served.

    Raises:
        InputError: if it was never served.
    """
    from serving.traffic import read_traffic

    traffic = read_traffic(traffic_of(plan))
    if traffic is None:
        raise InputError(f"{plan.run.name} was never served", "Start it by `catena serve` with this run file.")
    return traffic


def candidate(plan: Plan, force: bool) -> "Release":
    """The run's release, made where it is missing, and held against the live one.

    Raises:
        InputError: if it is live already, or ``compare`` or ``check_links`` refuses it.
    """
    live = traffic_there(plan)
    bring_served(plan)
    release = release_of(plan)
    before = live.releases[live.live]
    if release.id == before.id:
        raise InputError(
            f"{plan.run.name}: this configuration is live already, as {release.id}",
            "Change the corpus or the run file; `catena deploy stop` ends canary and shadow.",
        )
    if release.links is not None and release.links != before.links:
        check_links(release.links)
    if release.links is None and before.links is not None:
        logger.warning(
            "%s has no link model, the live %s has: /v1/links:score will answer 404 until `catena discover` and "
            "`catena deploy promote` with this run file",
            release.id,
            before.id,
        )
    known = [one for one in live.releases.values() if (one.index, one.encoder) == (release.index, release.encoder)]
    found = known[0].found if known else found_by_own_words(plan, release)  # the same index finds the same
    release = release.model_copy(update={"found": found})
    compare(before, release, force)
    return release


def compare(before: "Release", release: "Release", force: bool) -> None:
    """Refuse a release that should not, or cannot, take the place of another.

    Raises:
        InputError: if its engine is another one, it takes documents and the other does not or the other way round, or,
            unless ``force``, it is much smaller or finds much less.
    """
    from retrieval.open import read_meta

    engines = [read_meta(each.index).config.engine for each in (before, release)]
    if engines[0] != engines[1]:
        raise InputError(
            f"the live index is of engine {engines[0]}, this one of {engines[1]}",
            "Start the service again for another engine.",
        )
    if (before.live is None) != (release.live is None):
        raise InputError(
            "serve.live_documents is 0 in one of the live run and this one, and not in the other",
            "Start the service again to change whether it takes documents.",
        )
    if force:
        return
    for name, was, now in (
        ("passages in its index", before.passages, release.passages),
        ("of sampled passages found by their own words", before.found, release.found),
    ):
        if was is not None and now is not None and now < LEAST * was:
            raise InputError(
                f"{release.id} has {now:g} {name}, the live {before.id} has {was:g}", "--force deploys it all the same."
            )


def found_by_own_words(plan: Plan, release: "Release") -> float:
    """Share of sampled passages whose document is among the first ten for some words of theirs."""
    from retrieval.search import open_retriever

    columns = ["document_id", "text"]
    passages = read_table(plan.bring("chunk").path / "passages", columns).select(columns)
    chosen = random.Random(0).sample(range(len(passages)), min(SAMPLE, len(passages)))
    sample = [row for row in passages.take(chosen).to_pylist() if row["text"].strip()]
    if not sample:
        return 1.0
    retriever = open_retriever(release.index, release.encoder)
    try:
        answers = retriever.search([" ".join(row["text"].split()[:WORDS]) for row in sample])
    finally:
        retriever.index.close()
    hits = sum(
        row["document_id"] in {hit.document_id for hit in hits} for row, hits in zip(sample, answers, strict=True)
    )
    return round(hits / len(sample), 3)
