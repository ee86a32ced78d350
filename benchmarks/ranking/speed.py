"""Speed of what learning is made of: walks, replay, values of sequences, and a step of training beside a plain loop."""

import random
from typing import Any

import numpy as np
import torch

from benchmarks.ranking.corpus import TOGETHER, metatool
from benchmarks.rows import Row, median_ratio, median_seconds
from data.graph.graph import Graph
from training.products import fast_products
from training.ranking.config import LearnConfig
from training.ranking.driver import new_network
from training.ranking.network import CapabilityNetwork
from training.ranking.replay import ReplayBuffer, ReplayConfig
from training.ranking.task import CapabilityTask, TraceBatch
from training.ranking.td import Sequences, lambda_returns
from training.structure.node2vec import Node2Vec, walk

WALKS, NODES, LINKS = 200_000, 20_000, 200_000
BUFFERED, DRAWN = 100_000, 512


def measure_walks() -> list[Row]:
    """node2vec's walks on a random graph, biased, one core."""
    rng = np.random.default_rng(0)
    graph = Graph.from_pairs(rng.integers(0, NODES, LINKS), rng.integers(0, NODES, LINKS), NODES)
    config, start = Node2Vec(length=15, back=0.5, away=2.0), rng.integers(0, NODES, WALKS)
    start = start[graph.degrees[start] > 0]
    seconds = median_seconds(lambda: walk(graph, start, config, np.random.default_rng(1)))
    off = _off_oracle()
    return [
        Row(
            id="rank.node2vec.steps",
            what="steps a second of biased second-order walks (p 0.5, q 2, length 15), one core",
            value=round(len(start) * 15 / seconds),
            unit="steps/s",
            at_least=1_000_000,
        ),
        Row(
            id="rank.node2vec.oracle",
            what="largest difference between the shares of steps that walks take and those that p and q give, on a "
            "graph of 6 nodes counted by brute force",
            value=round(off, 4),
            unit="share",
            at_most=0.01,
        ),
    ]


def _off_oracle() -> float:
    """How far walks of two steps are from the probabilities that p and q give, over all pairs of steps."""
    pairs = np.array([[0, 1], [0, 2], [1, 2], [2, 3], [3, 4], [4, 5], [3, 5]])
    graph, config = Graph.from_pairs(pairs[:, 0], pairs[:, 1], 6), Node2Vec(length=2, back=0.5, away=2.0)
    joined = graph.adjacency.toarray() > 0
    worst = 0.0
    for start in range(6):
        steps = walk(graph, np.full(100_000, start), config, np.random.default_rng(start))
        for here in np.flatnonzero(joined[start]):
            weight = np.where(joined[start], 1.0, 1 / config.away) * joined[here]
            weight[start] = 1 / config.back
            taken = np.bincount(steps[1][steps[0] == here], minlength=6)
            worst = max(worst, float(np.abs(taken / taken.sum() - weight / weight.sum()).max()))
    return worst


def measure_replay() -> list[Row]:
    """Draws of the replay buffer at its full size, with their new priorities."""
    buffer = ReplayBuffer(ReplayConfig(), {"row": np.int64(0)})
    buffer.add({"row": np.arange(BUFFERED)})
    rng = np.random.default_rng(0)
    buffer.update(np.arange(BUFFERED), rng.exponential(size=BUFFERED))

    def draw() -> None:
        for _ in range(100):
            drawn = buffer.draw(DRAWN)
            buffer.update(drawn.numbers, rng.exponential(size=DRAWN))

    seconds = median_seconds(draw)
    return [
        Row(
            id="rank.replay.draws",
            what=f"prioritised draws a second of {BUFFERED:,} rows, {DRAWN} at a time, each with its new priority",
            value=round(100 * DRAWN / seconds),
            unit="draws/s",
            at_least=200_000,
        )
    ]


