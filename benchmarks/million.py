"""A synthetic graph of a million documents and ten million links, through the product's own stages.

Each graph is measured in processes of its own: one writes it as the tables of the ingest stage and brings the stages
split and graph, the next one trains one epoch, evaluates and discovers. Their memory is looked at from outside. The
first is this module as a script: ``FOLDER DOCUMENTS LINKS``.
"""

import json
import logging
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import yaml

from benchmarks.rows import Row
from data.artifacts import materialise
from data.matrices import distinct, unit_rows
from data.partitions import partition_name, write_partition
from data.schema import DOCUMENTS, FEATURES_FILE, LINKS, QRELS, QUERIES
from ray_apps.config import RunConfig, load_run
from ray_apps.ingest import IngestResult
from ray_apps.plan import Plan

logger = logging.getLogger("catena")

ROOT = Path(__file__).resolve().parents[1]
MILLION, TEN_MILLION = 1_000_000, 10_000_000
GROUP = 50  # documents that are about the same
WITHIN = 0.8  # share of links within a group
DIM = 64
BLOCK = 100_000
LOOK_EVERY_S = 0.5
STAGES = ("train", "evaluate_links", "discover")


@dataclass
class Peak:
    """Most memory of a process tree, in bytes: what is its own (not mapped from files, which can be read again).

    Attributes:
        driver: of the process that was started.
        workers: of all that it started, together.
    """

    driver: int = 0
    workers: int = 0


@dataclass
class Measured:
    """What one graph cost.

    Attributes:
        seconds: of each stage, by its name.
        reading: memory of the process that read it.
        peak: memory of the one that trained, evaluated and discovered.
        mrr: of each method that was judged.
        rate: links trained on a second.
        candidates: pairs scored by discovery.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    reading: Peak = field(default_factory=Peak)
    peak: Peak = field(default_factory=Peak)
    mrr: dict[str, float] = field(default_factory=dict)
    rate: float = 0.0
    candidates: int = 0


def measure(documents: int = MILLION, links: int = TEN_MILLION) -> list[Row]:
    """The rows of a graph, and how memory grows to it from one of a tenth of its size.

    Args:
        documents: of the large graph.
        links: of the large graph.
    """
    measured = []
    for share in (10, 1):
        with tempfile.TemporaryDirectory() as folder:
            measured.append(whole(documents // share, links // share, Path(folder)))
    return rows_of(documents, links, *measured)


def rows_of(documents: int, links: int, small: Measured, large: Measured) -> list[Row]:
    """The rows of two graphs, of which the first has a tenth of the documents and links."""
    size = f"{documents:,} documents, {links:,} links"
    minutes = sum(large.seconds[stage] for stage in STAGES) / 60
    listed = ", ".join(f"{stage} {seconds:.0f} s" for stage, seconds in large.seconds.items())
    before = ", ".join(f"{stage} {seconds:.0f} s" for stage, seconds in small.seconds.items())
    judged = ", ".join(f"{name} {mrr:.3f}" for name, mrr in sorted(large.mrr.items(), key=lambda item: -item[1]))
    return [
        Row(
            id="million.minutes",
            what=f"minutes to train one epoch, evaluate and discover, {size}",
            value=round(minutes, 1),
            unit="minutes",
            at_most=60.0,
            reach=30.0,
            peer=f"{listed}; a tenth of it: {before}",
        ),
        Row(
            id="million.driver_mb",
            what=f"most memory of the driver that trains, evaluates and discovers, {size}",
            value=round(large.peak.driver / 2**20),
            unit="MiB",
            peer=f"a tenth of it: {small.peak.driver / 2**20:.0f} MiB; the driver that reads the graph: "
            f"{large.reading.driver / 2**20:.0f} and {small.reading.driver / 2**20:.0f} MiB",
        ),
        Row(
            id="million.memory_gb",
            what=f"most memory of driver, workers and Ray together, without mapped files, {size}",
            value=round(_all(large) / 2**30, 2),
            unit="GiB",
            at_most=12.0,
            peer=f"a tenth of it: {_all(small) / 2**30:.2f} GiB",
        ),
        Row(
            id="million.links_per_s",
            what=f"training links a second, sampled batches, {size}",
            value=round(large.rate),
            unit="links/s",
            peer=f"a tenth of it: {small.rate:,.0f} links/s",
        ),
        Row(
            id="million.mrr",
            what=f"filtered MRR of the model after one epoch, {size}",
            value=round(large.mrr["model"], 4),
            unit="MRR",
            peer=f"{judged}; {large.candidates:,} candidate pairs",
        ),
    ]


def _all(measured: Measured) -> int:
    return max(peak.driver + peak.workers for peak in (measured.reading, measured.peak))


def whole(documents: int, links: int, folder: Path) -> Measured:
    """Make a graph in a folder and bring it through all stages."""
    logger.info("bench million: %s documents, %s links", f"{documents:,}", f"{links:,}")
    measured = Measured()
    _watched(["-m", "benchmarks.million", str(folder), str(documents), str(links)], measured.reading)
    run = [str(folder / "run.yaml"), "--json"]
    result = json.loads(_watched(["-m", "ray_apps.run", *run], measured.peak).splitlines()[-1])
    measured.seconds = {stage: spent for stage, spent in result["seconds"].items() if spent >= 1 or stage in STAGES}
    measured.mrr = {name: figures["mrr"] for name, figures in result["links"].items()}
    trained, found = (
        json.loads(next((folder / "workspace" / stage).glob("*/result.json")).read_text())
        for stage in ("train", "discover")
    )
    measured.rate, measured.candidates = trained["history"][-1]["links_per_s"], found["candidates"]
    return measured


def _watched(arguments: list[str], peak: Peak) -> str:
    """Run Python to its end and return what it printed."""
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    over = threading.Event()
    watcher = threading.Thread(target=_watch, args=(psutil.Process(process.pid), peak, over))
    watcher.start()
    try:
        printed, _ = process.communicate()
    finally:
        over.set()
        watcher.join()
    if process.returncode:
        raise RuntimeError(f"{arguments} ended with {process.returncode}")
    return printed


def _watch(process: psutil.Process, peak: Peak, over: threading.Event) -> None:
    while not over.wait(LOOK_EVERY_S):
        try:
            children = process.children(recursive=True)
            peak.driver = max(peak.driver, own_bytes(process.pid))
            peak.workers = max(peak.workers, sum(own_bytes(child.pid) for child in children))
        except psutil.NoSuchProcess:
            continue


def own_bytes(pid: int) -> int:
    """Memory of a process that no file backs; 0 where it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    lines = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    return 1024 * int(lines.get("RssAnon", "0 kB").split()[0])


