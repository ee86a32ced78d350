"""How fast links are learnt and scored, beside a plain full-graph script in PyTorch Geometric of the same model."""

import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.rows import Row, median_ratio
from data.graph.graph import GraphArtifact
from training.config import OptimizerConfig
from training.frame import fit
from training.links.config import NodesConfig, TrainConfig
from training.links.features import FEATURES
from training.links.scorer import PairScorer, ScorerShape
from training.links.scoring import LinkScorer
from training.links.task import LinkTask

PAIRS = 1_000_000
BATCH = 4096


class PlainModel(nn.Module):
    """The same states by PyG: a linear map of the text and two steps of ``LGConv``, summed, mapped, normalised."""

    def __init__(self, text: int, width: int) -> None:
        super().__init__()
        from torch_geometric.nn import LGConv

        self.enter, self.leave = nn.Linear(text, width, bias=False), nn.Linear(width, width, bias=False)
        self.steps = nn.ModuleList(LGConv() for _ in range(2))
        self.mix = nn.Parameter(torch.tensor([1.0, 0.7, 0.5]))
        self.temperature = nn.Parameter(torch.tensor(3.0))

    def forward(self, text: Tensor, edges: Tensor) -> Tensor:
        """Unit states of all documents."""
        state = functional.dropout(self.enter(text), 0.2, self.training)
        total = self.mix[0] * state
        for number, step in enumerate(self.steps, 1):
            state = step(state, edges)
            total = total + self.mix[number] * state
        return functional.normalize(self.leave(total), dim=1)


def plain_epoch(graph: GraphArtifact, width: int, batches: int) -> Callable[[], None]:
    """An epoch as one writes it down: every pair of a batch in one matrix, known links masked by a dense look-up."""
    text = torch.from_numpy(np.array(graph.vectors))
    sources, targets = (torch.from_numpy(ends) for ends in graph.links("train"))
    known = graph.training_graph
    model = PlainModel(text.shape[1], width)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    log_degree = torch.log(torch.from_numpy(known.degrees) + 1.0)

    def epoch() -> None:
        order = torch.randperm(len(sources))[: batches * BATCH]
        for chosen in torch.split(order, BATCH):
            kept = torch.ones(len(sources), dtype=torch.bool)
            kept[chosen] = False
            ahead = torch.stack([sources[kept], targets[kept]])
            states = model(text, torch.cat([ahead, ahead.flip(0)], 1))
            s, t = sources[chosen], targets[chosen]
            logits = states[s] @ states[t].T * model.temperature.exp() - log_degree[t]
            linked = torch.from_numpy(known.adjacency[s.numpy()][:, t.numpy()].toarray() > 0)
            linked.fill_diagonal_(fill_value=False)
            loss = functional.cross_entropy(logits.masked_fill(linked, -1e9), torch.arange(len(chosen)))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()

    return epoch


def training_rows(graph: GraphArtifact, name: str, batches: int = 8) -> list[Row]:
    """Supervision links a second, against the plain script; the same model, batches and threads."""
    width = 256
    nodes = NodesConfig(width=width, words=0, word_table=False, table=False)
    config = TrainConfig(model=nodes, optimizer=OptimizerConfig(epochs=1, precision="bf16"), batch_links=BATCH)
    task = LinkTask(graph, config)
    task.steps = min(batches, task.steps)
    task._valid = (task._valid[0][:0], task._valid[1][:0])  # the epoch alone is timed
    plain = plain_epoch(graph, width, task.steps)
    ratio, ours, theirs = median_ratio(lambda: fit(task, config.optimizer), plain, repeats=3)
    links = task.steps * task.per_step
    what = f"supervision links a second in training on {name}, {width} wide, over a plain full-graph PyG script"
    peer = f"ours {links / ours:,.0f} links/s in bf16, PyG script {links / theirs:,.0f} links/s"
    return [
        Row(id=f"links.{name}_training_ratio", what=what, value=ratio, unit="times", at_least=2.0, reach=5.0, peer=peer)
    ]


def scoring_rows(graph: GraphArtifact, name: str) -> list[Row]:
    """Pairs a second that a scorer with every feature scores, pairs near enough to share neighbours."""
    rng = np.random.default_rng(0)
    states = rng.normal(size=(len(graph.ids), 256)).astype(np.float32)
    states /= np.linalg.norm(states, axis=1, keepdims=True)
    scorer = LinkScorer(PairScorer(ScorerShape(features=FEATURES, units=16, members=4)), graph, states)
    links = graph.training_graph
    sources = np.sort(rng.choice(np.flatnonzero(links.degrees), PAIRS // 50))
    around = links.adjacency[sources] @ links.adjacency
    row = np.repeat(np.arange(len(sources)), np.diff(around.indptr))
    chosen = np.sort(rng.choice(len(row), min(PAIRS, len(row)), replace=False))
    s, t = sources[row[chosen]], around.indices[chosen].astype(np.int64)
    started = time.perf_counter()
    scorer.score_pairs(s, t)
    rate = len(s) / (time.perf_counter() - started)
    what = f"pairs a second scored with every feature on {name}, pairs two links apart"
    return [Row(id=f"links.{name}_pairs_per_s", what=what, value=rate, unit="pairs/s", at_least=1e6, reach=5e6)]
