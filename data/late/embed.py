"""Passages to the vectors of their tokens, on Ray Data; resumed by its files, as ``data.embed`` is."""

import json
import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data.chunking import passage_text
from data.embed import spread
from data.encoders import EncoderConfig, check_model, load_encoder
from data.encoders.tokens import TokenEncoder
from data.errors import InputError
from data.late import LateConfig
from data.late.multivectors import multivector_table, write_multivectors
from data.late.projection import PROJECTION, Projection, fit_projection
from data.retrieval import in_precision
from data.schema import count_rows, partitions

logger = logging.getLogger("catena")

WINDOW = 512  # passages sorted by length and held at once: their token vectors are 50 MB at 96 dimensions


class LatePartition:
    """One actor of the pool: loads encoder and projection once, then makes partitions of multivectors.

    Args:
        encoder: which encoder, in the precision of the run's vectors.
        config: tokens kept and batches.
        cores: batches at once on a CPU.
        out: the artifact's folder, which holds the projection.
    """

    def __init__(self, encoder: EncoderConfig, config: LateConfig, cores: int, out: Path) -> None:
        self._projection = Projection.load(out / PROJECTION)
        loaded = load_encoder(encoder, config.batch_tokens, cores)
        self._tokens = TokenEncoder(loaded, config.max_tokens, self._projection)
        self._folder = out / "multivectors"

    def __call__(self, batch: Mapping[str, Sequence[str]]) -> dict[str, list[int]]:
        """Make the partitions at some paths; returns the passages of each."""
        return {"passages": [self.embed(Path(path)) for path in batch["path"]]}

    def embed(self, passages: Path) -> int:
        """Make one partition, unless it is there already, and return its number of passages."""
        rows = pq.read_table(passages, columns=["id", "document_id", "title", "text"])
        path = self._folder / passages.name
        if not path.exists():
            write_multivectors((self._made(rows.slice(n, WINDOW)) for n in range(0, rows.num_rows, WINDOW)), path)
        return int(rows.num_rows)

    def _made(self, rows: pa.Table) -> pa.Table:
        texts = list(map(passage_text, rows["title"].to_pylist(), rows["text"].to_pylist()))
        return multivector_table(rows["id"], rows["document_id"], self._tokens.encode(texts), self._projection)


def embed_tokens(
    passages: Path, embedded: Path, encoder: EncoderConfig, config: LateConfig, out: Path
) -> dict[str, Any]:
    """Make the multivectors of every passage; partitions that are done are kept. Ray is connected by the caller.

    Args:
        passages: the passages table.
        embedded: the embedding stage's folder: its manifest says in which precision the encoder computed.
        encoder: which encoder.
        config: projection, storage and spread.
        out: the artifact's folder: gets ``projection.safetensors``, ``multivectors/``, partitioned like the passages,
            and ``manifest.json``, last.

    Returns:
        ``passages``, ``kept_passages``, ``tokens``, ``dim``, ``storage``, ``bytes_per_passage`` (compressed, as they
        lie), ``passages_per_s`` of this run's own, loading included.

    Raises:
        InputError: if there is no such encoder, it gives no token vectors or fewer dimensions than asked for, or it is
            not the one that made the run's vectors.
    """
    check_model(encoder)
    built = json.loads((embedded / "manifest.json").read_text())
    encoder = in_precision(encoder, built["precision"])
    folder = out / "multivectors"
    folder.mkdir(parents=True, exist_ok=True)
    for cut_short in folder.glob(".*.unfinished"):
        cut_short.unlink()
    todo = [path for path in partitions(passages) if not (folder / path.name).exists()]
    kept = count_rows(folder)
    started = time.perf_counter()
    made = _run(todo, encoder, built["fingerprint"], config, out)
    seconds = time.perf_counter() - started
    files = partitions(folder)
    tokens = sum(_tokens(path) for path in files)
    rows = count_rows(folder)
    manifest = {
        "fingerprint": built["fingerprint"],
        "precision": built["precision"],
        "dim": config.dim,
        "storage": config.storage,
        "partitions": [{"name": path.name, "rows": pq.read_metadata(path).num_rows} for path in files],
    }
    (out / "manifest.json").write_text(json.dumps(manifest, indent=2))
    return {
        "passages": rows,
        "kept_passages": kept,
        "tokens": tokens,
        "dim": config.dim,
        "storage": config.storage,
        "bytes_per_passage": round(sum(path.stat().st_size for path in files) / max(rows, 1)),
        "passages_per_s": round(made / seconds, 1) if made else 0.0,
    }


def _run(todo: Sequence[Path], encoder: EncoderConfig, fingerprint: str, config: LateConfig, out: Path) -> int:
    """Fit the projection where it is missing, then make partitions on Ray Data; returns how many passages."""
    if not todo:
        return 0
    import ray

    actors, cores, gpus = spread(encoder, config.actors, None, len(todo))
    if not (out / PROJECTION).exists():
        fit = ray.remote(fit_on_sample).options(num_cpus=cores, num_gpus=gpus)
        ray.get(fit.remote(todo[0].parent, encoder, fingerprint, config, cores, out))
    dataset = ray.data.from_items([{"path": str(path)} for path in todo], override_num_blocks=len(todo)).map_batches(
        LatePartition,
        fn_constructor_args=(encoder, config, cores, out),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=actors),
        num_cpus=cores,
        num_gpus=gpus,
    )
    made = 0
    for row in dataset.iter_rows():
        made += int(row["passages"])
        logger.info("late: %d passages", made)
    return made


def fit_on_sample(
    passages: Path, encoder: EncoderConfig, fingerprint: str, config: LateConfig, cores: int, out: Path
) -> None:
    """Fit projection and steps on a sample of the passages and write them.

    Raises:
        InputError: if the encoder is another one than that of the vectors, gives no token vectors, or is narrower than
            the projection.
    """
    loaded = load_encoder(encoder, config.batch_tokens, cores)
    if loaded.fingerprint != fingerprint:
        raise InputError(
            f"late: the run's vectors were made by the encoder {fingerprint}, this is {loaded.fingerprint}",
            "The model's files were changed or the machine is another: delete the embed artifact and run again.",
        )
    sample = TokenEncoder(loaded, config.max_tokens).encode(_sample(passages, config.sample_passages))
    width = sample.vectors.shape[1]
    if config.dim > width:
        raise InputError(
            f"late.dim: {config.dim} is more than the token vectors of {encoder.model} have ({width})",
            f"Give at most {width}.",
        )
    fit_projection(sample.vectors, config).save(out / PROJECTION)


def _sample(passages: Path, count: int) -> list[str]:
    """Texts of ``count`` passages, evenly spread over the table; of all where there are fewer."""
    total = count_rows(passages)
    chosen = np.unique(np.linspace(0, total - 1, min(count, total)).astype(np.int64))
    texts: list[str] = []
    first = 0
    for path in partitions(passages):
        rows = pq.read_metadata(path).num_rows
        here = chosen[(chosen >= first) & (chosen < first + rows)] - first
        if len(here):
            table = pq.read_table(path, columns=["title", "text"]).take(here)
            texts += map(passage_text, table["title"].to_pylist(), table["text"].to_pylist())
        first += rows
    return texts


def _tokens(path: Path) -> int:
    """Token vectors of a partition, counted without reading them: one value a dimension stands in its footer."""
    metadata = pq.read_metadata(path)
    dim = pq.read_schema(path).field("tokens").type.value_type.list_size
    values = sum(metadata.row_group(group).column(2).num_values for group in range(metadata.num_row_groups))
    return int(values // dim)
