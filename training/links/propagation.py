"""States that pass along links: the training graph as tensors, without the links of a batch.

Shapes: N documents, E entries of the adjacency (each link twice), W width of a state.
"""

from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor
from torch.nn import functional

from data.graph.graph import Graph


class Links:
    """A graph's links as tensors, and where each link stands among them.

    Args:
        graph: N documents.
    """

    def __init__(self, graph: Graph) -> None:
        self.num_nodes = graph.num_nodes
        self.indices_E = torch.from_numpy(graph.indices.astype(np.int64))
        self.starts_N = torch.from_numpy(graph.indptr[:-1].astype(np.int64))
        self.degrees_N = torch.from_numpy(graph.degrees.astype(np.float32))
        self._codes = np.repeat(np.arange(graph.num_nodes), graph.degrees) * graph.num_nodes + graph.indices

    def entries(self, sources: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Both entries of each link: int64 (L,) twice in, int64 (2L,) out; every link must be in the graph."""
        ahead, back = sources * self.num_nodes + targets, targets * self.num_nodes + sources
        return np.searchsorted(self._codes, np.concatenate([ahead, back]))


def root_degrees(degrees_N: Tensor) -> Tensor:
    """Inverse square roots of degrees, 0 where there is no link: float32 (N,) in, (N, 1) out."""
    return torch.where(degrees_N > 0, degrees_N.clamp(min=1) ** -0.5, torch.zeros_like(degrees_N))[:, None]


def propagate(state_NW: Tensor, kept_E: Tensor, root_N1: Tensor, indices_E: Tensor, starts_N: Tensor) -> Tensor:
    """One step D^-½ A D^-½ x over the links kept, as graph convolutions take it (Kipf and Welling, ICLR 2017).

    Args:
        state_NW: float32 states.
        kept_E: float32, 1 for each entry of the adjacency that is kept, 0 for the batch's own links.
        root_N1: inverse square roots of the degrees that are left.
        indices_E: int64 columns of the adjacency.
        starts_N: int64 start of each row.
    """
    stepped: Tensor = _Propagate.apply(state_NW, kept_E, root_N1, indices_E, starts_N)  # type: ignore[no-untyped-call]
    return stepped


class Words:
    """Words of documents as tensors: which, and how much of each.

    Args:
        words: float32 (N, terms), TF-IDF rows.
        device: where the tensors go.
    """

    def __init__(self, words: sp.csr_matrix, device: torch.device | str = "cpu") -> None:
        self.documents = _bag(words, device)
        self.terms = _bag(words.T.tocsr(), device)


def _bag(matrix: sp.csr_matrix, device: torch.device | str) -> tuple[Tensor, Tensor, Tensor]:
    columns, starts = (torch.from_numpy(part.astype(np.int64)) for part in (matrix.indices, matrix.indptr[:-1]))
    return columns.to(device), starts.to(device), torch.from_numpy(matrix.data.astype(np.float32)).to(device)


def sum_words(vectors_TW: Tensor, words: Words) -> Tensor:
    """Weighted sums of the words' vectors: float32 (terms, W) in, (N, W) out."""
    summed: Tensor = _SumWords.apply(vectors_TW, words)  # type: ignore[no-untyped-call]
    return summed


class _SumWords(torch.autograd.Function):
    """As ``_Propagate``: PyTorch's own gradient of ``embedding_bag`` scatters one word after another."""

    @staticmethod
    def forward(ctx: Any, vectors: Tensor, words: Words) -> Tensor:  # noqa: ANN401
        ctx.words = words
        return _sum(vectors, words.documents)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401
        return _sum(gradients[0], ctx.words.terms), None


def _sum(vectors: Tensor, bag: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    columns, starts, weights = bag
    return functional.embedding_bag(
        columns, vectors.float().contiguous(), starts, mode="sum", per_sample_weights=weights
    )


class _Propagate(torch.autograd.Function):
    """Sums over neighbours by ``embedding_bag``, the fastest such sum in PyTorch on a CPU; its own gradient: A = Aᵀ."""

    @staticmethod
    def forward(ctx: Any, state: Tensor, kept: Tensor, root: Tensor, indices: Tensor, starts: Tensor) -> Tensor:  # noqa: ANN401
        ctx.save_for_backward(kept, root, indices, starts)
        return _step(state, kept, root, indices, starts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None, None]:  # noqa: ANN401
        kept, root, indices, starts = ctx.saved_tensors
        return _step(gradients[0], kept, root, indices, starts), None, None, None, None


def _step(state: Tensor, kept: Tensor, root: Tensor, indices: Tensor, starts: Tensor) -> Tensor:
    if not len(indices):
        return torch.zeros_like(state)
    scaled = (state.float() * root).contiguous()
    summed = functional.embedding_bag(indices, scaled, starts, mode="sum", per_sample_weights=kept)
    return summed * root
