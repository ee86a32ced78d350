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
    computing_as,
    record_alternative,
    recorded_alternative,
    same_encoder_elsewhere,
)
from data.encoders.config import ChainConfig, EncoderConfig, SingleEncoder, alternatives
from data.errors import EncoderUnavailable, InputError, all_unavailable
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
        out: the artifact's folder; an unfinished embedding there is continued.
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
    current = _where_to_start(out, chain)
    while True:
        existing = _first_partition(out)
        try:
            record_alternative(out, current, chain[current].label)
            expected = _bound_to(chain[current], existing)
            made = embed(passages, expected, _without_unused_gpu(config, chain, current), out, cache, runner)
            failures = "; ".join(error.problem for error in reasons)
            return {**made, "encoder": chain[current].label, "link": current, "fallbacks": failures}
        except Exception as error:
            reason = unavailable(error)
            if reason is None:
                raise
            failed.append(current)
            reasons.append(reason)
        existing = _first_partition(out)
        left = [number for number in range(len(chain)) if number not in failed]
        same = None if existing is None else same_encoder_elsewhere(chain, failed, existing.precision)
        if same is not None:
            logger.warning("encoder: %s; going on with %s, the same encoder", reason.problem, chain[same].label)
            current = same
            continue
        if existing is not None and (not isinstance(encoder, ChainConfig) or encoder.on_fallback == "pause"):
            raise _paused(passages, out, chain[current], reason, [chain[number].label for number in left])
        if not left:
            raise all_unavailable(reasons)
        current = left[0]
        if existing is not None:
            logger.warning("encoder: %s; embedding everything again with %s", reason.problem, chain[current].label)
            _discard(out, existing)
        else:
            logger.warning("encoder: %s; using %s", reason.problem, chain[current].label)


def _where_to_start(out: Path, chain: Sequence[SingleEncoder]) -> int:
    """The alternative to start with: the one that finished partitions, if any; the first otherwise."""
    current = recorded_alternative(out) if _first_partition(out) is not None else 0
    return current if current < len(chain) else 0


def _first_partition(out: Path) -> Partition | None:
    """Contents of the first finished partition of vectors; None where there is none."""
    done = partitions(out / "vectors")
    return describe(done[0]) if done else None


def _without_unused_gpu(config: EmbedConfig, chain: Sequence[SingleEncoder], current: int) -> EmbedConfig:
    """How the work of one alternative is spread: without a share of a GPU where it computes on the CPU."""
    if len(chain) > 1 and config.gpus_per_actor and chain[current].computes_on == "cpu":
        return config.model_copy(update={"gpus_per_actor": 0})
    return config


def _bound_to(encoder: SingleEncoder, existing: Partition | None) -> SingleEncoder:
    """The encoder with the fingerprint of the existing vectors, so that another one is refused at once."""
    if existing is None:
        return encoder
    return computing_as(encoder, existing.precision).model_copy(update={"fingerprint": existing.fingerprint})


def _discard(out: Path, existing: Partition | None = None) -> None:
    """Remove an encoder's partial vectors; renamed first, so that a kill leaves all of them or none."""
    if existing is not None:
        (out / "vectors").rename(out / f"vectors-discarded-{existing.fingerprint}")
    for discarded in out.glob("vectors-discarded-*"):
        shutil.rmtree(discarded)


def _paused(
    passages: Path, out: Path, failed: SingleEncoder, reason: InputError, left: list[str]
) -> EncoderUnavailable:
    done = count_rows(out / "vectors")
    remedy = f"What is done is kept ({out}): the same command continues when the encoder is available again."
    if left:
        remedy += f" To discard it and embed everything with {left[0]}: --encoder.on-fallback restart."
    return EncoderUnavailable(
        f"embed: paused after {done:,} of {count_rows(passages):,} passages; {failed.label} failed: {reason.problem}",
        remedy,
    )
