"""States that pass along links: the training graph as tensors, without the links of a batch.

Shapes: N documents, E entries of the adjacency (each link twice; of a sample, one way), R rows that a step computes, W
width of a state.
"""

from dataclasses import dataclass, fields, replace
from typing import Any, Protocol

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
        """Both entries of each link: int64 (L,) twice in, int64 (2, L) out; every link must be in the graph."""
        found = np.empty((2, len(sources)), np.int64)
        for row, (start, end) in zip(found, ((sources, targets), (targets, sources)), strict=True):
            codes = start * self.num_nodes + end
            order = np.argsort(codes)  # looked up in their order, else each look-up misses the processor's caches
            row[order] = np.searchsorted(self._codes, codes[order])
        return found


def root_degrees(degrees_N: Tensor) -> Tensor:
    """Inverse square roots of degrees, 0 where there is no link: float32 (N,) in, (N, 1) out."""
    return torch.where(degrees_N > 0, degrees_N.clamp(min=1) ** -0.5, torch.zeros_like(degrees_N))[:, None]


def sum_neighbours(state_NW: Tensor, weight_E: Tensor, indices_E: Tensor, starts_R: Tensor) -> Tensor:
    """Weighted sums of the states that each row's entries come from: float32 (R, W)."""
    if not len(indices_E):
        return state_NW.new_zeros((len(starts_R), state_NW.shape[1]))
    return functional.embedding_bag(indices_E, state_NW, starts_R, mode="sum", per_sample_weights=weight_E)


@dataclass(frozen=True)
class Turned:
    """The entries of some rows by column, which the way back of a step sums over.

    Shapes:
        rows_E: int64, rows, ascending in each column. starts_N: int64, where each column begins. order_E: int64, place
            of each entry by row.
    """

    rows_E: Tensor
    starts_N: Tensor
    order_E: Tensor

    @classmethod
    def of(cls, indices_E: np.ndarray, starts_R: np.ndarray, columns: int) -> "Turned":
        """The transpose of rows of an adjacency, by counting."""
        bounds = np.append(starts_R, len(indices_E))
        places = sp.csr_matrix((np.arange(len(indices_E)), indices_E, bounds), (len(starts_R), columns)).tocsc()
        numbers = (places.indices, places.indptr[:-1], places.data)
        return cls(*(torch.from_numpy(each.astype(np.int64, copy=False)) for each in numbers))

    def to(self, device: torch.device) -> "Turned":
        """The same on a device."""
        return replace(self, **{field.name: getattr(self, field.name).to(device) for field in fields(self)})


@dataclass(frozen=True)
class Reach:
    """What one step computes: the first rows of an adjacency, from their entries.

    Attributes:
        rows: how many.
        entries: of these rows.
        turned: the same entries by column; None where the adjacency is symmetric and all of it is meant.
    """

    rows: int
    entries: int
    turned: Turned | None = None


class Adjacency(Protocol):
    """Entries of an adjacency that states pass along: of a whole graph, or of a sample of it.

    Attributes:
        indices_E: int64, the document that each entry comes from.
        starts_N: int64, start of each row.
        rows_E: int64, the document that each entry goes to, ascending.
        relation_E: int64.
    """

    indices_E: Tensor
    starts_N: Tensor
    rows_E: Tensor
    relation_E: Tensor

    def reach(self, step: int) -> Reach:
        """What a step computes, the first being 1."""
        ...


