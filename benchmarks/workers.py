"""One training on one worker and on two, as replicas and as shards. A script: ``STRATEGY SHARD WORLD RANK MEETING``.

The model is a linear autoencoder as large as that of the KJV: a table of learned vectors and a map of text vectors,
two propagation steps over all links, a softmax over the batch. Each worker has one thread.
"""

import json
import logging
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
import torch.distributed as dist
from torch import Tensor, nn

from benchmarks.rows import Row
from training.config import OptimizerConfig, SpreadConfig
from training.frame import Progress, Save, fit
from training.spreading import spreading
from training.task import Task

logger = logging.getLogger("catena")

NODES, LINKS, TEXT, WIDTH, BATCH, STEPS = 31_102, 300_000, 384, 256, 4_096, 4
ROUNDS = 2
WAYS = {
    "one": ("ddp", "full", 1),
    "ddp": ("ddp", "full", 2),
    "fsdp": ("fsdp", "full", 2),
    "zero": ("fsdp", "gradients", 2),
}


class Pairs(NamedTuple):
    """B links: the nodes at both ends."""

    source_B: Tensor
    target_B: Tensor


class Autoencoder(nn.Module):
    """Learned and text vectors, passed along links twice."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(0.1 * torch.randn(NODES, WIDTH))
        self.text = nn.Linear(TEXT, WIDTH)

    def forward(self, links_NN: Tensor, text_NT: Tensor, pairs: Pairs) -> Tensor:
        """Logits of each source with each target: (B, B)."""
        state_NW = self.table + self.text(text_NT)
        once_NW = links_NN @ state_NW
        state_NW = nn.functional.normalize(state_NW + once_NW + links_NN @ once_NW, dim=1)
        return 10 * state_NW[pairs.source_B] @ state_NW[pairs.target_B].T


class TableTask(Task[Pairs]):
    """Random links; only time matters."""

    unit, per_step = "links", BATCH

    def __init__(self, rank: int) -> None:
        torch.manual_seed(0)
        rng = np.random.default_rng(0)
        self.model: Autoencoder = Autoencoder()
        self.steps, self._rank = STEPS, rank
        ends = rng.integers(0, NODES, (2, LINKS))
        both = sp.coo_array((np.full(2 * LINKS, 0.05, np.float32), np.concatenate([ends, ends[::-1]], axis=1)))
        links = both.tocsr()
        self._links_NN = torch.sparse_csr_tensor(
            torch.from_numpy(links.indptr),
            torch.from_numpy(links.indices),
            torch.from_numpy(links.data),
            (NODES, NODES),
        )
        self._text_NT = torch.from_numpy(rng.normal(size=(NODES, TEXT)).astype(np.float32))

    def batches(self, epoch: int) -> Iterator[Pairs]:
        """Random pairs."""
        rng = np.random.default_rng((epoch, self._rank))
        for _ in range(self.steps):
            yield Pairs(*torch.from_numpy(rng.integers(0, NODES, (2, BATCH))))

    def loss(self, model: nn.Module, batch: Pairs) -> Tensor:
        """Each source is to find its target."""
        return nn.functional.cross_entropy(model(self._links_NN, self._text_NT, batch), torch.arange(BATCH))

    def judge(self, model: nn.Module) -> dict[str, float]:
        """Nothing."""
        return {"score": 0.0}


def measure() -> list[Row]:
    """Links a second of two workers against one, processor time and memory of each way, and what a checkpoint takes."""
    best: dict[str, dict[str, float]] = {}
    for number in range(ROUNDS):
        for way in WAYS:
            found = run_way(way)
            logger.info("bench workers: round %d, %s: %s", number + 1, way, found)
            if way not in best or found["links_per_s"] > best[way]["links_per_s"]:
                best[way] = found
    one = best["one"]
    size = f"a linear autoencoder of {NODES:,} nodes, {WIDTH} wide, one thread a worker"
    peers = {
        way: f"{row['links_per_s']:,.0f} links/s, {row['cpu_s']:.2f} s of processor a step" for way, row in best.items()
    }
    names = {"ddp": "replicas (DDP)", "fsdp": "shards (FSDP2)", "zero": "shards of gradients and moments (FSDP2)"}
    rows = [
        Row(
            id=f"workers.{way}_speedup",
            what=f"links a second of two workers with {name} over those of one, {size}",
            value=round(best[way]["links_per_s"] / one["links_per_s"], 3),
            unit="x",
            at_least=1.6 if way == "ddp" else None,
            reach=1.9 if way == "ddp" else None,
            peer=f"one worker {peers['one']}; each of two {best[way]['cpu_s']:.2f} s of processor a step",
        )
        for way, name in names.items()
    ]
    rows += [
        Row(
            id=f"workers.{way}_memory",
            what=f"largest memory of a worker's process, {names.get(way, 'one worker')}, {size}",
            value=round(row["peak_mb"], 0),
            unit="MB",
        )
        for way, row in best.items()
    ]
    rows.append(
        Row(
            id="workers.checkpoint",
            what=f"seconds to save a checkpoint of {size}: weights, moments, best weights",
            value=round(one["save_s"], 3),
            unit="s",
            peer=f"two workers: replicas {best['ddp']['save_s']:.2f} s, shards {best['fsdp']['save_s']:.2f} s",
        )
    )
    return rows


def run_way(way: str) -> dict[str, float]:
    """One training in processes of its own; what its first worker measured."""
    strategy, shard, world = WAYS[way]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmarks.workers", strategy, shard, str(world)]
        workers = [
            subprocess.Popen([*command, str(rank), folder], stdout=subprocess.PIPE, text=True) for rank in range(world)
        ]
        said = [worker.communicate()[0] for worker in workers]
    measured: dict[str, float] = json.loads(said[0].splitlines()[-1])
    return measured


def main(strategy: str, shard: str, world: int, rank: int, meeting: Path) -> dict[str, Any]:
    """What each worker does: an epoch to warm up, and one that counts."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting}/meeting", rank=rank, world_size=world)
    spread = SpreadConfig.model_validate({"strategy": strategy, "shard": shard})
    took: dict[str, float] = {}

    def told(progress: Progress, save: Save) -> None:
        took[f"cpu_{progress.epoch}"] = time.process_time()
        if progress.epoch == 2:
            started = time.perf_counter()
            save(meeting)
            took["save_s"] = time.perf_counter() - started

    wrap = spreading(spread, "fp32", torch.device("cpu"))
    config = OptimizerConfig(epochs=2, patience=2)
    progress = fit(TableTask(rank), config, on_epoch=told, wrap=wrap, rank=rank, world=world)
    dist.destroy_process_group()
    return {
        "links_per_s": progress.history[-1]["links_per_s"],
        "cpu_s": (took["cpu_2"] - took["cpu_1"]) / STEPS,
        "save_s": took["save_s"],
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


if __name__ == "__main__":
    measured = main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), Path(sys.argv[5]))
    sys.stdout.write(json.dumps(measured) + "\n")
