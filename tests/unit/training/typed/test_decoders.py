"""Decoders beside their formulas, one triple at a time."""

import numpy as np
import pytest
import torch

from training.typed.config import DecoderName
from training.typed.decoders import DECODERS


def plain(name: DecoderName, head: np.ndarray, relation: np.ndarray, tail: np.ndarray) -> float:
    """The formula of the paper, in complex numbers where it has them."""
    if name == "distmult":
        return float((head * relation * tail).sum())
    half = len(head) // 2
    h, t = head[:half] + 1j * head[half:], tail[:half] + 1j * tail[half:]
    if name == "complex":
        return float((h * (relation[:half] + 1j * relation[half:]) * t.conj()).sum().real)
    return -float(np.linalg.norm(h * np.exp(1j * relation) - t))


@pytest.mark.parametrize("name", list(DECODERS))
def test_scores_are_those_of_the_formula_in_rows_and_over_relations(name: DecoderName) -> None:
    decoder, rng = DECODERS[name], np.random.default_rng(0)
    heads, tails = (torch.from_numpy(rng.normal(size=(5, 8))) for _ in range(2))
    relations = torch.from_numpy(rng.normal(size=(3, 8 * decoder.halves // 2)))
    ways = torch.tensor([0, 2, 1, 1, 0])
    rows = decoder.all_pairs(decoder.query(heads, relations[ways]), tails)
    over = decoder.all_relations(heads, tails, relations)
    for i in range(5):
        for j in range(5):
            expected = plain(name, heads[i].numpy(), relations[ways[i]].numpy(), tails[j].numpy())
            assert rows[i, j].item() == pytest.approx(expected)
        for r in range(3):
            expected = plain(name, heads[i].numpy(), relations[r].numpy(), tails[i].numpy())
            assert over[i, r].item() == pytest.approx(expected)


def test_distmult_is_symmetric_and_the_others_are_not() -> None:
    rng = np.random.default_rng(1)
    head, tail = (torch.from_numpy(rng.normal(size=(1, 8))) for _ in range(2))
    for name, decoder in DECODERS.items():
        relation = torch.from_numpy(rng.normal(size=(1, 8 * decoder.halves // 2)))
        there = decoder.all_relations(head, tail, relation).item()
        back = decoder.all_relations(tail, head, relation).item()
        assert (there == pytest.approx(back)) == (name == "distmult")


def test_moduli_are_absolute_values_and_have_a_gradient_at_zero() -> None:
    row = torch.tensor([[3.0, 0.0, 4.0, 0.0]], requires_grad=True)
    assert DECODERS["distmult"].moduli(row).tolist() == [[3, 0, 4, 0]]
    moduli = DECODERS["complex"].moduli(row)
    assert moduli.tolist() == [[pytest.approx(5.0), pytest.approx(0.0, abs=1e-5)]]
    moduli.pow(3).sum().backward()
    assert row.grad is not None and bool(row.grad.isfinite().all())
