"""Rows of int8 are bound where the gate lets it through, and name the refusal where it does not."""

from typing import Any

import pytest

from benchmarks.embed.int8 import _loss, _speed


def result(accepted: bool, loss: float, bf16: bool = True) -> dict[str, Any]:
    def line(form: str, speed: float, **more: object) -> dict[str, Any]:
        return {"form": form, "documents_per_s": speed, "ndcg_at_10": 0.6, "cosine_min": 1.0, "accepted": True, **more}

    int8 = line("onnx int8", 60.0, accepted=accepted, ndcg_loss=loss, reason="not faster than torch bf16")
    forms = [line("torch fp32", 30.0), *([line("torch bf16", 50.0)] if bf16 else []), int8]
    return {"forms": forms, "questions": 300, "passages": 2000, "of_passages": 5183}


def test_an_accepted_form_is_held_to_the_bound() -> None:
    row = _loss("scifact", result(accepted=True, loss=0.002))
    assert (row.id, row.value, row.met) == ("embed.int8_ndcg_loss_scifact", pytest.approx(0.2), True)
    assert not _loss("scifact", result(accepted=True, loss=0.009)).met
    assert _speed(result(accepted=True, loss=0.0)).value == pytest.approx(1.2)


def test_a_refused_form_says_so() -> None:
    row = _loss("cranfield", result(accepted=False, loss=0.02))
    assert row.met and row.at_most is None and "the gate refuses it: not faster than torch bf16" in row.what
    assert "no bf16 arithmetic" in _speed(result(accepted=False, loss=0.0, bf16=False)).what
