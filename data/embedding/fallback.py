"""Embedding with a chain of encoders: when one of them fails, the next is used or the job pauses."""

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data.cache import CacheConfig
from data.embedding.config import EmbedConfig
from data.embedding.embed import NO_CACHE, embed
from data.encoders.chain import (
    all_unavailable,
    computing_as,
    record_alternative,
    recorded_alternative,
    same_encoder_elsewhere,
)
from data.encoders.config import ChainConfig, EncoderConfig, SingleEncoder, alternatives
from data.errors import EncoderUnavailable, InputError
from data.failures import unavailable
from data.partitions import count_rows, partitions
from data.spread import Runner, on_ray
from data.vectors.table import Partition, describe

logger = logging.getLogger("catena")


def embed_chain(
    passages: Path,
    encoder: EncoderConfig,
    config: EmbedConfig,
    out: Path,
    cache: CacheConfig = NO_CACHE,
    runner: Runner = on_ray,
) -> dict[str, Any]:
    """Embed with the first encoder of the chain that is available, and only with that one.

    If it fails before it has finished a partition, the next one is used. After that only the same encoder elsewhere
    may continue (another device or server, equal fingerprint). Where there is none, ``encoder.on_fallback`` decides:
    ``pause`` stops here and keeps what is done, ``restart`` discards it and embeds everything with the next encoder.

    Args:
        passages: the passages table.
        encoder: the chain.
        config: how the work is spread.
        out: the artifact's folder; an embedding that was begun there goes on.
        cache: whether vectors may come from elsewhere than the encoder; kept apart by its fingerprint.
        runner: spreads the work.

    Returns:
        What ``embed`` measured, the ``encoder`` that made the vectors, its ``link`` in the chain, and ``fallbacks``:
        why each encoder before it failed.

    Raises:
        InputError: if the choice is to pause, or an encoder is configured wrongly.
        EncoderUnavailable: if no encoder of the chain is available.
    """
    chain = alternatives(encoder)
    failed: list[int] = []
    reasons: list[InputError] = []
    _discard(out)
    link = _begun(out, chain)
    while True:
        began = _first(out)
        try:
            record_alternative(out, link, chain[link].label)
            expected = _expecting(chain[link], began)
            made = embed(passages, expected, _spread(config, chain, link), out, cache, runner)
            failures = "; ".join(error.problem for error in reasons)
            return {**made, "encoder": chain[link].label, "link": link, "fallbacks": failures}
        except Exception as error:
            reason = unavailable(error)
            if reason is None:
                raise
            failed.append(link)
            reasons.append(reason)
        began = _first(out)
        left = [number for number in range(len(chain)) if number not in failed]
        same = None if began is None else same_encoder_elsewhere(chain, failed, began.precision)
        if same is not None:
            logger.warning("encoder: %s; going on with %s, the same encoder", reason.problem, chain[same].label)
            link = same
            continue
        if began is not None and (not isinstance(encoder, ChainConfig) or encoder.on_fallback == "pause"):
            raise _paused(passages, out, chain[link], reason, [chain[number].label for number in left])
        if not left:
            raise all_unavailable(reasons)
        link = left[0]
        if began is not None:
            logger.warning("encoder: %s; embedding everything again with %s", reason.problem, chain[link].label)
            _discard(out, began)
        else:
            logger.warning("encoder: %s; using %s", reason.problem, chain[link].label)


def _begun(out: Path, chain: Sequence[SingleEncoder]) -> int:
    """The alternative to start with: the one that finished partitions, if any; the first otherwise."""
    link = recorded_alternative(out) if _first(out) is not None else 0
    return link if link < len(chain) else 0


def _first(out: Path) -> Partition | None:
    """Contents of the first finished partition of vectors; None where there is none."""
    done = partitions(out / "vectors")
    return describe(done[0]) if done else None


def _spread(config: EmbedConfig, chain: Sequence[SingleEncoder], link: int) -> EmbedConfig:
    """How the work of one alternative is spread: without a share of a GPU where it computes on the CPU."""
    if len(chain) > 1 and config.gpus_per_actor and chain[link].computes_on == "cpu":
        return config.model_copy(update={"gpus_per_actor": 0})
    return config


def _expecting(link: SingleEncoder, began: Partition | None) -> SingleEncoder:
    """The encoder with the fingerprint of the existing vectors, so that another one is refused at once."""
    if began is None:
        return link
    return computing_as(link, began.precision).model_copy(update={"fingerprint": began.fingerprint})


def _discard(out: Path, began: Partition | None = None) -> None:
    """Remove an encoder's partial vectors; renamed first, so that a kill leaves all of them or none."""
    if began is not None:
        (out / "vectors").rename(out / f"vectors-discarded-{began.fingerprint}")
    for discarded in out.glob("vectors-discarded-*"):
        shutil.rmtree(discarded)


def _paused(passages: Path, out: Path, link: SingleEncoder, reason: InputError, left: list[str]) -> EncoderUnavailable:
    done = count_rows(out / "vectors")
    remedy = f"What is done is kept ({out}): the same command continues when the encoder is available again."
    if left:
        remedy += f" To discard it and embed everything with {left[0]}: --encoder.on-fallback restart."
    return EncoderUnavailable(
        f"embed: paused after {done:,} of {count_rows(passages):,} passages; {link.label} failed: {reason.problem}",
        remedy,
    )
