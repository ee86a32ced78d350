"""The network that ranks capabilities: a key of each, a question of each intent, and both folded to what is served.

A capability's state is its text, a learned vector, its place in the graph where that is wanted, and what its tools and
its group tell it. Of a capability with tools its own learned vector counts only a share: what is learned is learned of
the tools first, and all that use them know it. Each head maps states and intents; before training all maps of a head
are one rotation, learned vectors and gates are zero, and so its scores are the cosine of both texts times a constant.

Shapes: B intents, C capabilities, T tools, D dimensions of texts, H heads, S dimensions of structure, F features, V
views of them, each of another time.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from data.matrices import orthonormal_columns, unit_rows
from evaluation.intent_calibration import NOT_CALIBRATED
from training.ranking.config import NetworkConfig
from training.ranking.experience import Experience, Floats
from training.ranking.hypergraph import ConvRound, Round
from training.ranking.served import CapabilityRanker
from training.structure.node2vec import Node2Vec, node2vec

KIND = "hypergraph"
LEAST_DEVIATION = 0.1  # of a feature: all are rates from 0 to 1, or logarithms
WEIGHTS, NUMBERED = "network.safetensors", "network.json"


class CapabilityNetwork(nn.Module):
    """States, maps and weights.

    Args:
        experience: catalogue and vectors; nothing of its traces but which features there are.
        config: of the network.
        seed: of its rotations, and of node2vec.
    """

    text: Tensor
    uses: Tensor
    parts: Tensor
    can_run: Tensor
    own: Tensor
    features: Tensor
    views: Tensor
    structure: Tensor
    structure_map: Tensor
    mixture: Tensor

    def __init__(self, experience: Experience, config: NetworkConfig, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        catalogue, self.config = experience.catalogue, config
        tools, count, dim = len(catalogue.tools), len(catalogue), experience.capabilities.shape[1]
        self.tools = tools
        text = torch.from_numpy(np.concatenate([experience.tools, experience.capabilities]).astype(np.float32))
        self.register_buffer("text", text, persistent=False)
        uses = np.column_stack([catalogue.members, catalogue.users])
        children = np.flatnonzero(catalogue.parent >= 0)
        parts = np.column_stack([children, catalogue.parent[children]])
        self.register_buffer("uses", torch.from_numpy(uses), persistent=False)
        self.register_buffer("parts", torch.from_numpy(parts), persistent=False)
        self.register_buffer("can_run", torch.from_numpy(catalogue.can_run), persistent=False)
        deviations = _deviations(experience)
        for name, values in (("features", experience.past.now), ("views", experience.past.views)):
            standard = np.ascontiguousarray(values / deviations, np.float32)  # their means would move all scores alike
            self.register_buffer(name, torch.from_numpy(standard), persistent=False)
        self.table = nn.Parameter(torch.zeros(tools + count, dim)) if config.table else None
        self.dropout = nn.Dropout(config.dropout)
        own = np.ones((tools + count, 1), np.float32)
        if config.messages != "none":
            own[tools:][np.diff(catalogue.indptr) > 0] = config.own_share
        self.register_buffer("own", torch.from_numpy(own), persistent=False)
        rotations = np.stack([orthonormal_columns(dim, dim, seed + head) for head in range(config.heads)])
        start = torch.from_numpy(rotations.astype(np.float32))
        self.intent_maps, self.key_maps = nn.Parameter(start), nn.Parameter(start.clone())
        self.log_scale = nn.Parameter(torch.full((config.heads,), float(np.log(config.scale / config.heads))))
        has_context = len(experience.traces.context.values) > 0
        self.context_maps = nn.Parameter(torch.zeros_like(start)) if has_context else None
        self.feature_weights = nn.Parameter(torch.zeros(self.features.shape[1]))
        self.threshold = nn.Parameter(torch.tensor(config.scale / 2))  # score at which success and failure are even
        self.rounds = nn.ModuleList(_rounds(config, dim, grouped=len(parts) > 0))
        self._structure_of(experience, seed)

    def _structure_of(self, experience: Experience, seed: int) -> None:
        """Vectors of the graph's nodes, and how they enter."""
        config, dim = self.config, self.text.shape[1]
        if config.structure == "none":
            return
        graph = experience.catalogue.graph()
        width = min(config.structure_dim, dim)
        made = node2vec(graph, Node2Vec(dim=width, walks=40, length=5, seed=seed))
        directions = orthonormal_columns(dim, width, seed).astype(np.float32).T
        self.register_buffer("structure", torch.from_numpy(unit_rows(made)), persistent=False)
        if config.structure == "concatenated":
            self.structure_map = nn.Parameter(torch.zeros(width, dim))
            return
        self.register_buffer("structure_map", torch.from_numpy(directions.copy()), persistent=False)
        weights = torch.tensor([config.text_weight, config.structure_weight])
        if config.structure == "learned":
            self.mixture = nn.Parameter(torch.tensor([1.0, 0.0]))
        else:
            self.register_buffer("mixture", weights, persistent=False)

    def inputs(self) -> Tensor:
        """States of tools, then capabilities, before any message: (T + C, D)."""
        states = self.text
        if self.config.structure == "concatenated":
            states = states + self.structure @ self.structure_map
        elif self.config.structure != "none":
            states = self.mixture[0] * states + self.mixture[1] * (self.structure @ self.structure_map)
        return states if self.table is None else states + self.dropout(self.table * self.own)

    def states(self) -> Tensor:
        """States of capabilities after all messages, (C, D)."""
        return self._after(self.inputs())

    def _after(self, before: Tensor) -> Tensor:
        tool_TD, capability_CD = before[: self.tools], before[self.tools :]
        for one in self.rounds:
            tool_TD, capability_CD = one(tool_TD, capability_CD, self.text, self.uses, self.parts)
        return capability_CD

    def keys(self) -> Tensor:
        """Keys of capabilities, (C, H D)."""
        return self.states() @ _side_by_side(self.key_maps * torch.exp(self.log_scale)[:, None, None])

    def queries(self, intents_BD: Tensor, context_BD: Tensor | None = None) -> Tensor:
        """Questions of intents, (B, H D): each head of unit length."""
        mapped = intents_BD @ _side_by_side(self.intent_maps)
        if self.context_maps is not None and context_BD is not None:
            mapped = mapped + context_BD @ _side_by_side(self.context_maps)
        return nn.functional.normalize(mapped.view(len(mapped), self.config.heads, -1), dim=-1).flatten(1)

    def forward(
        self,
        intents_BD: Tensor,
        context_BD: Tensor | None = None,
        wanted_K: Tensor | None = None,
        view_B: Tensor | None = None,
    ) -> Tensor:
        """Scores of all capabilities, or of those wanted: (B, C) or (B, K); minus infinity for what cannot run.

        Args:
            intents_BD: vectors.
            context_BD: mean vectors of the tools at hand.
            wanted_K: numbers of capabilities.
            view_B: which view of the past each intent sees; that of now where None.
        """
        keys, can_run = self.keys(), self.can_run
        features = self.features[None] if view_B is None else self.views
        if wanted_K is not None:
            keys, features, can_run = keys[wanted_K], features[:, wanted_K], can_run[wanted_K]
        prior_VC = features @ self.feature_weights
        scores = self.queries(intents_BD, context_BD) @ keys.T + (prior_VC if view_B is None else prior_VC[view_B])
        return scores.masked_fill(~can_run, -torch.inf)

    @torch.no_grad()
    def message_share(self) -> float:
        """Share of capabilities' states that messages make: mean of |after - before| / |after|, 0 to about 1."""
        states = self.inputs()
        before, after = states[self.tools :], self._after(states)
        return float(((after - before).norm(dim=1) / after.norm(dim=1).clamp(min=1e-12))[self.can_run].mean())

    @torch.no_grad()
    def ranker(self, experience: Experience, version: str, about: dict[str, Any]) -> CapabilityRanker:
        """The same scores in the form that is served; not calibrated yet."""
        self.eval()
        weights = (self.feature_weights.cpu().numpy() / _deviations(experience)).astype(np.float32)
        return ranker_over(
            experience,
            kind=KIND,
            version=version,
            intent_map=_array(_side_by_side(self.intent_maps)),
            context_map=None if self.context_maps is None else _array(_side_by_side(self.context_maps)),
            keys=_array(self.keys()),
            heads=self.config.heads,
            feature_weights=weights,
            about=about,
        )

    def save(self, folder: Path, experience: Experience) -> None:
        """Write the weights, and which row of the learned vectors belongs to whom."""
        save_file({name: weights.contiguous() for name, weights in self.state_dict().items()}, folder / WEIGHTS)
        catalogue = experience.catalogue
        told = {
            "config": self.config.model_dump(mode="json"),
            "tools": catalogue.tools,
            "capabilities": catalogue.capabilities,
        }
        (folder / NUMBERED).write_text(json.dumps(told, ensure_ascii=False))

    def start_from(self, folder: Path, experience: Experience) -> bool:
        """Take the weights of an earlier network; learned vectors go to the same tools and capabilities, by their ids.

        What the earlier one had no weights for, such as messages of groups where there were none, starts untrained.

        Returns:
            Whether there is one that fits: another width, other heads or other messages do not.
        """
        if not (folder / WEIGHTS).exists():
            return False
        told, weights = json.loads((folder / NUMBERED).read_text()), load_file(folder / WEIGHTS)
        if told["config"] != self.config.model_dump(mode="json"):
            return False
        if self.table is not None:
            weights["table"] = self._rows_of(weights["table"], told, experience)
        own = self.state_dict()
        known = {name: weights[name] for name in own if name in weights}
        if any(own[name].shape != weights[name].shape for name in known):
            return False
        self.load_state_dict(own | known)
        return True

    def _rows_of(self, table: Tensor, told: dict[str, Any], experience: Experience) -> Tensor:
        catalogue, rows = experience.catalogue, torch.zeros_like(self.state_dict()["table"])
        before = {("tool", id_): row for row, id_ in enumerate(told["tools"])}
        before |= {("capability", id_): len(told["tools"]) + row for row, id_ in enumerate(told["capabilities"])}
        now = [("tool", id_) for id_ in catalogue.tools] + [("capability", id_) for id_ in catalogue.capabilities]
        pairs = [(row, before[key]) for row, key in enumerate(now) if key in before]
        if pairs:
            here, there = (torch.tensor(column) for column in zip(*pairs, strict=True))
            rows[here] = table[there]
        return rows


