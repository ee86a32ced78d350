"""Steps, chunks, embeds and reduces a corpus once for each commit point, killed there and started again; a script.

``python tests/faults/killed_jobs.py FOLDER POINT...`` prints a JSON object: for each point how the killed job ended,
what the second one kept, and the checksums at the end. Ray is not used: the partitions are made by the
same actors and functions in the job's own process, so that a kill meets every commit of the job.
"""

import hashlib
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset  # this and what is unused below: loaded once, rather than in every child
import pyarrow.fs
import pyarrow.parquet as pq
import ray.util.metrics  # noqa: F401 - the same

from data.artifacts import StageConfig, locate, materialise
from data.cache import CacheConfig
from data.cache.encoder import DocumentCache
from data.embedding import pool as embed_pool
from data.embedding import reduce
from data.embedding.actor import Embedded, EmbedPartition
from data.embedding.config import EmbedConfig
from data.embedding.fallback import embed_chain
from data.encoders.config import EncoderConfig, PluginConfig
from data.partitions import partition_name, write_partition
from data.passages import document_steps
from data.passages.chunk import chunk
from data.passages.config import ChunkConfig
from data.passages.steps import StepConfig
from data.schema import DOCUMENTS
from data.vectors.projection import Projection
from data.vectors.quantise import Storage
from tests.results import AnyResult

STUB = PluginConfig(model="benchmarks.embed.stub_encoder:load")
STEPS = [StepConfig(path="tests.ray.own_steps:shout")]
CHUNK = ChunkConfig(partition_rows=10)
COPYING = CacheConfig(stored=True)
REDUCE = reduce.ReduceConfig(method="random", dim=8, storage="int8")


def embedded_here(
    todo: Sequence[Path], encoder: EncoderConfig, config: EmbedConfig, vectors: Path, cache: DocumentCache
) -> Iterator[Embedded]:
    """What ``embed_pool.run`` does, without a pool."""
    actor = EmbedPartition(encoder, config.batch_tokens, 1, vectors, cache)
    yield from map(actor.embed, todo)


def stepped_here(todo: Sequence[Path], steps: Sequence[StepConfig], folder: Path) -> Iterator[dict[str, str]]:
    """What the stage ``steps`` does on Ray."""
    for path in todo:
        document_steps.StepPartitions(steps, folder).apply(path)
        yield {"problem": "", "remedy": ""}


def reduced_here(todo: Sequence[Path], projection: Projection | None, storage: Storage, vectors: Path) -> None:
    """What the stage ``reduce`` does on Ray."""
    for path in todo:
        reduce.reduce_partition(path, projection, storage, vectors / path.name)


def job(documents: Path, workspace: Path) -> None:
    """The stages, as the commands run them."""
    identity = StageConfig().identity()
    stepped = materialise(
        locate(workspace, "steps", identity), lambda out: AnyResult(**document_steps.run_steps(documents, STEPS, out))
    )
    made = materialise(
        locate(workspace, "chunk", identity, {"documents": stepped}),
        lambda out: AnyResult(**chunk(stepped.path / "documents", CHUNK, out)),
    )
    vectors = materialise(
        locate(workspace, "embed", STUB.identity(), {"passages": made}),
        lambda out: AnyResult(**embed_chain(made.path / "passages", STUB, EmbedConfig(), out, COPYING)),
    )
    materialise(
        locate(workspace, "reduce", REDUCE.identity(), {"embedded": vectors}),
        lambda out: AnyResult(**reduce.reduce(vectors.path, REDUCE, out)),
    )


def die_at(point: str) -> None:
    """Let this process kill itself where the point says: around a commit, or when half of a file is written."""
    moment, _, place = point.partition(" ")
    stage, _, name = place.partition("/")

    def dying(call: Callable[..., Any], which: int) -> Callable[..., Any]:
        def called(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - any call
            path = Path(args[which])
            halved = f".{name}.{os.getpid()}.unfinished" if moment == "in" and name.endswith(".parquet") else name
            met = stage in path.parts and path.name == halved
            if met and moment == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            result = call(*args, **kwargs)
            if met and moment == "in":
                os.truncate(path, path.stat().st_size // 2)
            if met:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return called

    for method, which in (("replace", 1), ("touch", 0), ("write_text", 0)):
        setattr(Path, method, dying(getattr(Path, method), which))
    pq.write_table = dying(pq.write_table, 1)
    np.lib.format.open_memmap = dying(np.lib.format.open_memmap, 0)


def ended(documents: Path, workspace: Path, point: str | None = None) -> int:
    """How the job ended in a process of its own: its exit code, or minus the signal that killed it."""
    child = os.fork()
    if child == 0:
        if point:
            die_at(point)
        job(documents, workspace)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def checksums(workspace: Path) -> dict[str, str]:
    """Of every file that does not hold times, or the number of a process."""
    varying = ("result.json", ".lock")
    found = [path for path in workspace.rglob("*") if path.is_file() and path.name not in varying]
    return {str(path.relative_to(workspace)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def committed(workspace: Path) -> dict[Path, int]:
    """When each partition of vectors was written."""
    return {path: path.stat().st_mtime_ns for path in workspace.glob("embed/*/vectors/part-*")}


def main(folder: Path, points: Sequence[str]) -> int:
    """Kill and start again at every point; no thread has been started yet where it forks."""
    embed_pool.run, document_steps._run, reduce._run = embedded_here, stepped_here, reduced_here
    documents = folder / "documents"
    documents.mkdir()
    if (child := os.fork()) == 0:
        rows = [{"id": f"d{n}", "title": f"Title {n}", "text": f"text of document {n}"} for n in range(35)]
        for number, some in enumerate((rows[:20], rows[20:])):
            write_partition(pa.Table.from_pylist(some, schema=DOCUMENTS), documents / partition_name(number))
        os._exit(0)
    os.waitpid(child, 0)
    jobs = {"undisturbed": {"ended": [ended(documents, folder / "whole")], "files": checksums(folder / "whole")}}
    for number, point in enumerate(points):
        workspace = folder / str(number)
        first = ended(documents, workspace, point)
        before = committed(workspace)
        second = ended(documents, workspace)
        after = committed(workspace)
        kept = sum(after.get(path) == time for path, time in before.items())
        jobs[point] = {"ended": [first, second], "kept": [len(before), kept], "files": checksums(workspace)}
    sys.stdout.write(json.dumps(jobs))
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
