"""Passages to the vectors of their tokens; resumed by its files, as ``data.embedding.embed`` is."""

import json
import logging
import time
from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data.embedding.config import TOKEN_PROJECTION, EmbedConfig, LateConfig
from data.embedding.pool import reserve
from data.encoders import load_encoder
from data.encoders.chain import encoder_of_vectors
from data.encoders.config import EncoderConfig, SingleEncoder
from data.encoders.transformer.token_vectors import TokenEncoder, refuse_without_tokens
from data.errors import InputError
from data.partitions import count_rows, left_to_do, partitions
from data.passages.sampling import sample_passages
from data.passages.text import passage_texts
from data.spread import Pool, Runner, on_ray
from data.vectors.multivectors import multivector_table, write_multivectors
from data.vectors.projection import Projection, fit_pca, random_projection
from data.vectors.quantise import check_dim

logger = logging.getLogger("catena")

WINDOW = 512  # passages sorted by length and held at once: their token vectors are 50 MB at 96 dimensions


class LatePartition:
    """One worker of the pool: loads encoder and projection with its first partition, then makes multivectors.

    Args:
        encoder: which encoder, of the fingerprint that made the run's vectors.
        config: tokens kept and storage.
        batch_tokens: largest padded area of a batch.
        cores: batches at once on a CPU.
        out: the artifact's folder, which holds the projection.
    """

    def __init__(self, encoder: EncoderConfig, config: LateConfig, batch_tokens: int, cores: int, out: Path) -> None:
        self._encoder, self._config, self._out = encoder, config, out
        self._batch_tokens, self._cores = batch_tokens, cores
        self._retries = 0

    @cached_property
    def _tokens(self) -> TokenEncoder:
        loaded = load_encoder(self._encoder, self._batch_tokens, self._cores)
        return TokenEncoder(loaded, self._config.max_tokens, Projection.load(self._out / TOKEN_PROJECTION))

    def __call__(self, passages: Path) -> tuple[int, int]:
        """Make one partition, unless it exists; returns its number of passages, and how often memory ran out."""
        self._retries = 0
        rows = pq.read_table(passages, columns=["id", "document_id", "title", "text"])
        path = self._out / "multivectors" / passages.name
        if not path.exists():
            windows = range(0, max(rows.num_rows, 1), WINDOW)
            write_multivectors((self._made(rows.slice(start, WINDOW)) for start in windows), path)
        return int(rows.num_rows), self._retries

    def _made(self, rows: pa.Table) -> pa.Table:
        made = self._tokens.encode(passage_texts(rows["title"], rows["text"]).to_pylist())
        self._retries += made.oom_retries
        return multivector_table(rows["id"], rows["document_id"], made, self._config.storage)


def embed_tokens(
    passages: Path,
    embedded: Path,
    encoder: EncoderConfig,
    config: LateConfig,
    spread: EmbedConfig,
    out: Path,
    runner: Runner = on_ray,
) -> dict[str, Any]:
    """Make the multivectors of every passage; partitions that are done are kept.

    Args:
        passages: the passages table.
        embedded: the embedding stage's folder: it says which encoder of the chain made the vectors, and how.
        encoder: the run's encoder or chain.
        config: dimensions and storage.
        spread: how the work is spread, as the embedding's.
        out: the artifact's folder: gets ``token_projection.safetensors``, ``multivectors/``, partitioned like the
            passages, and ``manifest.json``, last.
        runner: spreads the work.

    Returns:
        ``passages``, ``kept_passages``, ``tokens``, ``oom_retries`` (batches of this run that did not fit in
        memory), ``dim``, ``storage``, ``bytes_per_passage`` (compressed, as they lie), ``passages_per_s`` of this
        run's own, loading included.

    Raises:
        InputError: if the encoder gives no token vectors or fewer dimensions than asked for, it is not the one that
            made the run's vectors, or the storage cannot hold such dimensions.
    """
    made_by = encoder_of_vectors(embedded, encoder)
    refuse_without_tokens(made_by)
    check_dim(config.dim, config.storage)
    folder = out / "multivectors"
    todo = left_to_do(passages, folder)
    kept = count_rows(folder)
    started = time.perf_counter()
    made, retries = _run(todo, made_by, config, spread, out, runner)
    seconds = time.perf_counter() - started
    files = partitions(folder)
    rows = count_rows(folder)
    manifest = {"fingerprint": made_by.fingerprint, "dim": config.dim, "storage": config.storage}
    (out / "manifest.json").write_text(json.dumps(manifest, indent=2))
    return {
        "passages": rows,
        "kept_passages": kept,
        "tokens": sum(pc.sum(pq.read_table(path, columns=["count"])["count"]).as_py() or 0 for path in files),
        "oom_retries": retries,
        "dim": config.dim,
        "storage": config.storage,
        "bytes_per_passage": round(sum(path.stat().st_size for path in files) / max(rows, 1)),
        "passages_per_s": round(made / seconds, 1) if made else 0.0,
    }


def _run(
    todo: Sequence[Path], encoder: SingleEncoder, config: LateConfig, spread: EmbedConfig, out: Path, runner: Runner
) -> tuple[int, int]:
    """Fit the projection where it is missing, then make partitions.

    Returns:
        passages, and how often memory ran out over them.
    """
    if not todo:
        return 0, 0
    pool, encoder = reserve(encoder, spread, len(todo), runner)
    arguments = (encoder, config, spread.batch_tokens, pool.cores, out)
    if not (out / TOKEN_PROJECTION).exists():
        fit = partial(fit_projection, todo[0].parent, *arguments)
        for _ in runner.run([out], lambda: lambda _: fit(), "FitProjection", Pool(1, 1, pool.cores, pool.gpus)):
            pass
    made = retries = 0
    for passages, ran_out in runner.run(
        todo, partial(LatePartition, *arguments), LatePartition.__name__, pool, spread.queued
    ):
        made += passages
        retries += ran_out
        logger.info("late: %d passages", made)
    return made, retries


def fit_projection(
    passages: Path, encoder: SingleEncoder, config: LateConfig, batch_tokens: int, cores: int, out: Path
) -> None:
    """Fit what token vectors lose dimensions by, on the tokens of a sample of the passages, and write it.

    Raises:
        InputError: if the encoder is another one than that of the vectors, gives no token vectors, or is narrower than
            the projection, or PCA has a sample of fewer tokens.
    """
    loaded = load_encoder(encoder, batch_tokens, cores)
    sample = sample_passages(passages, config.sample_passages, config.seed)
    vectors = TokenEncoder(loaded, config.max_tokens).encode(sample.texts).vectors
    tokens, width = vectors.shape
    if config.dim > width:
        raise InputError(
            f"late.dim: {config.dim} is more than the token vectors of {encoder.label} have ({width})",
            f"Give at most {width}.",
        )
    if config.method == "pca" and tokens < config.dim:
        raise InputError(
            f"late.dim: a PCA to {config.dim} dimensions needs at least as many tokens, the sample has {tokens}",
            "Raise late.sample_passages if there are more, keep fewer dimensions, or set late.method: random.",
        )
    if config.method == "pca":
        projection = fit_pca([vectors], loaded.fingerprint, config.dim, config.seed)
    else:
        projection = random_projection(loaded.fingerprint, width, config.dim, config.seed)
    projection.save(out / TOKEN_PROJECTION)
