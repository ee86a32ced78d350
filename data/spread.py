"""Work on many items, such as partitions of a table, shared among workers.

What has such work takes a ``Runner`` as an argument: ``on_ray`` spreads it over a cluster, ``here`` does it in this
process, for tests and for small work.
"""

import gc
import logging
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

logger = logging.getLogger("catena")

Item = TypeVar("Item")
Made = TypeVar("Made")
MakeWorker = Callable[[], Callable[[Item], Made]]
"""Makes a worker: a function that is called with one item after another. It is sent to other processes by pickle."""


class Resources(NamedTuple):
    """What the machines have now: cores and GPUs of all of them, and cores of the largest (0 where there is none)."""

    cores: float
    gpus: float
    machine_cores: int


class Pool(NamedTuple):
    """Fewest and most workers, and cores and GPUs of each."""

    least: int
    most: int
    cores: int = 1
    gpus: float = 0.0


class Runner(Protocol):
    """Shares items among workers."""

    def resources(self) -> Resources:
        """What the machines have now."""
        ...

    def has_room(self, pool: Pool, timeout_s: float) -> bool:
        """Wait until a machine has room for one worker of the pool.

        Args:
            pool: cores and GPUs of a worker.
            timeout_s: how long to wait.

        Returns:
            False where no such machine came in time.
        """
        ...

    def run(
        self,
        items: Sequence[Item],
        make: MakeWorker[Item, Made],
        name: str,
        pool: Pool | None = None,
        queued: int | None = None,
    ) -> Iterator[Made]:
        """Hand items to workers and yield what they make of each, in whatever order they are done.

        A worker that dies, alone or with its machine, is replaced, and gets its items again. An exception of a worker
        ends the work.

        Args:
            items: what is to be done.
            make: makes a worker.
            name: of the workers, in titles of processes and in Ray's dashboard.
            pool: workers that each take many items; where None, a new worker is made for every item.
            queued: most items handed to a worker of a pool at once; the runner's choice where None.
        """
        ...


class Here:
    """Does all work in this process, one item after another, with one worker of one core."""

    def resources(self) -> Resources:
        """As of ``Runner``."""
        return Resources(cores=1, gpus=0, machine_cores=1)

    def has_room(self, pool: Pool, timeout_s: float) -> bool:
        """As of ``Runner``."""
        return True

    def run(
        self,
        items: Sequence[Item],
        make: MakeWorker[Item, Made],
        name: str,
        pool: Pool | None = None,
        queued: int | None = None,
    ) -> Iterator[Made]:
        """As of ``Runner``."""
        if items:
            yield from map(make(), items)


class OnRay:
    """Spreads work over a cluster with Ray Data. Ray is connected by the caller."""

    def resources(self) -> Resources:
        """As of ``Runner``."""
        import ray

        cluster = ray.cluster_resources()
        cores = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
        return Resources(cluster.get("CPU", 0), cluster.get("GPU", 0), max(cores, default=0))

    def has_room(self, pool: Pool, timeout_s: float) -> bool:
        """As of ``Runner``; the task that waits makes an autoscaling group start a machine."""
        import ray
        from ray.exceptions import GetTimeoutError

        now = self.resources()
        if now.cores >= pool.cores and now.gpus >= pool.gpus:
            return True
        logger.info(
            "no machine has %d CPU and %g GPU yet: asking for one, waiting up to %d s",
            pool.cores,
            pool.gpus,
            timeout_s,
        )
        probe = ray.remote(num_cpus=pool.cores, num_gpus=pool.gpus)(_placed).remote()
        try:
            ray.get(probe, timeout=timeout_s)
        except GetTimeoutError:
            ray.cancel(probe)
            return False
        return True

    def run(
        self,
        items: Sequence[Item],
        make: MakeWorker[Item, Made],
        name: str,
        pool: Pool | None = None,
        queued: int | None = None,
    ) -> Iterator[Made]:
        """As of ``Runner``. With a pool the workers are actors, without one they are tasks."""
        if not items:
            return
        import ray.data

        rows = ray.data.from_items([{"item": pickle.dumps(item)} for item in items], override_num_blocks=len(items))
        if pool is None:
            dataset = rows.map_batches(_task(make, name), batch_size=1)
        else:
            dataset = rows.map_batches(
                type(name, (_Actor,), {}),  # Ray names actors by their class
                fn_constructor_args=(make,),
                batch_size=1,
                compute=ray.data.ActorPoolStrategy(
                    min_size=pool.least, max_size=pool.most, max_tasks_in_flight_per_actor=queued
                ),
                num_cpus=pool.cores,
                num_gpus=pool.gpus,
            )
        try:
            for row in dataset.iter_rows():
                yield pickle.loads(row["made"])
        except Exception as error:
            _release(error)
            raise


class _Actor:
    """Ray Data's end of a worker: items and what is made of them cross as bytes, so that they keep their types."""

    def __init__(self, make: MakeWorker[Any, Any]) -> None:
        self._work = make()

    def __call__(self, batch: Mapping[str, Sequence[bytes]]) -> dict[str, list[bytes]]:
        return {"made": [pickle.dumps(self._work(pickle.loads(item))) for item in batch["item"]]}


def _task(make: MakeWorker[Any, Any], name: str) -> Callable[[Mapping[str, Sequence[bytes]]], dict[str, list[bytes]]]:
    def work(batch: Mapping[str, Sequence[bytes]]) -> dict[str, list[bytes]]:
        return _Actor(make)(batch)

    work.__name__ = work.__qualname__ = name
    return work


def _release(error: BaseException) -> None:
    """Drop the frames of failed work, and what they hold.

    Ray ends an actor, and frees its cores, when nothing refers to it any more. The exception's traceback does, through
    Ray Data's frames, for as long as it is kept: other work in this process would wait for cores that nobody uses.
    """
    logger.debug("failed on Ray", exc_info=error)  # the last chance to log these frames
    cause: BaseException | None = error
    while cause is not None:
        cause.__traceback__ = None
        cause = cause.__cause__ or cause.__context__
    gc.collect()


def _placed() -> bool:
    return True


here = Here()
on_ray = OnRay()
