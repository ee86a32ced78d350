"""Losses against their definitions, and the candidates they must not look at."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from training.links.losses import binary, contrastive

INF = math.inf
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def test_contrastive_equals_the_formula() -> None:
    logits = torch.tensor([[2.0, 1.0, -1.0], [0.0, 0.5, 3.0]])
    weights = torch.tensor([[0.0, math.log(3), -INF], [math.log(2), 0.0, 0.0]])
    positive = torch.tensor([0, 1])
    first = -math.log(math.exp(2) / (math.exp(2) + 3 * math.exp(1)))
    second = -math.log(math.exp(0.5) / (2 * math.exp(0) + math.exp(0.5) + math.exp(3)))
    assert contrastive(logits, positive, weights).item() == pytest.approx((first + second) / 2, rel=1e-6)


def test_without_weights_contrastive_is_cross_entropy() -> None:
    logits, positive = torch.randn(7, 5), torch.randint(0, 5, (7,))
    expected = torch.nn.functional.cross_entropy(logits, positive)
    assert torch.equal(contrastive(logits, positive, torch.zeros(7, 5)), expected)


def test_binary_weighs_positives_and_negatives_alike() -> None:
    logits = torch.tensor([[2.0, -1.0, 0.5], [1.0, 0.0, 4.0]])
    weights = torch.tensor([[0.0, 1.3, -INF], [0.0, 0.0, 0.2]])

    def softplus(x: float) -> float:
        return math.log1p(math.exp(x))

    positives = (softplus(-2.0) + softplus(-0.0)) / 2
    negatives = (softplus(-1.0) + softplus(1.0) + softplus(4.0)) / 3
    found = binary(logits, torch.tensor([0, 1]), weights)
    assert found.item() == pytest.approx((positives + negatives) / 2, rel=1e-6)


@pytest.mark.parametrize("loss", [contrastive, binary])
def test_a_candidate_left_out_gets_no_gradient(loss: Loss) -> None:
    logits = torch.randn(4, 6, requires_grad=True)
    weights = torch.zeros(4, 6)
    weights[:, 3] = -INF
    loss(logits, torch.tensor([0, 1, 2, 5]), weights).backward()
    assert logits.grad is not None and bool(torch.isfinite(logits.grad).all())
    assert (logits.grad[:, 3] == 0).all() and (logits.grad[:, 4] > 0).all() and logits.grad[0, 0] < 0


@pytest.mark.parametrize("loss", [contrastive, binary])
def test_no_negatives_at_all_is_no_accident(loss: Loss) -> None:
    logits = torch.randn(2, 2, requires_grad=True)
    found = loss(logits, torch.tensor([0, 1]), torch.tensor([[0.0, -INF], [-INF, 0.0]]))
    found.backward()
    assert math.isfinite(found.item()) and logits.grad is not None and bool(torch.isfinite(logits.grad).all())


@pytest.mark.parametrize("loss", [contrastive, binary])
def test_a_better_order_costs_less(loss: Loss) -> None:
    good, bad = torch.tensor([[3.0, -3.0, -3.0]]), torch.tensor([[-3.0, 3.0, -3.0]])
    zero = torch.zeros(1, 3)
    assert (
        loss(good, torch.tensor([0]), zero) < loss(zero, torch.tensor([0]), zero) < loss(bad, torch.tensor([0]), zero)
    )
