"""Link learning on a GPU: a million documents and twenty million edges, and the KJV with a wide table."""

import time

import numpy as np
import torch

from benchmarks.million import DIM, MILLION, TEN_MILLION, edges
from benchmarks.rows import Row, median_seconds
from benchmarks.whole_runs import summary_of
from data.graph.graph import GraphArtifact
from data.matrices import unit_rows
from training.config import OptimizerConfig
from training.frame import fit
from training.links.config import NodesConfig, SamplingConfig, TrainConfig
from training.links.task import LinkTask

WIDTH, BATCH, STEPS = 256, 65_536, 2  # states; links of a batch; propagation steps of the default model
WIDE = {
    "train.spread.use-gpu": "true",
    "train.model.width": "512",
    "train.batch-links": "8192",
    "train.optimizer.epochs": "60",
    "train.optimizer.patience": "60",
    "finetune.pairs": "links",
    "finetune.spread.use-gpu": "true",
}


def measure() -> list[Row]:
    """Every row, on one GPU.

    Raises:
        RuntimeError: if there is none.
    """
    if not torch.cuda.is_available():
        raise RuntimeError("no CUDA device on this machine")
    return [*epoch_rows(MILLION, TEN_MILLION, BATCH, "cuda"), *kjv_rows()]


def kjv_rows() -> list[Row]:
    """The KJV with a wide table, many epochs, and a text encoder trained on the links."""
    mrr = {name: figures["mrr"] for name, figures in summary_of("evaluate", "kjv", *wide_flags())["links"].items()}
    what = "filtered MRR on the KJV, 512 wide, 60 epochs, the text encoder trained along"
    listed = ", ".join(f"{name} {value:.4f}" for name, value in mrr.items() if name != "model")
    return [Row(id="links.gpu_kjv_mrr", what=what, value=mrr["model"], unit="MRR", reach=0.33, peer=listed)]


def wide_flags() -> list[str]:
    """``WIDE`` as a command is given it."""
    return [word for key, value in WIDE.items() for word in (f"--{key}", value)]


def epoch_rows(documents: int, links: int, batch: int, device: str, compiled: bool = True) -> list[Row]:
    """Seconds of an epoch over the whole graph in fp32; bf16 and ``torch.compile`` beside it; share of the bandwidth.

    Args:
        documents: of the synthetic graph.
        links: each once; the adjacency has twice as many entries.
        batch: links.
        device: a PyTorch device.
        compiled: whether ``torch.compile`` is measured; it takes minutes to begin.
    """
    graph = synthetic_graph(documents, links)
    plain, steps = epoch_seconds(graph, batch, device, OptimizerConfig(epochs=1))
    bf16, _ = epoch_seconds(graph, batch, device, OptimizerConfig(epochs=1, precision="bf16"))
    size = f"{documents:,} documents, {2 * links:,} edges, {WIDTH} wide"
    # Each edge reads a float32 state in each propagation step, forward and backward; all else is left out.
    read = 2 * STEPS * 2 * links * WIDTH * 4 * steps
    rate = bandwidth(device, min(1 << 28, documents * WIDTH))
    rows = [
        Row(id="links.gpu_epoch_s", what=f"seconds of one epoch in fp32, {size}", value=plain, unit="s"),
        Row(id="links.gpu_bf16_ratio", what="the same in fp32 over bf16", value=plain / bf16, unit="times"),
        Row(
            id="links.gpu_bandwidth_share",
            what="states that edges read, bytes a second, over the device's rate of reading in a copy",
            value=read / plain / rate,
            unit="share",
            peer=f"{read / plain / 1e9:.0f} of {rate / 1e9:.0f} GB/s",
        ),
    ]
    if compiled:
        seconds, _ = epoch_seconds(graph, batch, device, OptimizerConfig(epochs=1, compile=True))
        rows.append(
            Row(id="links.gpu_compile_ratio", what="the same over torch.compile", value=plain / seconds, unit="times")
        )
    return rows


def synthetic_graph(documents: int, links: int) -> GraphArtifact:
    """Documents in groups of fifty, most links within them; all links are for training."""
    rng = np.random.default_rng(0)
    vectors = unit_rows(rng.standard_normal((documents, DIM), np.float32))
    pairs = edges(documents, links, rng)
    count = len(pairs)
    names = np.char.mod("%d", np.arange(documents)).tolist()
    split, relation = np.zeros(count, np.int8), np.zeros(count, np.int32)
    return GraphArtifact(names, names, vectors, pairs, split, relation, ["linked"])


def epoch_seconds(graph: GraphArtifact, batch: int, device: str, optimizer: OptimizerConfig) -> tuple[float, int]:
    """Seconds of an epoch after one that warms up, without judging it, and its batches."""
    config = TrainConfig(
        model=NodesConfig(width=WIDTH, words=0, word_table=False),
        sampling=SamplingConfig(from_links=10**12),
        optimizer=optimizer.model_copy(update={"epochs": 2}),
        batch_links=batch,
    )
    task = LinkTask(graph, config)
    ended: list[float] = []

    def wrap(model: torch.nn.Module) -> torch.nn.Module:
        return model.to(device)

    fit(
        task,
        config.optimizer,
        wrap=wrap,
        device=torch.device(device),
        on_epoch=lambda progress, save: ended.append(time.perf_counter()),
    )
    return ended[1] - ended[0], task.steps


def bandwidth(device: str, numbers: int) -> float:
    """Bytes a second that a copy of float32 numbers reads, and writes as many beside it: both are counted."""
    source = torch.zeros(numbers, device=device)
    target = torch.empty_like(source)

    def copy() -> None:
        target.copy_(source)
        if device == "cuda":
            torch.cuda.synchronize()

    return 2 * source.numel() * 4 / median_seconds(copy, 5)
