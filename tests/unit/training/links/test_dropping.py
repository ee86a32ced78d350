"""Dropout by bytes drops the share that it is told, scales the rest, and so does its gradient."""

import pytest
import torch

from training.links import dropping
from training.links.dropping import drop


def test_many_floats_are_dropped_like_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dropping, "SINGLY", 0)
    x = torch.randn(1003, 77).requires_grad_()
    torch.manual_seed(0)
    dropped = drop(x, 0.2, True)
    gone = dropped == 0
    assert float(gone.float().mean()) == pytest.approx(0.2, abs=0.005)
    assert abs(float(gone[:, :38].float().mean()) - float(gone[:, 38:].float().mean())) < 0.01
    torch.testing.assert_close(dropped[~gone], x[~gone] * 256 / 205)
    dropped.sum().backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(x.grad, torch.where(gone, 0.0, 256 / 205))
    torch.manual_seed(0)
    assert torch.equal(drop(x, 0.2, True), dropped), "draws follow from torch's seed"


def test_nothing_is_dropped_outside_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dropping, "SINGLY", 0)
    x = torch.randn(10, 3)
    assert torch.equal(drop(x, 0.5, False), x) and torch.equal(drop(x, 0.0, True), x)
