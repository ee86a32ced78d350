"""States of documents: what they are, a learned vector each, and what their neighbours are.

A graph autoencoder with linear propagation (Ma, Wang, Wang and Zhang, "Reconsidering the Performance of GAE in Link
Prediction", 2024) by default; convolutions of PyTorch Geometric as choices.

Shapes: N documents, E entries of the adjacency, I inputs, W width of a state.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from pydantic import BaseModel, ConfigDict
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from data.errors import InputError
from data.files import whole_or_absent
from training.links.config import NodesConfig
from training.links.dropping import drop
from training.links.inputs import Inputs, LinkTensors
from training.links.propagation import Adjacency, propagate, sum_words

_MIX = (1.0, 0.7, 0.5, 0.35, 0.25, 0.2, 0.15)  # first weights of a state after 0, 1, ... steps
_TABLE_NORM = 0.05
_HOTTEST = 5.0  # largest logarithm of the factor of the cosines


class Shape(BaseModel):
    """Everything needed to build a model before its weights are loaded."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    nodes: int
    text: int  # floats of a document's vector
    words: int  # dimensions of its words
    terms: int  # that the words are made of
    walked: int = 0  # dimensions of vectors from walks over the links
    relations: tuple[str, ...]
    config: NodesConfig


class LinkModel(nn.Module):
    """States of all documents of a graph; unit length.

    Args:
        shape: sizes.
    """

    words_map_TV: Tensor
    walked_ND: Tensor | None

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape, config = shape, shape.config
        width = config.width
        self.temperature = nn.Parameter(torch.tensor([math.log(config.temperature)]))  # shards have no scalars
        inputs = (shape.text if config.text else 0) + shape.words + shape.walked
        self.enter = nn.Linear(inputs, width, bias=False) if inputs else None
        if self.enter is not None:
            nn.init.normal_(self.enter.weight, std=width**-0.5)
        self.table_NW = nn.Parameter(_orthonormal(shape.nodes, width)) if config.table else None
        learned = config.word_table and shape.terms
        self.words_TW = nn.Parameter(torch.randn(shape.terms, width) * _TABLE_NORM / width**0.5) if learned else None
        self.convolutions = nn.ModuleList(_convolution(config, len(shape.relations)) for _ in range(config.steps))
        linear = config.encoder == "linear"
        self.mix = nn.Parameter(torch.tensor(_MIX[: config.steps + 1])) if linear else None
        self.leave = nn.Linear(width, width, bias=False)
        nn.init.eye_(self.leave.weight)
        self.register_buffer("words_map_TV", torch.zeros(shape.terms if shape.words else 0, shape.words))
        self.register_buffer("walked_ND", torch.zeros(shape.nodes, shape.walked) if shape.walked else None)

    def forward(self, inputs: Inputs, links: Adjacency, kept_E: Tensor, degrees_N: Tensor) -> tuple[Tensor, Tensor]:
        """States of documents, and the factor of their cosines.

        Args:
            inputs: of all documents, or of those of a sample.
            links: the graph, or the sample.
            kept_E: float32, weight of each entry of the adjacency: 1 where it may be passed along, 0 for the batch's
                own links; in a sample, how many links it stands for.
            degrees_N: float32, links that are left of each document.

        Returns:
            float32 (N, W), unit length; of a sample, the states of what it was drawn around. And a scalar. Both come
            from this call: only in it are the weights of a sharded model whole.
        """
        state_NW, config = self.start(inputs), self.shape.config
        if config.encoder == "linear":
            assert self.mix is not None
            state_NW = propagate(state_NW, self.mix, kept_E, degrees_N, links)
        elif config.encoder != "none":
            for step in range(1, config.steps + 1):
                reach = links.reach(step)
                entries = torch.nonzero(kept_E[: reach.entries]).squeeze(1)
                edges_2E = torch.stack([links.indices_E[entries], links.rows_E[entries]])
                state_NW = self.convolve(step, state_NW, state_NW[: reach.rows], edges_2E, links.relation_E[entries])
        return self.finish(state_NW), self.temperature.clamp(max=_HOTTEST).exp().sum()

    def convolve(self, step: int, from_NW: Tensor, to_RW: Tensor, edges_2E: Tensor, kinds_E: Tensor) -> Tensor:
        """States of R documents after a convolution: float32 (R, W).

        Args:
            step: which, the first being 1.
            from_NW: states of the documents that edges come from.
            to_RW: states of the documents that they go to.
            edges_2E: int64, places in both.
            kinds_E: int64, their relations.
        """
        config, layer = self.shape.config, self.convolutions[step - 1]
        ends = (from_NW, to_RW)
        passed = layer(ends, edges_2E, kinds_E) if config.encoder == "rgcn" else layer(ends, edges_2E)
        return to_RW + functional.dropout(functional.elu(passed), config.dropout, self.training)

    def finish(self, state_NW: Tensor) -> Tensor:
        """What leaves the model after the last step: unit length."""
        return functional.normalize(self.leave(state_NW), dim=1)

    def start(self, inputs: Inputs) -> Tensor:
        """States before anything is passed along: the map of the inputs, and the learned vectors.

        Documents beyond the table, which were not trained on, have no vector in it.
        """
        config = self.shape.config
        state: Tensor | None = None
        if self.table_NW is not None:
            state = _rows(self.table_NW, inputs.nodes_N, len(inputs.dense_NI))
            if self.training and config.drop_rows:
                state = state * (torch.rand(len(state), 1, device=state.device) >= config.drop_rows)
        if self.enter is not None:
            mapped = self.enter(inputs.dense_NI)
            state = mapped if state is None else state + mapped
        if self.words_TW is not None and inputs.words is not None:
            summed = sum_words(self.words_TW, inputs.words)
            state = summed if state is None else state + summed
        assert state is not None
        return drop(state.float(), config.dropout, self.training)