def ranker_over(experience: Experience, **learned: Any) -> CapabilityRanker:  # noqa: ANN401 - fields of the ranker
    """What was learned, over the catalogue and the encoder of an experience; not calibrated yet."""
    catalogue = experience.catalogue
    return CapabilityRanker(
        capabilities=catalogue.capabilities,
        texts=catalogue.texts,
        metadata=catalogue.metadata,
        can_run=catalogue.can_run,
        tools=catalogue.tools,
        tool_vectors=np.asarray(experience.tools, np.float32),
        fingerprint=experience.fingerprint,
        features=experience.features,
        calibrator=NOT_CALIBRATED,
        **learned,
    )


def contexts_of(experience: Experience, numbers: np.ndarray) -> Floats | None:
    """Mean vector of the tools at hand of some traces, float32 (n, D); None where no trace names any."""
    lists = experience.traces.context
    if not len(lists.values):
        return None
    taken = lists.take(numbers)
    owner = np.repeat(np.arange(len(numbers)), np.diff(taken.indptr))
    known = taken.values >= 0
    sums = np.zeros((len(numbers), experience.tools.shape[1]), np.float32)
    np.add.at(sums, owner[known], experience.tools[taken.values[known]])
    counts = np.maximum(np.bincount(owner[known], minlength=len(numbers)), 1).astype(np.float32)
    return np.asarray(sums / counts[:, None], np.float32)


def _rounds(config: NetworkConfig, dim: int, grouped: bool) -> Sequence[nn.Module]:
    if config.messages == "none":
        return []
    lasts = [number + 1 == config.layers for number in range(config.layers)]
    if config.messages == "hypergraph_conv":
        return [ConvRound(dim, last) for last in lasts]
    heads = config.attention_heads if config.messages == "attention" else None
    return [Round(dim, heads, last, grouped) for last in lasts]


def _side_by_side(maps_HDE: Tensor) -> Tensor:
    """Maps of the heads as one matrix, (D, H E): one product is faster than one a head."""
    return maps_HDE.permute(1, 0, 2).flatten(1)


def _array(tensor: Tensor) -> Floats:
    return np.ascontiguousarray(tensor.detach().cpu().numpy())


def _deviations(experience: Experience) -> Floats:
    """By which features are divided, float32 (F,): never by little.

    Where nothing has failed yet, success rates are all nearly 1. Divided by their tiny deviation, the first failure on
    line would be an outlier without bounds, times a weight that was learned of noise.
    """
    return np.asarray(np.maximum(experience.past.now.std(axis=0), LEAST_DEVIATION), np.float32)
