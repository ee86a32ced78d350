"""Passages to vectors: a pool of workers, each with an encoder, takes partitions until all are done.

The folder itself records the progress: a partition of vectors has the name of its partition of passages and is
complete or absent. A job that was killed finds finished partitions by name and continues with the rest.
"""

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data.cache import CacheConfig, sum_counts
from data.cache.job import document_cache, report
from data.cache.stored import write_index
from data.embedding.actor import Embedded
from data.embedding.config import EmbedConfig
from data.embedding.pool import embed_partitions
from data.embedding.progress import tracked_partitions
from data.encoders import check_model
from data.encoders.config import SingleEncoder
from data.encoders.transformer.token_fit import token_fit
from data.partitions import count_rows, left_to_do, partitions
from data.passages.sampling import sampled_texts
from data.spread import Runner, on_ray
from data.vectors.table import Partition, count_documents, describe, write_manifest

logger = logging.getLogger("catena")

NO_CACHE = CacheConfig(memory_mb=0)


def embed(
    passages: Path,
    encoder: SingleEncoder,
    config: EmbedConfig,
    out: Path,
    cache: CacheConfig = NO_CACHE,
    runner: Runner = on_ray,
) -> dict[str, Any]:
    """Embed every passage; partitions that are done are kept.

    Args:
        passages: the passages table.
        encoder: which encoder.
        config: how the work is spread.
        out: the artifact's folder: gets ``vectors/``, partitioned like the passages (``id``, ``document_id``,
            ``vector`` as a list of ``dim`` floats of unit length, ``tokens``, ``dropped``, ``text_hash``), an index of
            the hashes, and ``manifest.json``, last.
        cache: whether vectors may come from elsewhere than the encoder.
        runner: spreads the work.

    Returns:
        ``documents``, ``passages``, ``tokens``, ``truncated`` (passages longer than the encoder reads),
        ``dropped_tokens`` (cut off them), ``oom_retries`` (batches of this run that did not fit in memory),
        ``kept_passages`` (done by an earlier run), ``documents_per_s``, ``passages_per_s`` and ``tokens_per_s`` (of
        this run's own, from the first partition begun to the last one written), ``padding_share``,
        ``startup_seconds`` (until the first encoder was loaded), ``precision``,
        ``cosine_to_fp32``, ``fingerprint`` and ``dim``; ``scripts``: how the model's tokenizer reads each script of a
        sample (``data.encoders.transformer.token_fit``); with a cache also ``cache``: what each tier did,
        ``copied_passages``, which no encoder computed.

    Raises:
        InputError: if there is no such encoder, Redis refuses the password, the folder holds vectors of another one,
            or the disk is full.
    """
    check_model(encoder)
    scripts = token_fit(encoder, sampled_texts(passages))
    begun_at = time.time()
    vectors = out / "vectors"
    todo = left_to_do(passages, vectors)
    kept = [describe(path) for path in partitions(vectors)]
    made: list[Embedded] = []
    total, before = count_rows(passages), sum(partition.rows for partition in kept)
    if 0 < before < total:
        logger.info("embed: %d of %d passages are done, going on with the rest", before, total)
    with document_cache(cache, out) as shared:
        embedded = embed_partitions(todo, encoder, config, vectors, shared, runner)
        for done in tracked_partitions(embedded, total, before):
            if not made and not kept:
                logger.info("embed: %s", _computed_in(done.partition))
            made.append(done)
        whole = sorted([*kept, *(done.partition for done in made)], key=lambda partition: partition.name)
        write_index(out)
        write_manifest(whole, out)
    counts = sum_counts(done.cache for done in made)
    fits = {model: {name: fit.model_dump() for name, fit in found.items()} for model, found in scripts.items()}
    return {**_result(whole, kept, made, begun_at), "scripts": fits, **report(counts)}


def _computed_in(partition: Partition) -> str:
    """The precision, with its cosine to fp32 where a check has measured one."""
    checked = {"bf16", "fp16", "int8"} & set(partition.precision.split("+"))
    cosine = f", smallest cosine to fp32 {partition.cosine_to_fp32:.5f}" if checked else ""
    return f"{partition.precision}{cosine}"


def _result(
    whole: Sequence[Partition], kept: Sequence[Partition], made: Sequence[Embedded], begun_at: float
) -> dict[str, Any]:
    passages = sum(done.partition.rows for done in made)
    tokens = sum(done.partition.tokens for done in made)
    seconds = max(d.finished_at for d in made) - min(d.started_at for d in made) if made else 0.0
    padding = sum(done.padding_share * done.partition.tokens for done in made) / tokens if tokens else 0.0
    return {
        "documents": count_documents(whole),
        "passages": sum(partition.rows for partition in whole),
        "tokens": sum(partition.tokens for partition in whole),
        "truncated": sum(partition.truncated for partition in whole),
        "dropped_tokens": sum(partition.dropped_tokens for partition in whole),
        "oom_retries": sum(done.oom_retries for done in made),
        "kept_passages": sum(partition.rows for partition in kept),
        "documents_per_s": _rate(count_documents([done.partition for done in made]), seconds),
        "passages_per_s": _rate(passages, seconds),
        "tokens_per_s": _rate(tokens, seconds),
        "padding_share": round(padding, 4),
        "startup_seconds": round(min(d.ready_at for d in made) - begun_at, 2) if made else 0.0,
        "precision": whole[0].precision,
        "cosine_to_fp32": whole[0].cosine_to_fp32,
        "fingerprint": whole[0].fingerprint,
        "dim": whole[0].dim,
    }


def _rate(count: int, seconds: float) -> float:
    return round(count / seconds, 1) if seconds > 0 else 0.0
