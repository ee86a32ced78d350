"""Steps, chunks, embeds and reduces a corpus once for each commit point, killed there and started again; a script.

``python tests/faults/killed_jobs.py FOLDER POINT...`` prints a JSON object: for each point how the killed job ended,
what the second one kept, and the checksums of the files at the end. The stages run in this process, not on Ray: so a
kill meets every commit of the job.
"""

import hashlib
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
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
from data.embedding.config import EmbedConfig, ReduceConfig
from data.embedding.fallback import embed_chain
from data.embedding.reduce import reduce
from data.encoders.config import PluginConfig
from data.partitions import partition_name, write_partition
from data.passages.chunk import chunk
from data.passages.config import ChunkConfig
from data.passages.document_steps import run_steps
from data.passages.steps import StepConfig
from data.schema import DOCUMENTS
from data.spread import here
from tests.results import AnyResult

STUB = PluginConfig(model="benchmarks.embed.stub_encoder:load")
STEPS = [StepConfig(path="tests.ray.own_steps:shout")]
CHUNK = ChunkConfig(partition_rows=10)
COPYING = CacheConfig(stored=True)
REDUCE = ReduceConfig(method="random", dim=8, storage="int8")


def job(documents: Path, workspace: Path) -> None:
    """The stages, as the commands run them."""
    identity = StageConfig().identity()
    stepped = materialise(
        locate(workspace, "steps", identity), lambda out: AnyResult(**run_steps(documents, STEPS, out, here))
    )
    made = materialise(
        locate(workspace, "chunk", identity, {"documents": stepped}),
        lambda out: AnyResult(**chunk(stepped.path / "documents", CHUNK, out)),
    )
    vectors = materialise(
        locate(workspace, "embed", STUB.identity(), {"passages": made}),
        lambda out: AnyResult(**embed_chain(made.path / "passages", STUB, EmbedConfig(), out, COPYING, here)),
    )
    materialise(
        locate(workspace, "reduce", REDUCE.identity(), {"embedded": vectors}),
        lambda out: AnyResult(**reduce(vectors.path, REDUCE, out, here)),
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
