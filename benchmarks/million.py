"""A synthetic graph of a million documents and ten million links, through the product's own stages.

Each graph is measured in processes of its own: one reads it (ingest, split, graph), the next trains one epoch,
evaluates and discovers. Their memory is looked at from outside.
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
import yaml

from benchmarks.rows import Row
from data.matrices import unit_rows

logger = logging.getLogger("catena")

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS, LINKS = 1_000_000, 10_000_000
GROUP = 50  # documents that are about the same
WITHIN = 0.8  # share of links within a group
DIM = 64
BLOCK = 100_000
LOOK_EVERY_S = 0.5
STAGES = ("train", "evaluate_links", "discover")
READ = """
import sys
from pathlib import Path
from ray_apps.config import load_run
from ray_apps.plan import Plan
Plan(load_run(Path(sys.argv[1]))).bring("graph")
"""


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


def measure(documents: int = DOCUMENTS, links: int = LINKS) -> list[Row]:
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
    run, measured = write_run(folder, documents, links), Measured()
    _watched(["-c", READ, str(run)], measured.reading)
    result = json.loads(_watched(["-m", "ray_apps.run", str(run), "--json"], measured.peak).splitlines()[-1])
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


def write_run(folder: Path, documents: int, links: int) -> Path:
    """Write a graph without text and its run file: ``run.yaml`` in the folder."""
    rng = np.random.default_rng(0)
    vectors = np.lib.format.open_memmap(folder / "x.npy", mode="w+", dtype=np.float32, shape=(documents, DIM))
    centres = rng.standard_normal((-(-documents // GROUP), DIM), np.float32)
    for start in range(0, documents, BLOCK):
        number = np.arange(start, min(start + BLOCK, documents))
        noise = rng.standard_normal((len(number), DIM), np.float32)
        vectors[number] = unit_rows(centres[number // GROUP] + np.float32(1.5) * noise)
    vectors.flush()
    for part, start in enumerate(range(0, links, 10 * BLOCK)):
        np.savez(folder / f"links-{part:03d}.npz", edges=_edges(documents, min(10 * BLOCK, links - start), rng))
    settings = {
        "name": "million",
        "workspace": str(folder / "workspace"),
        "source": {"graph": {"links": [str(folder / "links-*.npz")], "features": str(folder / "x.npy")}},
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


def _edges(documents: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """Links within a group mostly, near in number more often than far; int64 (count, 2)."""
    source = rng.integers(0, documents, count)
    start = source // GROUP * GROUP
    near = start + (source - start + 1 + (rng.geometric(0.08, count) - 1) % (GROUP - 1)) % GROUP
    far = rng.integers(0, documents, count)
    target = np.where(rng.random(count) < WITHIN, near, far) % documents
    return np.column_stack([source, target])
