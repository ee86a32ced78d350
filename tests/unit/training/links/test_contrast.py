"""Losses in blocks against the same in plain PyTorch, with its gradients."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from training.links.contrast import MASKED, Loss, negatives_loss

S, C, W = 37, 50, 8


def parts(seed: int = 0) -> tuple[list[Tensor], Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    states = [functional.normalize(torch.randn(n, W, generator=generator), dim=1).requires_grad_() for n in (S, S, C)]
    scale = torch.tensor(5.0, requires_grad=True)
    correction, own = torch.randn(C, generator=generator), torch.randn(S, generator=generator)
    return [*states, scale], correction, own, (torch.rand(S, C, generator=generator) < 0.2)


def plain(leaves: list[Tensor], correction: Tensor, own: Tensor, masked: Tensor, kind: Loss) -> Tensor:
    source, target, candidate, scale = leaves
    positive = (source * target).sum(1) * scale - own
    logits = source @ candidate.T * scale - correction
    if kind == "contrastive":
        logits = torch.cat([positive[:, None], logits.masked_fill(masked, MASKED)], 1)
        return functional.cross_entropy(logits, torch.zeros(S, dtype=torch.long))
    free = (~masked).float()
    behind = functional.softplus(logits if kind == "bce" else logits - positive[:, None])
    mean = (behind * free).sum(1) / free.sum(1)
    return (mean + (functional.softplus(-positive) if kind == "bce" else 0)).mean()


@pytest.mark.parametrize("kind", ["contrastive", "bce", "bpr"])
@pytest.mark.parametrize("block", [8, 1024])
def test_loss_and_gradients(kind: Loss, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.links.contrast.BLOCK", block)
    leaves, correction, own, masked = parts()
    expected = plain(leaves, correction, own, masked, kind)
    gradients = torch.autograd.grad(expected, leaves)
    loss = negatives_loss(*leaves, correction, own, masked.nonzero(), kind)  # type: ignore[arg-type]
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    for found, wanted in zip(torch.autograd.grad(loss, leaves), gradients, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)


def test_a_gradient_from_above_is_passed_on() -> None:
    leaves, correction, own, masked = parts()
    once = torch.autograd.grad(negatives_loss(*leaves, correction, own, masked.nonzero()), leaves[0])[0]  # type: ignore[arg-type]
    twice = torch.autograd.grad(2 * negatives_loss(*leaves, correction, own, masked.nonzero()), leaves[0])[0]  # type: ignore[arg-type]
    torch.testing.assert_close(twice, 2 * once)


def test_in_bf16_it_is_nearly_the_same() -> None:
    leaves, correction, own, masked = parts()
    exact = negatives_loss(*leaves, correction, own, masked.nonzero())  # type: ignore[arg-type]
    with torch.autocast("cpu", torch.bfloat16):
        near = negatives_loss(*leaves, correction, own, masked.nonzero())  # type: ignore[arg-type]
    assert near.item() == pytest.approx(exact.item(), rel=0.02) and near.item() != exact.item()
