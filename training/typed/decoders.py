"""Decoders of typed links: how well a tail answers the question (head, relation, ?).

A relation turns the head into a query, which is compared with tails by a matrix product. Questions about heads are
asked through a relation of their own, the reciprocal one (Lacroix, Usunier and Obozinski, ICML 2018), so that a model
only ever ranks tails.

Shapes: B questions, C candidates, P pairs, d floats of an entity, k floats of a relation, R relations.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from training.typed.config import DecoderName


def _real_product(entity_Bd: Tensor, relation_Bd: Tensor) -> Tensor:
    return entity_Bd * relation_Bd


def _complex_product(entity_Bd: Tensor, relation_Bd: Tensor) -> Tensor:
    """Product of complex numbers: the first half of a row has the real parts, the second the imaginary ones."""
    (a, b), (c, d) = entity_Bd.chunk(2, dim=-1), relation_Bd.chunk(2, dim=-1)
    return torch.cat([a * c - b * d, a * d + b * c], dim=-1)


def _real_traces(head_Pd: Tensor, tail_Pd: Tensor) -> Tensor:
    return head_Pd * tail_Pd


def _complex_traces(head_Pd: Tensor, tail_Pd: Tensor) -> Tensor:
    """Conjugate of the head times the tail."""
    (a, b), (c, d) = head_Pd.chunk(2, dim=-1), tail_Pd.chunk(2, dim=-1)
    return torch.cat([a * c + b * d, a * d - b * c], dim=-1)


def _real_moduli(rows: Tensor) -> Tensor:
    return rows.abs()


def _complex_moduli(rows: Tensor) -> Tensor:
    real, imaginary = rows.chunk(2, dim=-1)
    return torch.sqrt(real.square() + imaginary.square() + 1e-12)  # its derivative at 0 is no number


def _as_it_is(relation_Bk: Tensor) -> Tensor:
    return relation_Bk


def _rotation(phase_Bk: Tensor) -> Tensor:
    return torch.cat([phase_Bk.cos(), phase_Bk.sin()], dim=-1)


@dataclass(frozen=True)
class Decoder:
    """One way to score triples.

    Args:
        halves: floats of a relation for two floats of an entity.
        vector: relation parameters (B, k) -> what a head is multiplied by, (B, d).
        product: head and relation vector -> query, (B, d).
        traces: head and tail -> (P, d) whose inner product with a relation vector is that of query and tail.
        moduli: absolute values of the numbers of an entity or relation, for N3 regularisation.
        distance: whether a score is the negative distance of query and tail instead of their inner product.
    """

    halves: int
    vector: Callable[[Tensor], Tensor]
    product: Callable[[Tensor, Tensor], Tensor]
    traces: Callable[[Tensor, Tensor], Tensor]
    moduli: Callable[[Tensor], Tensor]
    distance: bool = False

    def query(self, head_Bd: Tensor, relation_Bk: Tensor) -> Tensor:
        """What tails are compared with, (B, d)."""
        return self.product(head_Bd, self.vector(relation_Bk))

    def all_pairs(self, query_Bd: Tensor, tail_Cd: Tensor) -> Tensor:
        """Scores of every query with every tail, (B, C), by one matrix product."""
        inner_BC = query_Bd @ tail_Cd.T
        if not self.distance:
            return inner_BC
        squares_BC = query_Bd.square().sum(1)[:, None] + tail_Cd.square().sum(1) - 2 * inner_BC
        return -torch.sqrt(squares_BC.clamp_min(1e-12))

    def all_relations(self, head_Pd: Tensor, tail_Pd: Tensor, relation_Rk: Tensor) -> Tensor:
        """Scores of every pair under every relation, (P, R), by one matrix product."""
        inner_PR = self.traces(head_Pd, tail_Pd) @ self.vector(relation_Rk).T
        if not self.distance:
            return inner_PR
        squares_P1 = (head_Pd.square() + tail_Pd.square()).sum(1, keepdim=True)  # a rotation keeps lengths
        return -torch.sqrt((squares_P1 - 2 * inner_PR).clamp_min(1e-12))


DECODERS: dict[DecoderName, Decoder] = {
    "distmult": Decoder(2, _as_it_is, _real_product, _real_traces, _real_moduli),
    "complex": Decoder(2, _as_it_is, _complex_product, _complex_traces, _complex_moduli),
    "rotate": Decoder(1, _rotation, _complex_product, _complex_traces, _complex_moduli, distance=True),
}
"""DistMult (Yang et al., ICLR 2015); ComplEx (Trouillon et al., ICML 2016); RotatE (Sun et al., ICLR 2019).

RotatE measures its distance by the Euclidean norm of the whole difference instead of the sum of its moduli, so that a
matrix product does for all candidates.
"""
