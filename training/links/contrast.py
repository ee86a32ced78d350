"""Losses of links against shared negatives, a block of sources at a time: memory of one block, not of the batch.

Shapes: S sources, C candidates (negatives shared by all sources), W width of a state, M masked places.
"""

from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

BLOCK = 1024  # sources whose logits are in memory at once
Loss = Literal["contrastive", "bce", "bpr"]
MASKED = -1e9


def negatives_loss(
    source_SW: Tensor,
    target_SW: Tensor,
    candidate_CW: Tensor,
    scale: Tensor,
    correction_C: Tensor,
    own_S: Tensor,
    mask_M2: Tensor,
    kind: Loss = "contrastive",
) -> Tensor:
    """Mean loss of S links against C shared candidates.

    ``contrastive`` is the softmax of the positive among the candidates with logQ correction (Yi et al., RecSys 2019);
    ``bce`` the cross entropy of the positive and, in the mean, of its negatives; ``bpr`` the order of both (Rendle et
    al., UAI 2009). Gradients are computed along with the loss, since the logits are too many to keep.

    Args:
        source_SW: unit states of the sources.
        target_SW: unit states of their targets.
        candidate_CW: unit states of the candidates.
        scale: scalar, factor of the cosines.
        correction_C: log of how likely each candidate was to be drawn; taken from its logits.
        own_S: the same for each source's own target.
        mask_M2: int64, (source, candidate) pairs that are no negatives, ascending by source.
        kind: of loss.
    """
    loss: Tensor = _Negatives.apply(  # type: ignore[no-untyped-call]
        source_SW, target_SW, candidate_CW, scale, correction_C, own_S, mask_M2, kind
    )
    return loss


class _Negatives(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        source: Tensor,
        target: Tensor,
        candidate: Tensor,
        scale: Tensor,
        correction: Tensor,
        own: Tensor,
        mask: Tensor,
        kind: Loss,
    ) -> Tensor:
        count, width = len(source), torch.bfloat16 if torch.is_autocast_enabled(source.device.type) else torch.float32
        low_s, low_c = source.to(width), candidate.to(width)
        d_source, d_candidate = torch.empty_like(source), torch.zeros_like(candidate)
        loss, d_scale = source.new_zeros(()), source.new_zeros(())
        positive_cos = (source * target).sum(1)
        positive = positive_cos * scale - own
        d_positive = torch.empty_like(positive)
        bounds = torch.searchsorted(
            mask[:, 0].contiguous(), torch.arange(0, count + BLOCK, BLOCK, device=mask.device)
        ).tolist()
        for number, start in enumerate(range(0, count, BLOCK)):
            rows = slice(start, min(start + BLOCK, count))
            cos = (low_s[rows] @ low_c.T).float()
            logits = cos * scale - correction
            masked = mask[bounds[number] : bounds[number + 1]]
            logits[masked[:, 0] - start, masked[:, 1]] = MASKED
            part, d_logits, d_positive[rows] = _GRADIENTS[kind](logits, positive[rows])
            loss += part
            d_scale += (d_logits * cos).sum()
            low_d = d_logits.to(width)
            d_source[rows] = (low_d @ low_c).float()
            d_candidate += (low_d.T @ low_s[rows]).float()
        d_scale += (d_positive * positive_cos).sum()
        d_source += d_positive[:, None] * target
        factor = scale / count
        ctx.save_for_backward(
            d_source * factor, d_positive[:, None] * source * factor, d_candidate * factor, d_scale / count
        )
        return loss / count

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        source, target, candidate, scale = (saved * gradients[0] for saved in ctx.saved_tensors)
        return source, target, candidate, scale, None, None, None, None


def _contrastive(logits: Tensor, positive: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    total = torch.logaddexp(torch.logsumexp(logits, 1), positive)
    return (total - positive).sum(), logits.sub_(total[:, None]).exp_(), (positive - total).exp() - 1


def _bce(logits: Tensor, positive: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    allowed = (logits > MASKED / 2).sum(1, keepdim=True).clamp(min=1)
    loss = functional.softplus(-positive).sum() + (functional.softplus(logits) / allowed).sum()
    return loss, torch.sigmoid(logits) / allowed, -torch.sigmoid(-positive)


def _bpr(logits: Tensor, positive: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    allowed = (logits > MASKED / 2).sum(1, keepdim=True).clamp(min=1)
    behind = logits - positive[:, None]
    slope = torch.sigmoid(behind) / allowed
    return (functional.softplus(behind) / allowed).sum(), slope, -slope.sum(1)


_GRADIENTS = {"contrastive": _contrastive, "bce": _bce, "bpr": _bpr}
