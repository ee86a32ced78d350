"""The pool of actors that embeds partitions on Ray Data: how many, on which cores and GPUs, and what if one dies."""

import gc
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from data.cache.encoder import DocumentCache
from data.embedding.actor import Embedded, EmbedPartition
from data.embedding.config import CORES_PER_ACTOR, EmbedConfig
from data.encoders.config import SingleEncoder
from data.errors import EncoderUnavailable, InputError

logger = logging.getLogger("catena")


class Pool(NamedTuple):
    """Fewest and most actors, and cores and GPUs of each."""

    least: int
    most: int
    cores: int
    gpus: float

    @property
    def needs(self) -> dict[str, float]:
        """What one actor takes, in Ray's names."""
        return {"CPU": self.cores, "GPU": self.gpus} if self.gpus else {"CPU": self.cores}


def plan_pool(
    encoder: SingleEncoder, config: EmbedConfig, partitions: int, cluster: Mapping[str, float], machine_cores: int
) -> Pool:
    """The pool that a job gets.

    Args:
        encoder: which encoder; its device says whether a GPU may or must be used.
        config: what the run file asks for.
        partitions: how many are to be embedded, at least 1: there are never more actors than that.
        cluster: the cluster's resources now, in Ray's names.
        machine_cores: cores of its largest machine; 0 where none is there yet.

    Raises:
        InputError: if the run asks for GPUs and for the CPU at once.
    """
    gpus = _gpu_share(encoder, config, cluster)
    if gpus:
        cores = 1
        possible = math.floor(cluster.get("GPU", 0) / gpus + 1e-6)
    else:
        asked = config.cores_per_actor or CORES_PER_ACTOR
        cores = min(asked, machine_cores) if machine_cores else config.cores_per_actor or 1
        possible = int(cluster.get("CPU", 0)) // cores
    most = min(config.actors or max(possible, config.min_actors or 1), partitions)
    return Pool(min(config.min_actors or most, most), most, cores, gpus)


def _gpu_share(encoder: SingleEncoder, config: EmbedConfig, cluster: Mapping[str, float]) -> float:
    """The share of a GPU that each actor takes; 0 where they compute on cores."""
    if config.gpus_per_actor is None:
        wanted = encoder.computes_on.startswith("cuda") or (
            encoder.computes_on == "auto" and cluster.get("GPU", 0) >= 1
        )
        return 1.0 if wanted else 0.0
    if bool(config.gpus_per_actor) != encoder.computes_on.startswith("cuda") and encoder.computes_on != "auto":
        raise InputError(
            f"embed.gpus_per_actor is {config.gpus_per_actor:g} while encoder.device is {encoder.computes_on}",
            "Leave encoder.device at auto, or gpus_per_actor unset.",
        )
    return config.gpus_per_actor


def run(
    todo: Sequence[Path],
    encoder: SingleEncoder,
    config: EmbedConfig,
    vectors: Path,
    cache: DocumentCache | None = None,
) -> Iterator[Embedded]:
    """Embed partitions on Ray Data, in whatever order they are done.

    An actor that dies, alone or with its machine, is started again wherever there is room, and what it had in hand is
    handed out again. An exception ends the job.

    Args:
        todo: partitions of passages.
        encoder: which encoder.
        config: how the work is spread.
        vectors: folder that the partitions of vectors are written to.
        cache: what may be known before.

    Raises:
        InputError: if no machine that an actor fits on comes in time; EncoderUnavailable where it lacks GPUs.
    """
    if not todo:
        return
    pool, encoder = reserve(encoder, config, len(todo))
    arguments = (encoder, config.batch_tokens, pool.cores, vectors, cache, config.storage)
    for row in over_partitions(todo, EmbedPartition, arguments, pool, config.queued):
        yield Embedded.model_validate_json(row["embedded"])


def reserve(encoder: SingleEncoder, config: EmbedConfig, partitions: int) -> tuple[Pool, SingleEncoder]:
    """Plan a pool on the cluster as it is now, and wait for a first machine where none of its actors fits.

    Returns:
        The pool, and the encoder on the device that its actors load it on.

    Raises:
        InputError: if no machine that an actor fits on comes in time; EncoderUnavailable where it lacks GPUs.
    """
    import ray

    cluster = ray.cluster_resources()
    machine_cores = max(int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"])
    pool = plan_pool(encoder, config, partitions, cluster, machine_cores)
    if any(cluster.get(resource, 0) < amount for resource, amount in pool.needs.items()):
        _wait_for_machine(pool, config.start_timeout_s)
    if config.gpus_per_actor == 0:  # Ray does not hide GPUs from an actor that asked for none
        encoder = encoder.on_cpu()
    return pool, encoder


def over_partitions(
    todo: Sequence[Path], actor: type, arguments: tuple[Any, ...], pool: Pool, queued: int
) -> Iterator[dict[str, Any]]:
    """Hand partitions to the actors of a pool; yields a row for each, in whatever order they are done.

    An exception ends the job, and its actors with it.

    Args:
        todo: partitions.
        actor: class whose objects are called with ``{"path": [...]}``, and return columns of as many rows.
        arguments: of its constructor.
        pool: how many actors, of what size.
        queued: partitions handed to an actor at once.
    """
    import ray

    dataset = ray.data.from_items([{"path": str(path)} for path in todo], override_num_blocks=len(todo)).map_batches(
        actor,
        fn_constructor_args=arguments,
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(
            min_size=pool.least, max_size=pool.most, max_tasks_in_flight_per_actor=queued
        ),
        num_cpus=pool.cores,
        num_gpus=pool.gpus,
    )
    try:
        yield from dataset.iter_rows()
    except Exception as error:
        _let_go(error)
        raise


def _let_go(error: BaseException) -> None:
    """Drop the frames of a failed job, and what they hold.

    Ray ends an actor, and gives its cores back, when nothing refers to it any more. The exception's traceback does,
    through Ray Data's frames, for as long as it is kept: another embedding in this process would wait for cores that
    nobody uses.
    """
    logger.debug("embed: failed here", exc_info=error)  # the last chance to see these frames
    told: BaseException | None = error
    while told is not None:
        told.__traceback__ = None
        told = told.__cause__ or told.__context__
    gc.collect()


def _wait_for_machine(pool: Pool, timeout_s: int) -> None:
    """Wait until a task of an actor's size was placed; that it waits makes an autoscaling group start a machine."""
    import ray
    from ray.exceptions import GetTimeoutError

    needs = ", ".join(f"{amount:g} {resource}" for resource, amount in pool.needs.items())
    logger.info("embed: no machine with %s yet; asking for one, and waiting up to %d s", needs, timeout_s)
    probe = ray.remote(num_cpus=pool.cores, num_gpus=pool.gpus)(_placed).remote()
    try:
        ray.get(probe, timeout=timeout_s)
    except GetTimeoutError:
        ray.cancel(probe)
        kind = EncoderUnavailable if pool.gpus else InputError  # another encoder may do without GPUs
        raise kind(
            f"no machine with {needs} came within {timeout_s} s",
            "Let the cluster grow (max_workers), wait longer (embed.start_timeout_s), or set embed.gpus_per_actor: 0.",
        ) from None


def _placed() -> bool:
    return True
