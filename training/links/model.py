"""The link model: graph attention over text vectors, and a scorer of pairs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from data.files import whole_or_absent
from training.links.config import TrainConfig
from training.links.features import FEATURES

# Letters at the end of tensor names: N nodes, E edges, S sources, C candidates, P pairs, D text width, H hidden width,
# K views, V width of a view, F pair features, R relations.


class ModelShape(BaseModel):
    """Everything needed to build a model before its weights are loaded."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dim: int | None  # width of the text vectors; None: features only, without a node encoder
    hidden: int
    layers: int
    heads: int
    views: int
    dropout: float
    relations: tuple[str, ...]
    features: tuple[str, ...] = FEATURES  # the pair features it sees

    @classmethod
    def of(
        cls, config: TrainConfig, dim: int | None, relations: tuple[str, ...], features: tuple[str, ...] = FEATURES
    ) -> "ModelShape":
        """Shape of the model that a run file asks for."""
        chosen: dict[str, Any] = config.model_dump(include={"hidden", "layers", "heads", "views", "dropout"})
        return cls(dim=dim, relations=relations, features=features, **chosen)


class NodeEncoder(nn.Module):
    """GATv2 layers over text vectors, each with a residual, LayerNorm and dropout; unit vectors come out.

    GATv2: Brody, Alon and Yahav, "How Attentive are Graph Attention Networks?", ICLR 2022.

    Args:
        shape: dimensions; ``dim`` must be set.
    """

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        from torch_geometric.nn import GATv2Conv

        assert shape.dim is not None
        per_head = shape.hidden // shape.heads
        self.views = shape.views
        self.dropout = shape.dropout
        self.enter = nn.Linear(shape.dim, shape.hidden)
        self.layers = nn.ModuleList(
            GATv2Conv(shape.hidden, per_head, shape.heads, add_self_loops=False) for _ in range(shape.layers)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(shape.hidden) for _ in range(shape.layers))
        self.leave = nn.Linear(shape.hidden + shape.dim, shape.hidden)

    def forward(self, text_ND: Tensor, edges_2E: Tensor, reach: Sequence[tuple[int, int]] | None = None) -> Tensor:
        """Views of every node, or of the seeds of a sampled subgraph.

        Args:
            text_ND: float32 text vectors.
            edges_2E: int64, local node numbers, source above target, without loops: they are added here.
            reach: for a sampled subgraph, after 0, 1, ... hops, how many leading nodes and edges are within reach. The
                last layer then computes the seeds alone, the one before it their neighbours too, and so on.

        Returns:
            float32 (N, K, V), or (seeds, K, V); unit length along V.
        """
        everything = (len(text_ND), edges_2E.shape[1])
        reach = reach if reach is not None else [everything] * (len(self.layers) + 1)
        hidden_NH = self.enter(text_ND)
        for number, (layer, norm) in enumerate(zip(self.layers, self.norms, strict=True)):
            hop = len(self.layers) - number
            targets, edges = reach[hop - 1][0], reach[hop][1]
            loops = torch.arange(targets, device=edges_2E.device).expand(2, -1)
            before_NH = hidden_NH[:targets]
            attended_NH = layer((hidden_NH[: reach[hop][0]], before_NH), torch.cat([edges_2E[:, :edges], loops], dim=1))
            hidden_NH = self.step(norm, before_NH, attended_NH)
        return self.project(hidden_NH, text_ND[: len(hidden_NH)])

    def step(self, norm: nn.Module, before_NH: Tensor, attended_NH: Tensor) -> Tensor:
        """What follows the attention of one layer: activation, dropout, residual, norm."""
        change_NH = functional.dropout(functional.elu(attended_NH), self.dropout, self.training)
        normed_NH: Tensor = norm(before_NH + change_NH)
        return normed_NH

    def project(self, hidden_NH: Tensor, text_ND: Tensor) -> Tensor:
        """Unit views of the last layer's state beside the text itself: (N, K, V)."""
        flat_NH = self.leave(torch.cat([hidden_NH, text_ND], dim=1))
        return functional.normalize(flat_NH.unflatten(1, (self.views, -1)), dim=2)


