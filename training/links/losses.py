"""Losses of link prediction over a table of sources and candidates."""

import torch
from torch import Tensor
from torch.nn import functional


def contrastive(logits_SC: Tensor, positive_S: Tensor, log_weight_SC: Tensor) -> Tensor:
    """Softmax cross entropy of the true target among weighted candidates; the mean over sources.

    Sampled softmax (Bengio and Senécal, 2008; Yi et al., "Sampling-Bias-Corrected Neural Modeling", RecSys 2019): a
    candidate drawn with expected count q represents 1/q candidates of the whole catalogue, so log(1/q) is added to its
    logit; a candidate that is itself a known link (an accidental hit) gets weight zero.

    Args:
        logits_SC: scores of S sources with C candidates.
        positive_S: int64, the column of each source's true target.
        log_weight_SC: log importance weights; -inf leaves a candidate out; 0 at the positives.
    """
    return functional.cross_entropy(logits_SC + log_weight_SC, positive_S)


def binary(logits_SC: Tensor, positive_S: Tensor, log_weight_SC: Tensor) -> Tensor:
    """Cross entropy of each pair taken for itself: positives and negatives weigh the same in sum.

    Args and shapes as in ``contrastive``; of the weights only which candidates are left out counts.
    """
    target_SC = torch.zeros_like(logits_SC)
    target_SC.scatter_(1, positive_S[:, None], 1.0)
    counted_SC = torch.isfinite(log_weight_SC).to(logits_SC.dtype)
    loss_SC = functional.binary_cross_entropy_with_logits(logits_SC, target_SC, reduction="none")
    positives = (loss_SC * target_SC).sum() / target_SC.sum()
    negatives_SC = counted_SC * (1 - target_SC)
    return (positives + (loss_SC * negatives_SC).sum() / negatives_SC.sum().clamp(min=1)) / 2