def measure_td() -> list[Row]:
    """Lambda-returns of many sequences beside a loop over their steps; equal by the same measurement."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 20, 20_000)
    starts = np.cumsum(lengths) - lengths
    sequences = Sequences(rng.random(lengths.sum()), starts, np.zeros(len(lengths)))
    values = rng.random(lengths.sum())
    found = lambda_returns(values, sequences, 0.99, 0.95)
    plain = _plain_returns(values, sequences, 0.99, 0.95)
    ratio, ours, theirs = median_ratio(
        lambda: lambda_returns(values, sequences, 0.99, 0.95), lambda: _plain_returns(values, sequences, 0.99, 0.95)
    )
    return [
        Row(
            id="rank.td.speed",
            what=f"TD(lambda) returns of 20,000 sequences ({lengths.sum():,} steps) against a loop over the steps",
            value=round(ratio, 1),
            unit="x",
            peer=f"{ours * 1e3:.1f} ms against {theirs * 1e3:.1f} ms; largest difference "
            f"{np.abs(found - plain).max():.1e}",
        )
    ]


def _plain_returns(values: np.ndarray, sequences: Sequences, gamma: float, lambda_: float) -> np.ndarray:
    found = np.zeros(len(values))
    for start, length in zip(sequences.starts.tolist(), sequences.lengths.tolist(), strict=True):
        after, value = 0.0, 0.0
        for step in range(start + length - 1, start - 1, -1):
            after = sequences.rewards[step] + gamma * ((1 - lambda_) * value + lambda_ * after)
            found[step], value = after, values[step]
    return found


def measure_step() -> list[Row]:
    """A step of training with replay, beside the plain loops that one writes first."""
    experience = metatool(*TOGETHER)
    config = LearnConfig(replay=ReplayConfig(seed=1))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    network = new_network(experience, config, None)
    task = CapabilityTask(network, experience, config)
    fused = torch.optim.AdamW(network.parameters(), lr=1e-3, fused=True)
    batch = next(task.batches(0))

    def step() -> None:
        """As ``training.frame`` does it."""
        with fast_products(torch.device("cpu")):
            fused.zero_grad()
            task.loss(network, batch).backward()  # type: ignore[no-untyped-call]
            fused.step()

    plain = _PlainLoop(task, network, torch.optim.AdamW(network.parameters(), lr=1e-3))
    whole, ours, theirs = median_ratio(step, plain.step_by_trace)
    batched, _, by_batch = median_ratio(step, plain.step_by_batch)
    torch.set_num_threads(threads)
    return [
        Row(
            id="rank.step.speed",
            what=f"a step of training with replay ({task.per_step} traces, {len(experience.catalogue)} capabilities, "
            f"{BUFFERED:,} buffered) against a plain PyTorch loop over a Python list, trace by trace, one core",
            value=round(whole, 2),
            unit="x",
            at_least=5.0,
            reach=20.0,
            peer=f"{ours * 1e3:.1f} ms against {theirs * 1e3:.1f} ms; {batched:.2f}x against {by_batch * 1e3:.1f} ms "
            "of the same list with a batch at once",
        )
    ]


class _PlainLoop:
    """Replay as a list of rows with priorities; the same network and loss."""

    def __init__(self, task: CapabilityTask, network: CapabilityNetwork, optimizer: torch.optim.Optimizer) -> None:
        self.task, self.network, self.optimizer = task, network, optimizer
        count = len(task._chosen)
        self.rows: list[list[Any]] = [[n % count, random.random()] for n in range(BUFFERED)]

    def _drawn(self) -> list[list[Any]]:
        weights = [(abs(row[1]) + 0.01) ** 0.6 for row in self.rows]
        return random.choices(self.rows, weights=weights, k=self.task.per_step)

    def step_by_trace(self) -> None:
        """Each trace by itself; keys are computed once, as the first thing that anyone would save."""
        self.optimizer.zero_grad()
        drawn, losses = self._drawn(), []
        keys = self.network.keys()
        for row in drawn:
            scores = self.network.queries(self.task._intents[row[0]][None]) @ keys.T
            loss = torch.nn.functional.cross_entropy(scores, self.task._chosen[row[0]][None])
            row[1] = loss.item()
            losses.append(loss)
        torch.stack(losses).mean().backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()

    def step_by_batch(self) -> None:
        """All of the batch at once, from the same list."""
        self.optimizer.zero_grad()
        drawn = self._drawn()
        batch = TraceBatch(torch.tensor([row[0] for row in drawn]), None, None)
        losses = self.task.losses(self.network, batch)
        for row, loss in zip(drawn, losses.tolist(), strict=True):
            row[1] = loss
        losses.mean().backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
