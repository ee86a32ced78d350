"""The loss of fine-tuning: what belongs together against the rest of the batch, at one dimension or several."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


def contrastive_loss(
    anchors_BW: Tensor,
    positives_BW: Tensor,
    masked_BC: Tensor,
    dims: Sequence[int],
    temperature: float,
    negatives_HW: Tensor,
) -> Tensor:
    """Sum over dimensions of the in-batch contrastive loss of the vectors cut to that dimension, both ways.

    For each dimension d, vectors are cut to their first d numbers and brought to unit length again (Kusupati et al.,
    "Matryoshka Representation Learning", NeurIPS 2022); the softmax of cosines over ``temperature`` is to name each
    anchor's positive among the batch's positives and the hard negatives, and each positive's anchor among the anchors
    (van den Oord et al., 2018; Radford et al., 2021).

    Args:
        anchors_BW: vectors of B anchors.
        positives_BW: vectors of what belongs to each.
        masked_BC: bool, true where candidate c is no negative of anchor b, because it belongs to it as well; the
            candidates are the B positives, then the H hard negatives. The pairs themselves are false.
        dims: dimensions, each at most W.
        temperature: above 0.
        negatives_HW: vectors of hard negatives, which all anchors share.
    """
    count = len(anchors_BW)
    same_B = torch.arange(count, device=anchors_BW.device)
    candidates_CW = torch.cat([positives_BW, negatives_HW])
    loss = anchors_BW.new_zeros(())
    for dim in dims:
        anchors_BD = nn.functional.normalize(anchors_BW[:, :dim], dim=1)
        candidates_CD = nn.functional.normalize(candidates_CW[:, :dim], dim=1)
        logits_BC = (anchors_BD @ candidates_CD.T / temperature).masked_fill(masked_BC, -math.inf)
        both = [nn.functional.cross_entropy(logits, same_B) for logits in (logits_BC, logits_BC[:, :count].T)]
        loss = loss + sum(both) / 2
    return loss
