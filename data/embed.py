"""Passages to vectors on Ray Data: a pool of actors, each with an encoder, takes partitions until all are done.

The ledger of the work is the folder itself: a partition of vectors bears the name of its partition of passages and
appears under it whole or not at all. A job that was killed finds what is done by name and goes on with the rest.
"""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field

from data.artifacts import StageConfig
from data.chunking import passage_text
from data.encoders import BATCH_TOKENS, EncoderConfig, check_model, load_encoder
from data.schema import partitions
from data.vectors import Partition, count_documents, describe, write_manifest, write_vectors

logger = logging.getLogger("catena")

CORES_PER_ACTOR = 8  # beyond that, Python between the matrix products holds the cores up


class EmbedConfig(StageConfig):
    """How the embedding is spread over cores and machines; none of it changes what comes out."""

    execution: ClassVar[frozenset[str]] = frozenset({"batch_tokens", "actors", "cores_per_actor", "queued"})

    batch_tokens: int = Field(
        BATCH_TOKENS, ge=1, description="largest padded area of a batch, in tokens; GPUs want more (65536)"
    )
    actors: int | None = Field(
        None, ge=1, description="processes that hold an encoder; one for each GPU, or as many as the cores allow"
    )
    cores_per_actor: int | None = Field(
        None, ge=1, description=f"cores of an actor without a GPU; those of a machine, at most {CORES_PER_ACTOR}"
    )
    queued: int = Field(3, ge=2, description="partitions handed to an actor at once, so that it never waits for one")


class Embedded(BaseModel):
    """A partition that an actor made: what stands in it, and what it took."""

    model_config = ConfigDict(frozen=True)

    partition: Partition
    padding_share: float
    ready_at: float  # when the actor's encoder was loaded; seconds since the epoch, as the next two
    started_at: float
    finished_at: float


