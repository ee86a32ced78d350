"""The pool of workers that embeds partitions: how many there are, and the cores and GPUs that each takes."""

import math
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from data.cache.encoder import DocumentCache
from data.embedding.actor import Embedded, EmbedPartition
from data.embedding.config import CORES_PER_ACTOR, EmbedConfig
from data.encoders.config import SingleEncoder
from data.errors import EncoderUnavailable, InputError
from data.spread import Pool, Resources, Runner


def plan_pool(encoder: SingleEncoder, config: EmbedConfig, partitions: int, resources: Resources) -> Pool:
    """The pool that a job gets.

    Args:
        encoder: which encoder; its device says whether a GPU may or must be used.
        config: what the run file asks for.
        partitions: how many are to be embedded, at least 1: there are never more workers than that.
        resources: what the cluster has now.

    Raises:
        InputError: if the run asks for GPUs and for the CPU at once.
    """
    gpus = _gpu_share(encoder, config, resources)
    if gpus:
        cores = 1
        possible = math.floor(resources.gpus / gpus + 1e-6)
    else:
        asked = config.cores_per_actor or CORES_PER_ACTOR
        machine_cores = resources.machine_cores
        cores = min(asked, machine_cores) if machine_cores else config.cores_per_actor or 1
        possible = int(resources.cores) // cores
    most = min(config.actors or max(possible, config.min_actors or 1), partitions)
    return Pool(min(config.min_actors or most, most), most, cores, gpus)


def _gpu_share(encoder: SingleEncoder, config: EmbedConfig, resources: Resources) -> float:
    """The share of a GPU that each worker takes; 0 where they compute on cores."""
    if config.gpus_per_actor is None:
        wanted = encoder.computes_on.startswith("cuda") or (encoder.computes_on == "auto" and resources.gpus >= 1)
        return 1.0 if wanted else 0.0
    if bool(config.gpus_per_actor) != encoder.computes_on.startswith("cuda") and encoder.computes_on != "auto":
        raise InputError(
            f"embed.gpus_per_actor is {config.gpus_per_actor:g} while encoder.device is {encoder.computes_on}",
            "Leave encoder.device at auto, or gpus_per_actor unset.",
        )
    return config.gpus_per_actor


def reserve(encoder: SingleEncoder, config: EmbedConfig, partitions: int, runner: Runner) -> tuple[Pool, SingleEncoder]:
    """Plan a pool on the machines as they are now, and wait for a first machine where no worker fits on any.

    Returns:
        The pool, and the encoder on the device that its workers load it on.

    Raises:
        InputError: if no machine that a worker fits on comes in time; EncoderUnavailable where it lacks GPUs.
    """
    pool = plan_pool(encoder, config, partitions, runner.resources())
    if not runner.has_room(pool, config.start_timeout_s):
        kind = EncoderUnavailable if pool.gpus else InputError  # another encoder may need no GPU
        needs = f"{pool.cores} CPU, {pool.gpus:g} GPU" if pool.gpus else f"{pool.cores} CPU"
        raise kind(
            f"no machine with {needs} came within {config.start_timeout_s} s",
            "Let the cluster grow (max_workers), wait longer (embed.start_timeout_s), or set embed.gpus_per_actor: 0.",
        )
    if config.gpus_per_actor == 0:  # Ray does not hide GPUs from an actor that asked for none
        encoder = encoder.on_cpu()
    return pool, encoder


def embed_partitions(
    todo: Sequence[Path],
    encoder: SingleEncoder,
    config: EmbedConfig,
    vectors: Path,
    cache: DocumentCache | None,
    runner: Runner,
) -> Iterator[Embedded]:
    """Embed partitions, in whatever order they are done.

    Args:
        todo: partitions of passages.
        encoder: which encoder.
        config: how the work is spread.
        vectors: folder that the partitions of vectors are written to.
        cache: where vectors may be found without the encoder; None for nowhere.
        runner: spreads the work.

    Raises:
        InputError: if no machine that a worker fits on comes in time; EncoderUnavailable where it lacks GPUs.
    """
    if not todo:
        return
    pool, encoder = reserve(encoder, config, len(todo), runner)
    make = partial(EmbedPartition, encoder, config.batch_tokens, pool.cores, vectors, cache, config.storage)
    yield from runner.run(todo, make, EmbedPartition.__name__, pool, config.queued)