@torch.no_grad()
def all_states(model: LinkModel, inputs: Inputs, links: LinkTensors) -> Tensor:
    """States of all documents with every link of the graph; float32 (N, W), on the model's device."""
    kept_E = torch.ones(len(links.indices_E), device=links.indices_E.device)
    states, _ = model.eval()(inputs, links, kept_E, links.degrees_N)
    found: Tensor = states.float()
    return found


def inputs_of(
    model: LinkModel,
    vectors: np.ndarray,
    words: sp.csr_matrix | None,
    device: torch.device | str = "cpu",
    nodes: np.ndarray | None = None,
) -> Inputs:
    """What the model reads of documents: their text vectors, their words, and where walks met those trained on.

    Args:
        model: whose inputs are wanted.
        vectors: float32 (N, dim).
        words: float32 (N, terms), or None.
        device: where the tensors go.
        nodes: int64 (n,), the rows that are wanted; all where None.
    """
    rows = None if nodes is None else torch.from_numpy(nodes)
    if nodes is not None:
        vectors, words = vectors[nodes], None if words is None else words[nodes]
    parts = [torch.from_numpy(np.require(vectors, np.float32, "W"))] if model.shape.config.text else []
    if model.shape.words:
        assert words is not None
        parts.append(torch.from_numpy(np.asarray(words @ model.words_map_TV.cpu().numpy(), np.float32)))
    if model.walked_ND is not None:
        parts.append(_rows(model.walked_ND.cpu(), rows, len(vectors)))
    dense = parts[0] if len(parts) == 1 else torch.cat(parts, 1) if parts else torch.zeros(len(vectors), 0)
    return Inputs(dense, words if model.words_TW is not None else None, device, rows)


def _rows(table: Tensor, nodes: Tensor | None, count: int) -> Tensor:
    """Rows of a table that has one for each document trained on, 0 for those beyond it.

    Args:
        table: float32 (N, W).
        nodes: int64 (n,), the rows wanted; None for the first ``count``.
        count: n.
    """
    if nodes is None:
        return functional.pad(table, (0, 0, 0, count - len(table))) if count > len(table) else table
    return table[nodes.clamp(max=len(table) - 1)] * (nodes < len(table))[:, None]


def _orthonormal(rows: int, columns: int) -> Tensor:
    """Orthonormal columns (rows where there are fewer of them), scaled to a small norm a row."""
    made = nn.init.orthogonal_(torch.empty(rows, columns))
    scaled: Tensor = made * (_TABLE_NORM * math.sqrt(max(1.0, rows / columns)))
    return scaled


def _convolution(config: NodesConfig, relations: int) -> Any:  # noqa: ANN401 - PyTorch Geometric has no types
    if config.encoder in ("linear", "none"):
        return nn.Identity()
    from torch_geometric.nn import GATv2Conv, RGCNConv, SAGEConv

    if config.encoder == "gatv2":
        return GATv2Conv(config.width, config.width // config.heads, config.heads, add_self_loops=False)
    if config.encoder == "sage":
        return SAGEConv(config.width, config.width)
    return RGCNConv(config.width, config.width, max(1, relations), num_bases=min(8, max(1, relations)))


def save_model(model: LinkModel, path: Path) -> None:
    """Write a model's weights with its shape in the file's header; whole or absent."""
    weights = {name: tensor.contiguous().cpu() for name, tensor in model.state_dict().items()}
    with whole_or_absent(path) as unfinished:
        save_file(weights, unfinished, metadata={"shape": model.shape.model_dump_json()})


def load_model(path: Path) -> LinkModel:
    """Read a model written by ``save_model``.

    Raises:
        InputError: if the file holds another kind of model.
    """
    with safe_open(path, framework="pt") as file:
        header: Mapping[str, Any] = file.metadata() or {}
    if "shape" not in header:
        raise InputError(f"{path} is not a link model", "Give the model.safetensors of a train artifact.")
    model = LinkModel(Shape.model_validate_json(header["shape"]))
    model.load_state_dict(load_file(path))
    return model.eval()