def write_run(folder: Path) -> Path:
    """Write the run file, ``run.yaml`` in the folder, with a source file to name: what it would be read from."""
    np.savez(folder / "links.npz", edges=np.array([[0, 1]]))
    settings = {
        "name": "million",
        "workspace": str(folder / "workspace"),
        "source": {"graph": {"links": [str(folder / "links.npz")]}},
        "train": {
            "model": {"width": 64},
            "sampling": {"from_links": 0, "neighbours": [10, 5]},
            "negatives": {"kind": "degree", "drawn": 4096},
            "batch_links": 16384,
            "optimizer": {"epochs": 1, "precision": "bf16"},
        },
    }
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


def write_graph(run: RunConfig, documents: int, links: int) -> Path:
    """Write a graph as the ingest stage does, and bring the stages split and graph; returns the latter's folder."""
    plan = Plan(run)

    def tables(out: Path) -> IngestResult:
        rng = np.random.default_rng(0)
        _write_features(out / FEATURES_FILE, documents, rng)
        ids = pa.array(np.arange(documents)).cast(pa.string())
        _write(out, DOCUMENTS, "documents", {"id": ids, "title": ids, "text": _repeated("", documents)})
        _write(out, QUERIES, "queries", {})
        _write(out, QRELS, "qrels", {})
        pairs = edges(documents, links, rng)
        ends = {name: ids.take(pa.array(end)) for name, end in zip(("source", "target"), pairs.T, strict=True)}
        count = len(pairs)
        weights = _repeated(np.float32(1), count)
        _write(out, LINKS, "links", {**ends, "relation": _repeated("linked", count), "weight": weights})
        return IngestResult(documents=documents, links=count, queries=0, qrels=0, rejects=0, reject_reasons={})

    materialise(plan.artifact("ingest"), tables)
    return plan.bring("graph").path


def _write(out: Path, schema: pa.Schema, name: str, columns: dict[str, pa.Array]) -> None:
    """One partition of a table; columns that are not given are empty."""
    rows = max((len(column) for column in columns.values()), default=0)
    (out / name).mkdir(exist_ok=True)
    arrays = [columns.get(field.name, pa.nulls(rows, field.type)) for field in schema]
    write_partition(pa.Table.from_arrays(arrays, schema=schema), out / name / partition_name(0))


def _repeated(value: object, count: int) -> pa.Array:
    return pa.array([value]).take(pa.array(np.zeros(count, np.int32)))


def _write_features(path: Path, documents: int, rng: np.random.Generator) -> None:
    """Vectors near the centre of their group: float32 (documents, DIM), unit length."""
    vectors = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(documents, DIM))
    centres = rng.standard_normal((-(-documents // GROUP), DIM), np.float32)
    for start in range(0, documents, BLOCK):
        number = np.arange(start, min(start + BLOCK, documents))
        noise = rng.standard_normal((len(number), DIM), np.float32)
        vectors[number] = unit_rows(centres[number // GROUP] + np.float32(1.5) * noise)
    vectors.flush()


def edges(documents: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """Links within a group mostly, near in number more often than far: int64 (count, 2), each once."""
    drawn = 2 * count
    source = rng.integers(0, documents, drawn)
    start = source // GROUP * GROUP
    near = start + (source - start + 1 + (rng.geometric(0.08, drawn) - 1) % (GROUP - 1)) % GROUP
    target = np.where(rng.random(drawn) < WITHIN, near % documents, rng.integers(0, documents, drawn))
    codes = distinct(source * documents + target)
    codes = rng.permutation(codes[codes // documents != codes % documents])[:count]
    return np.column_stack([codes // documents, codes % documents])


if __name__ == "__main__":
    place = Path(sys.argv[1])
    write_graph(load_run(write_run(place)), int(sys.argv[2]), int(sys.argv[3]))
