"""Link learning as the frame of all trainings sees it: batches, loss, and how the states are judged."""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from data.errors import InputError
from data.graph.graph import Graph, GraphArtifact
from evaluation.baselines import cosine
from evaluation.link_questions import SCORES_AT_ONCE
from evaluation.links import both_directions, link_metrics, link_ranks, unordered_pairs
from training.links.build import model_for
from training.links.config import TrainConfig
from training.links.contrast import negatives_loss
from training.links.inputs import Inputs, LinkTensors, relation_of_entries
from training.links.negatives import Candidates, Negatives
from training.links.nodes import LinkModel, all_states, inputs_of
from training.links.propagation import Links
from training.links.states import states_over
from training.links.subgraph import Subgraph, Subgraphs
from training.near_misses import near_misses
from training.task import Figures, Task

if TYPE_CHECKING:
    from data.graph.sampler import NeighborSampler

NEAR_MISSES = 50  # kept of each document


@dataclass(frozen=True)
class Batch:
    """Links of a batch and what they are compared with.

    Shapes:
        sources, targets, own_log_chance: (S,). candidates, log_chance: (C,). masked: (M, 2). entries: int64 (2S',), the
        batch's own links in the adjacency, of all workers together; none where there is a subgraph, whose local numbers
        all documents have then.
    """

    sources: Tensor
    targets: Tensor
    candidates: Tensor
    log_chance: Tensor
    own_log_chance: Tensor
    masked: Tensor
    entries: Tensor
    around: Subgraph | None = None

    @classmethod
    def of(cls, sources: np.ndarray, targets: np.ndarray, drawn: Candidates, entries: np.ndarray) -> "Batch":
        """A batch of links, what was drawn for them, and their entries."""
        return cls(
            _tensor(sources),
            _tensor(targets),
            _tensor(drawn.documents),
            _tensor(drawn.log_chance),
            _tensor(drawn.own_log_chance),
            _tensor(drawn.masked),
            _tensor(entries),
        )

    def to(self, device: torch.device) -> "Batch":
        """The same on a device."""
        parts = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{name: part.to(device) for name, part in parts.items() if part is not None})


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array))


