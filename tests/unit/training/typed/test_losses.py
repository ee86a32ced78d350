"""Losses of typed links beside their formulas."""

import numpy as np
import pytest
import torch
from torch.nn.functional import logsigmoid

from training.typed.config import TypedConfig
from training.typed.losses import typed_loss
from training.typed.model import Answered
from training.typed.questions import Questions

SCORES = torch.tensor([[2.0, 1.0, 0.5, -1.0], [0.0, 3.0, 1.0, 1.0]])
WEIGHTS = torch.tensor([0.0, 0.5, 1.0, 0.2])
NOTHING = torch.zeros((2, 0), dtype=torch.int64)


def asked(known: torch.Tensor = NOTHING) -> Questions:
    none = torch.zeros(0)
    return Questions(none, none, none, none, torch.tensor([0, 1]), torch.tensor([0, 2]), WEIGHTS, known)


def answered(ways: torch.Tensor | None = None, penalty: float = 0.0) -> Answered:
    return Answered(SCORES, torch.zeros(2, 2) if ways is None else ways, torch.tensor(penalty))


def test_softmax_counts_a_candidate_for_those_it_stands_for_and_leaves_known_answers_out() -> None:
    config = TypedConfig(relation_prediction=0.0)
    weighed = np.exp((SCORES + WEIGHTS).numpy())
    expected = -np.log([weighed[0, 0] / weighed[0].sum(), weighed[1, 2] / (weighed[1].sum() - weighed[1, 1])]).mean()
    found = typed_loss(answered(), asked(torch.tensor([[1], [1]])), config, distance=False)
    assert found.item() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("distance", [False, True])
def test_self_adversarial_negatives_weigh_by_belief(temperature: float, distance: bool) -> None:
    config = TypedConfig(
        loss="self_adversarial", margin=2.0, adversarial_temperature=temperature, relation_prediction=0.0
    )
    margin, negatives, total = 2.0 * distance, ((0, [1, 2, 3]), (2, [0, 3])), 0.0
    for row, (true, others) in zip(SCORES, negatives, strict=True):
        belief = (temperature * row[others] + WEIGHTS[others]).softmax(0)
        against = (belief * logsigmoid(-row[others] - margin)).sum()
        total += -float(logsigmoid(row[true] + margin) + against) / 2
    found = typed_loss(answered(), asked(torch.tensor([[1], [1]])), config, distance)
    assert found.item() == pytest.approx(total / 2, abs=1e-5)


def test_relation_prediction_and_regularisation_are_added() -> None:
    ways = torch.tensor([[4.0, 0.0], [0.0, 4.0]])
    plain = typed_loss(answered(ways), asked(), TypedConfig(relation_prediction=0.0), False).item()
    both = typed_loss(answered(ways, 3.0), asked(), TypedConfig(relation_prediction=2.0), False).item()
    assert both - plain == pytest.approx(3.0 + 2.0 * np.log1p(np.exp(-4.0)), abs=1e-5)


def test_a_question_whose_candidates_are_all_known_has_a_loss() -> None:
    for loss in ("softmax", "self_adversarial"):
        config = TypedConfig.model_validate({"loss": loss, "relation_prediction": 0.0})
        scores = SCORES.clone().requires_grad_()
        known = torch.tensor([[0, 0, 0], [1, 2, 3]])
        found = typed_loss(Answered(scores, torch.zeros(2, 2), torch.tensor(0.0)), asked(known), config, False)
        found.backward()
        assert found.isfinite() and scores.grad is not None and bool(scores.grad.isfinite().all())