class LinkModel(nn.Module):
    """Scores pairs of documents from their views and the features of the pair; names the relation of a link.

    Without a node encoder (``shape.dim`` is None) it is a network over pair features, trained by the same code: the
    feature-only baseline, or the ablation, by the features it sees.
    """

    feature_mean_F: Tensor
    feature_std_F: Tensor

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.shape = shape
        self.nodes = NodeEncoder(shape) if shape.dim is not None else None
        views = shape.views if self.nodes is not None else 0
        self.pair = nn.Sequential(
            nn.Linear(len(shape.features) + views, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 1)
        )
        self.view_weights_K = nn.Parameter(torch.ones(views)) if views else None
        # A relation head with one class has nothing to learn, and unused parameters stall data-parallel training.
        has_relations = self.nodes is not None and len(shape.relations) > 1
        self.relation = nn.Linear(2 * shape.hidden, len(shape.relations)) if has_relations else None
        self.register_buffer("feature_mean_F", torch.zeros(len(shape.features)))
        self.register_buffer("feature_std_F", torch.ones(len(shape.features)))

    def forward(
        self, text_ND: Tensor, edges_2E: Tensor, sources_S: Tensor, candidates_C: Tensor, positive_S: Tensor,
        features_FSC: Tensor, reach: Sequence[tuple[int, int]] | None = None,
    ) -> tuple[Tensor, Tensor | None]:  # fmt: skip
        """Training step: logits of every source with every candidate, and relation logits of the positives.

        Args:
            text_ND: text vectors of the sampled subgraph.
            edges_2E: its edges, without this batch's own links.
            sources_S: local numbers of the sources.
            candidates_C: local numbers of the candidates.
            positive_S: for each source, the place of its true target among the candidates.
            features_FSC: pair features.
            reach: of the subgraph, as in ``NodeEncoder``.

        Returns:
            Logits (S, C), and (S, R) or None.
        """
        if self.nodes is None:
            return self.score(None, None, features_FSC), None
        views_NKV = self.nodes(text_ND, edges_2E, reach)
        source_SKV, candidate_CKV = views_NKV[sources_S], views_NKV[candidates_C]
        logits_SC = self.score(source_SKV, candidate_CKV, features_FSC)
        if self.relation is None:
            return logits_SC, None
        return logits_SC, self.relate(source_SKV, candidate_CKV[positive_S])

    def score(self, source_SKV: Tensor | None, candidate_CKV: Tensor | None, features_FSC: Tensor) -> Tensor:
        """Logits (S, C) of all sources with all candidates."""
        similarity_KSC = None
        if source_SKV is not None and candidate_CKV is not None:
            similarity_KSC = torch.matmul(source_SKV.permute(1, 0, 2), candidate_CKV.permute(1, 2, 0))
        return self._combine(similarity_KSC, features_FSC)

    def score_pairs(self, source_PKV: Tensor | None, target_PKV: Tensor | None, features_FP: Tensor) -> Tensor:
        """Logits (P,) of single pairs."""
        similarity_KP = None
        if source_PKV is not None and target_PKV is not None:
            similarity_KP = (source_PKV * target_PKV).sum(2).T
        return self._combine(similarity_KP, features_FP)

    def _combine(self, similarity: Tensor | None, features: Tensor) -> Tensor:
        shape = (-1,) + (1,) * (features.dim() - 1)
        inputs = (self.seen(features) - self.feature_mean_F.view(shape)) / self.feature_std_F.view(shape)
        direct: Tensor | float = 0.0
        if similarity is not None and self.view_weights_K is not None:
            inputs = torch.cat([inputs, similarity])
            direct = (self.view_weights_K.view(shape) * similarity).sum(0)
        logits: Tensor = self.pair(inputs.movedim(0, -1)).squeeze(-1) + direct
        return logits

    def seen(self, features: Tensor) -> Tensor:
        """The planes of all ``FEATURES`` that this model looks at."""
        if self.shape.features == FEATURES:
            return features
        return features[[FEATURES.index(name) for name in self.shape.features]]

    def relate(self, source_PKV: Tensor, target_PKV: Tensor) -> Tensor:
        """Relation logits (P, R) of directed pairs."""
        assert self.relation is not None
        logits_PR: Tensor = self.relation(torch.cat([source_PKV.flatten(1), target_PKV.flatten(1)], dim=1))
        return logits_PR


@torch.inference_mode()
def encode_all_nodes(
    encoder: NodeEncoder, text_ND: Tensor, indptr: Tensor, indices: Tensor, chunk: int = 8192
) -> Tensor:
    """Views of every node from its whole neighbourhood, a layer at a time over chunks of nodes.

    Layer-wise inference: memory holds two layers' states and one chunk's edges, however deep the model is.

    Args:
        encoder: in evaluation mode.
        text_ND: float32 text vectors of all n nodes.
        indptr: int64 (n + 1,), of the graph in CSR form.
        indices: int64 (m,), without loops: they are added here.
        chunk: nodes computed at once.

    Returns:
        float32 (N, K, V).
    """
    hidden_NH = encoder.enter(text_ND)
    for layer, norm in zip(encoder.layers, encoder.norms, strict=True):
        after = []
        for start in range(0, max(1, len(hidden_NH)), chunk):
            stop = min(start + chunk, len(hidden_NH))
            sources = indices[indptr[start] : indptr[stop]]
            targets = torch.repeat_interleave(
                torch.arange(stop - start), indptr[start + 1 : stop + 1] - indptr[start:stop]
            )
            own = torch.arange(start, stop)
            needed, local = torch.unique(torch.cat([own, sources]), return_inverse=True)
            edges_2E = torch.stack([local, torch.cat([own - start, targets])])
            attended_NH = layer((hidden_NH[needed], hidden_NH[start:stop]), edges_2E)
            after.append(encoder.step(norm, hidden_NH[start:stop], attended_NH))
        hidden_NH = torch.cat(after)
    return encoder.project(hidden_NH, text_ND)


def save_model(model: LinkModel, path: Path) -> None:
    """Write a model's weights with its shape in the file's header; whole or absent."""
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    with whole_or_absent(path) as unfinished:
        save_file(weights, unfinished, metadata={"shape": model.shape.model_dump_json()})


def load_model(path: Path) -> LinkModel:
    """Read a model written by ``save_model``."""
    with safe_open(path, framework="pt") as file:
        shape = ModelShape.model_validate_json(file.metadata()["shape"])
    model = LinkModel(shape)
    model.load_state_dict(load_file(path))
    return model