class LinkTask(Task[Batch]):
    """Trains the states of documents on the training links; judged by filtered MRR of cosines on validation links.

    Args:
        graph: output of the graph stage.
        config: model, negatives, sizes.
        rank: this worker.
        world: how many there are.
        hidden: bool (L,), training links (each unordered pair once) that are left out, to be predicted by others.

    Raises:
        InputError: if there are no training links.
    """

    unit = "links"

    def __init__(
        self, graph: GraphArtifact, config: TrainConfig, rank: int = 0, world: int = 1, hidden: np.ndarray | None = None
    ) -> None:
        self.config, self.rank, self.world = config, rank, world
        self.sources, self.targets, self.relation = training_pairs(graph, hidden)
        if not len(self.sources):
            raise InputError("there are no training links to learn from", "Give the corpus more links.")
        self.graph = (
            graph.training_graph if hidden is None else Graph.from_pairs(self.sources, self.targets, len(graph.ids))
        )
        self.negatives = Negatives(self.graph, config.negatives, self.sources, self.targets, self.relation)
        self.model = model_for(graph, config, self.graph)
        self.documents = graph
        self.sampled = len(self.sources) >= config.sampling.from_links
        self._tensors: dict[torch.device, tuple[LinkTensors, Inputs]] = {}
        whole = len(self.sources)
        # A batch's links are taken out of the graph: a larger share than a quarter would leave another graph.
        self.per_step = max(1, min(config.batch_links, whole // (4 * world) or 1))
        self.steps = whole // (self.per_step * world)
        self._valid = _sample(graph, config)
        self._known = told_graph(graph)
        self._epoch = 0

    def batches(self, epoch: int) -> Iterator[Batch]:
        """See ``Task``."""
        shuffled = np.random.default_rng([self.config.optimizer.seed, epoch])
        order = shuffled.permutation(len(self.sources))
        turned = shuffled.random(len(order)) < 0.5
        rng = np.random.default_rng([self.config.optimizer.seed, epoch, self.rank])
        sampler = self._subgraphs.sampler(self.config.optimizer.seed, epoch, self.rank) if self.sampled else None
        together = self.per_step * self.world
        for step in range(self.steps):
            every = order[step * together : (step + 1) * together]
            a, b = self.sources[every], self.targets[every]
            heads, pool = np.where(turned[every], b, a), np.where(turned[every], a, b)
            mine = slice(self.rank * self.per_step, (self.rank + 1) * self.per_step)
            sources, targets = heads[mine], pool[mine]
            drawn = self.negatives.draw(sources, targets, self.relation[every[mine]], pool, rng)
            entries = self._entries[:, every].ravel() if sampler is None else np.zeros(0, np.int64)
            batch = Batch.of(sources, targets, drawn, entries)
            yield batch if sampler is None else self._within(batch, sampler, np.stack([a, b]))

    def _within(self, batch: Batch, sampler: "NeighborSampler", links: np.ndarray) -> Batch:
        """The batch in the local numbers of a subgraph without its links."""
        ends = (batch.sources, batch.targets, batch.candidates)
        wanted, place = np.unique(torch.cat(ends).numpy(), return_inverse=True)
        sources, targets, candidates = torch.split(torch.from_numpy(place), [len(part) for part in ends])
        around = self._subgraphs.around(sampler, wanted, links)
        return replace(batch, sources=sources, targets=targets, candidates=candidates, around=around)

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """See ``Task``."""
        around = batch.around
        if around is not None:
            states, scale = model(around.inputs, around, around.weight_E, around.degrees_N)
        else:
            links, inputs = self._on(batch.sources.device)
            kept = torch.ones(len(links.indices_E), device=batch.sources.device)
            kept[batch.entries] = 0
            gone = torch.bincount(links.rows_E[batch.entries], minlength=len(links.degrees_N))
            states, scale = model(inputs, links, kept, links.degrees_N - gone)
        return negatives_loss(
            states[batch.sources].float(),
            states[batch.targets].float(),
            states[batch.candidates].float(),
            scale,
            batch.log_chance,
            batch.own_log_chance,
            batch.masked,
            self.config.negatives.loss,
        )

    def judge(self, model: nn.Module) -> Figures:
        """Filtered MRR of the cosines of a fixed sample of validation links, both ways; mines near misses anew."""
        assert isinstance(model, LinkModel)
        states = self._states(model)
        self._epoch += 1
        if self.config.negatives.hard and self._epoch % self.config.negatives.mine_every == 0:
            self.negatives.mined = near_misses(states, self.graph, NEAR_MISSES)
        if not len(self._valid[0]):
            return {"score": float(self._epoch)}
        together = max(1, min(256, SCORES_AT_ONCE // len(states)))
        ranks = link_ranks(cosine(states), *both_directions(*self._valid), self._known, together)
        mrr = link_metrics(ranks)["mrr"]
        return {"score": mrr, "valid_mrr": round(mrr, 5)}

    def groups(self) -> list[dict[str, Any]]:
        """The learned vectors decay faster than all else."""
        names = ("table_NW", "words_TW")
        table = [weights for name, weights in self.model.named_parameters() if name in names]
        others = [weights for name, weights in self.model.named_parameters() if name not in names]
        groups: list[dict[str, Any]] = [{"params": others}]
        return groups + ([{"params": table, "weight_decay": self.config.model.table_decay}] if table else [])

    def state(self) -> dict[str, Tensor]:
        """Near misses, and how often they were looked for."""
        mined = self.negatives.mined
        return {"epoch": torch.tensor(self._epoch), **({} if mined is None else {"mined": torch.from_numpy(mined)})}

    def load(self, state: dict[str, Tensor]) -> None:
        """Put back what ``state`` gave."""
        self._epoch = int(state["epoch"])
        self.negatives.mined = state["mined"].numpy() if "mined" in state else None

    def states(self) -> np.ndarray:
        """States of all documents over every link of the task's graph: float32 (N, W)."""
        return self._states(self.model)

    def _states(self, model: LinkModel) -> np.ndarray:
        if self.sampled:
            return states_over(model, self.documents, self.graph)
        found: np.ndarray = all_states(model, *self._here()).cpu().numpy()
        return found

    @cached_property
    def _entries(self) -> np.ndarray:
        """Both entries of each training link in the adjacency, int64 (2, L)."""
        return Links(self.graph).entries(self.sources, self.targets)

    @cached_property
    def _subgraphs(self) -> Subgraphs:
        return Subgraphs(
            self.graph,
            self.model,
            self.documents.vectors,
            self.documents.words,
            self.config.sampling.neighbours,
            relation_of_entries(self.documents, self.graph) if self.config.model.encoder == "rgcn" else None,
        )

    def _here(self) -> tuple[Inputs, LinkTensors]:
        links, inputs = self._on(next(self.model.parameters()).device)
        return inputs, links

    def _on(self, device: torch.device) -> tuple[LinkTensors, Inputs]:
        if device not in self._tensors:
            kinds = relation_of_entries(self.documents, self.graph)
            inputs = inputs_of(self.model, self.documents.vectors, self.documents.words, device)
            self._tensors[device] = (LinkTensors(self.graph, device, kinds), inputs)
        return self._tensors[device]


def training_pairs(graph: GraphArtifact, hidden: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each pair of documents with a training link once, and the first of its relations: int64 (L,) three times."""
    n = len(graph.ids)
    chosen = (graph.split == 0) & (graph.pairs[:, 0] != graph.pairs[:, 1])
    pairs = graph.pairs[chosen]
    codes, first = np.unique(np.minimum(*pairs.T).astype(np.int64) * n + np.maximum(*pairs.T), return_index=True)
    sources, targets, relation = codes // n, codes % n, graph.relation[chosen][first].astype(np.int64)
    kept = slice(None) if hidden is None else ~hidden
    return sources[kept], targets[kept], relation[kept]


def told_graph(graph: GraphArtifact) -> Graph:
    """Graph of the training and validation links: what may be known where something is chosen; test links are not."""
    sources, targets = (np.concatenate(ends) for ends in zip(graph.links("train"), graph.links("valid"), strict=True))
    return Graph.from_pairs(sources, targets, len(graph.ids))


def _sample(graph: GraphArtifact, config: TrainConfig) -> tuple[np.ndarray, np.ndarray]:
    sources, targets = unordered_pairs(*graph.links("valid"))
    chosen = np.random.default_rng(config.optimizer.seed).permutation(len(sources))[: config.valid_links]
    return sources[chosen], targets[chosen]
