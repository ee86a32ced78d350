"""The relation of a link whose ends are known, named by a softmax over the states of both ends.

Shapes: n nodes, d floats of a state, P pairs, R relations.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

Nodes = npt.NDArray[np.int64]
States = npt.NDArray[np.float32]

STEPS = 200
RATE = 0.05
DECAY = 1e-3  # of the weights, per mean loss of a pair
PAIRS_AT_ONCE = 16_384


@dataclass(frozen=True)
class RelationWeights:
    """A relation's weight of each feature of a pair; ``weight`` float32 (R, 4d), ``bias`` float32 (R,)."""

    weight: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]


def fit_relations(states: States, pairs: Nodes, relation: Nodes, relations: int, seed: int = 0) -> RelationWeights:
    """Learn which relation joins two nodes: multinomial logistic regression on training links.

    A pair is described by both states, their product and their difference, so that "a cites b" and "b cites a" differ.
    Relations weigh alike per link, so a relation with one example is named where nothing else fits better.

    Args:
        states: float32 (n, d), the states of the nodes in any scale; each is scaled to unit length.
        pairs: int64 (P, 2), source and target of the training links.
        relation: int64 (P,), from 0 to ``relations - 1``.
        relations: R.
        seed: of the draw of ``PAIRS_AT_ONCE`` pairs a step, where there are more.

    Returns:
        Weights for ``name_relations``; all zero where there are no pairs, or one relation only.
    """
    weight = torch.zeros((relations, 4 * states.shape[1]), requires_grad=True)
    bias = torch.zeros(relations, requires_grad=True)
    optimizer = torch.optim.Adam([weight, bias], lr=RATE)
    rng = np.random.default_rng(seed)
    for _ in range(STEPS if len(pairs) and relations > 1 else 0):
        chosen = rng.permutation(len(pairs))[:PAIRS_AT_ONCE] if len(pairs) > PAIRS_AT_ONCE else np.arange(len(pairs))
        features_PF = _features(states, pairs[chosen, 0], pairs[chosen, 1])
        loss = cross_entropy(features_PF @ weight.T + bias, torch.from_numpy(relation[chosen].astype(np.int64)))
        optimizer.zero_grad()
        (loss + DECAY * weight.square().sum()).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return RelationWeights(weight.detach().numpy(), bias.detach().numpy())


def name_relations(weights: RelationWeights, states: States, sources: Nodes, targets: Nodes) -> Nodes:
    """Likeliest relation of each directed pair, int64 (P,).

    Args:
        weights: of ``fit_relations``.
        states: float32 (n, d), the same as there.
        sources: int64 (P,).
        targets: int64 (P,).
    """
    named = np.empty(len(sources), np.int64)
    weight_RF, bias_R = torch.from_numpy(weights.weight), torch.from_numpy(weights.bias)
    for start in range(0, len(sources), PAIRS_AT_ONCE):
        part = slice(start, start + PAIRS_AT_ONCE)
        features_PF = _features(states, sources[part], targets[part])
        named[part] = (features_PF @ weight_RF.T + bias_R).argmax(dim=1).numpy()
    return named


def _features(states: States, sources: Nodes, targets: Nodes) -> Tensor:
    """Both ends of each pair, their product and difference, float32 (P, 4d)."""
    ends = torch.nn.functional.normalize(torch.from_numpy(states[np.stack([sources, targets])]), dim=-1)
    source_Pd, target_Pd = ends
    scale = states.shape[1] ** 0.5  # of a product of unit vectors, to that of the others
    return torch.cat([source_Pd, target_Pd, source_Pd * target_Pd * scale, source_Pd - target_Pd], dim=1)