def propagate(state_NW: Tensor, mix_K: Tensor, weight_E: Tensor, degrees_N: Tensor, links: Adjacency) -> Tensor:
    """Weighted sum of states after 0, 1, ... steps D^-½ A D^-½ x over the links kept: m_0 x + m_1 Âx + m_2 Â²x + ...

    The step is that of graph convolutions (Kipf and Welling, ICLR 2017), the sum after Ma, Wang, Wang and Zhang (2024).

    Args:
        state_NW: float32 states.
        mix_K: weights of the sum, one more than there are steps.
        weight_E: float32 weight of each entry of the adjacency, which has no gradient: 1 where it is kept, 0 for the
            batch's own links; in a sample, how many links of its row it stands for.
        degrees_N: float32, links that are left of each document.
        links: the entries.

    Returns:
        float32 (R, W), R being the rows that the last step computes.
    """
    reaches = [links.reach(step) for step in range(1, len(mix_K))]
    root_N1 = root_degrees(degrees_N)
    mixed: Tensor = _MixedSteps.apply(  # type: ignore[no-untyped-call]
        state_NW, mix_K, weight_E, root_N1, links.indices_E, links.starts_N, reaches
    )
    return mixed


class Words:
    """Words of documents as tensors: which, and how much of each.

    Args:
        words: float32 (N, terms), TF-IDF rows.
        device: where the tensors go.
    """

    def __init__(self, words: sp.csr_matrix, device: torch.device | str = "cpu") -> None:
        self.documents, self.terms = _bag(words), _bag(words.T.tocsr())
        self.to(device)

    def to(self, device: torch.device | str) -> None:
        """Move the tensors to a device."""
        self.documents, self.terms = (tuple(part.to(device) for part in bag) for bag in (self.documents, self.terms))


def _bag(matrix: sp.csr_matrix) -> tuple[Tensor, ...]:
    columns, starts = (torch.from_numpy(part.astype(np.int64)) for part in (matrix.indices, matrix.indptr[:-1]))
    return columns, starts, torch.from_numpy(matrix.data.astype(np.float32))


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


def _sum(vectors: Tensor, bag: tuple[Tensor, ...]) -> Tensor:
    columns, starts, weights = bag
    return functional.embedding_bag(
        columns, vectors.float().contiguous(), starts, mode="sum", per_sample_weights=weights
    )


class _MixedSteps(torch.autograd.Function):
    """All steps with their own way back, by Aᵀ: of a step it needs only the rows that the sum has."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        state: Tensor,
        mix: Tensor,
        weight: Tensor,
        root: Tensor,
        indices: Tensor,
        starts: Tensor,
        reaches: list[Reach],
    ) -> Tensor:
        rows, now = reaches[-1].rows if reaches else len(state), state.float().contiguous()
        summed, lengths = [_first(now, rows)], [len(now)]
        for reach in reaches:
            near = indices[: reach.entries]
            weighted = weight[: reach.entries] * root[near, 0]
            now = sum_neighbours(now, weighted, near, starts[: reach.rows]).mul_(root[: reach.rows])
            summed.append(_first(now, rows))
            lengths.append(len(now))
        ctx.reaches, ctx.lengths = reaches, lengths
        ctx.save_for_backward(mix, weight, root, indices, starts, *summed)
        total = summed[0] * mix[0]
        for part, factor in zip(summed[1:], mix[1:], strict=True):
            total += part * factor
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        mix, weight, root, indices, starts, *summed = ctx.saved_tensors
        given = gradients[0].float().contiguous()
        d_mix = torch.stack([(part * given).sum() for part in summed]).to(mix.dtype)
        found = given * mix[-1]
        for step in reversed(range(len(ctx.reaches))):
            turned: Turned | None = ctx.reaches[step].turned
            near, begins, kept = (indices, starts, weight) if turned is None else _entries_of(turned, weight)
            found = sum_neighbours(found, kept * root[near, 0], near, begins).mul_(root[: ctx.lengths[step]])
            found[: len(given)] += given * mix[step]
        return found, d_mix, None, None, None, None, None


def _first(state: Tensor, rows: int) -> Tensor:
    """Some first rows, which do not keep the others in memory."""
    return state if len(state) == rows else state[:rows].clone()


def _entries_of(turned: Turned, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return turned.rows_E, turned.starts_N, weight[turned.order_E]