class EmbedPartition:
    """One actor of the pool: loads the encoder once, then embeds partitions.

    Args:
        encoder: which encoder.
        batch_tokens: largest padded area of a batch.
        cores: batches at once on a CPU.
        vectors: folder the partitions are written to.
    """

    def __init__(self, encoder: EncoderConfig, batch_tokens: int, cores: int, vectors: Path) -> None:
        logging.getLogger("catena").setLevel(logging.INFO)  # Ray keeps the actor's log in its session folder
        self._encoder = load_encoder(encoder, batch_tokens, cores)
        self._vectors = vectors
        self._ready_at = time.time()

    def __call__(self, batch: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
        """Embed the partitions at some paths; returns one JSON document for each."""
        return {"embedded": [self.embed(Path(path)).model_dump_json() for path in batch["path"]]}

    def embed(self, passages: Path) -> Embedded:
        """Embed one partition of passages and write its vectors, unless they are there already.

        They are where an actor died after it wrote and before its answer arrived.
        """
        started_at = time.time()
        path = self._vectors / passages.name
        padding_share = 0.0
        if not path.exists():
            rows = pq.read_table(passages, columns=["id", "document_id", "title", "text"])
            texts = map(passage_text, rows["title"].to_pylist(), rows["text"].to_pylist())
            encoded = self._encoder.encode_counted(list(texts))
            padding_share = encoded.padding_share
            write_vectors(rows["id"], rows["document_id"], encoded, self._encoder, path)
        return Embedded(
            partition=describe(path),
            padding_share=padding_share,
            ready_at=self._ready_at,
            started_at=started_at,
            finished_at=time.time(),
        )


def embed(passages: Path, encoder: EncoderConfig, config: EmbedConfig, out: Path) -> dict[str, Any]:
    """Embed every passage; partitions that are done are kept. Ray is connected by the caller.

    Args:
        passages: the passages table.
        encoder: which encoder.
        config: how the work is spread.
        out: the artifact's folder: gets ``vectors/``, partitioned like the passages (``id``, ``document_id``,
            ``vector`` as a list of ``dim`` float32 of unit length, ``tokens``), and ``manifest.json``, last.

    Returns:
        ``documents``, ``passages``, ``tokens``, ``kept_passages`` (done by an earlier run), ``documents_per_s``,
        ``passages_per_s`` and ``tokens_per_s`` (of this run's own, from the first partition begun to the last one
        written), ``padding_share``, ``startup_seconds`` (until the first encoder was loaded), ``precision``,
        ``cosine_to_fp32``, ``fingerprint`` and ``dim``.

    Raises:
        InputError: if there is no such encoder, or the folder holds vectors of another one.
    """
    check_model(encoder)
    begun_at = time.time()
    vectors = out / "vectors"
    vectors.mkdir(parents=True, exist_ok=True)
    for cut_short in vectors.glob(".*.unfinished"):
        cut_short.unlink()
    todo = [path for path in partitions(passages) if not (vectors / path.name).exists()]
    kept = [describe(path) for path in partitions(vectors)]
    made: list[Embedded] = []
    for done in _with_bar(_run(todo, encoder, config, vectors), passages, kept):
        if not made and not kept:
            logger.info(
                "embed: %s, smallest cosine to fp32 %.5f", done.partition.precision, done.partition.cosine_to_fp32
            )
        made.append(done)
    whole = sorted([*kept, *(done.partition for done in made)], key=lambda partition: partition.name)
    write_manifest(whole, out)
    return _result(whole, kept, made, begun_at)


def _run(todo: Sequence[Path], encoder: EncoderConfig, config: EmbedConfig, vectors: Path) -> Iterator[Embedded]:
    """Embed partitions on Ray Data, in whatever order they are done."""
    if not todo:
        return
    import ray

    actors, cores, gpus = spread(encoder, config.actors, config.cores_per_actor, len(todo))
    # Ray Data starts an actor that dies again, and hands out again what it had in hand; an exception ends the job.
    dataset = ray.data.from_items([{"path": str(path)} for path in todo], override_num_blocks=len(todo)).map_batches(
        EmbedPartition,
        fn_constructor_args=(encoder, config.batch_tokens, cores, vectors),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=actors, max_tasks_in_flight_per_actor=config.queued),
        num_cpus=cores,
        num_gpus=gpus,
    )
    for row in dataset.iter_rows():
        yield Embedded.model_validate_json(row["embedded"])


def spread(
    encoder: EncoderConfig, actors: int | None, cores_per_actor: int | None, partitions: int
) -> tuple[int, int, int]:
    """Actors, and cores and GPUs of each; as many as fit the cluster and have a partition to do."""
    import ray

    cluster = ray.cluster_resources()
    gpus = 1 if cluster.get("GPU", 0) >= 1 and not encoder.device.startswith("cpu") else 0
    machine = max(int(node["Resources"].get("CPU", 1)) for node in ray.nodes() if node["Alive"])
    cores = 1 if gpus else min(cores_per_actor or CORES_PER_ACTOR, machine)
    possible = int(cluster["GPU"]) if gpus else max(1, int(cluster.get("CPU", 0)) // cores)
    return min(actors or possible, partitions), cores, gpus


def _with_bar(done: Iterator[Embedded], passages: Path, kept: Sequence[Partition]) -> Iterator[Embedded]:
    """Pass partitions on with a bar on standard error; none where nobody watches."""
    from tqdm import tqdm

    total = sum(pq.read_metadata(path).num_rows for path in partitions(passages))
    before = sum(partition.rows for partition in kept)
    if 0 < before < total:
        logger.info("embed: %d of %d passages are done, going on with the rest", before, total)
    tokens, started_at = 0, time.time()
    with tqdm(total=total, initial=before, desc="embed", unit=" passages", disable=None) as bar:
        for embedded in done:
            tokens += embedded.partition.tokens
            started_at = min(started_at, embedded.started_at) if bar.n > before else embedded.started_at
            bar.set_postfix_str(f"{tokens / (time.time() - started_at):,.0f} tokens/s", refresh=False)
            bar.update(embedded.partition.rows)
            yield embedded


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
