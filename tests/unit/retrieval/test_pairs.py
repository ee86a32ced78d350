"""Pairs scored in batches, in bf16 where the order stays, and refused where a score is no number."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

from data.encoders.transformer.models import find_model
from data.errors import EncoderUnavailable, TextRefused
from retrieval import packed, pairs
from retrieval.packed import order_agreement, packed_form
from retrieval.pairs import PairScorer

QUESTION = "how do I invert a matrix"
TEXTS = ["inverse", "Compute the inverse of a square matrix. " * 9, "Names of columns.", "a b c d", "שלום"]
SIZES = {"hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 96}


def model_of(seed: int = 0) -> BertForSequenceClassification:
    """Of random weights in which all count, the types of tokens and biases too."""
    torch.manual_seed(seed)
    model = BertForSequenceClassification(BertConfig(**SIZES, num_labels=1, initializer_range=0.2)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
        model.bert.embeddings.token_type_embeddings.weight.mul_(10)
    return model


@pytest.fixture(scope="module")
def tokenizer() -> Any:  # noqa: ANN401 - of transformers
    return AutoTokenizer.from_pretrained(find_model("all-MiniLM-L6-v2"))


@pytest.fixture
def scorer(tokenizer: Any) -> PairScorer:  # noqa: ANN401
    return PairScorer(model_of(), tokenizer, 64, 200, "small")


@pytest.fixture
def gains(monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor that is faster in bf16."""
    monkeypatch.setattr(packed, "whole_products_are_faster", lambda device: True)


def logits(scorer: PairScorer) -> np.ndarray:
    return np.array([logit for logit, _, _ in scorer.score([(QUESTION, text, None) for text in TEXTS])])


def test_batches_on_several_cores_give_the_same_scores(tokenizer: Any, scorer: PairScorer) -> None:  # noqa: ANN401
    one = logits(scorer)
    several = PairScorer(model_of(), tokenizer, 64, 70, "small", threads=2)
    np.testing.assert_allclose(logits(several), one, atol=1e-5)
    assert len(set(one.round(4))) == len(TEXTS), "each pair has a score of its own"
    assert scorer.score([]) == []


def test_a_question_that_leaves_no_room_does_not_fit(scorer: PairScorer) -> None:
    assert scorer.fits("matrix " * 32) and not scorer.fits("matrix " * 33)
    with pytest.raises(TextRefused, match="the question has 33 tokens"):
        scorer.score([("matrix " * 33, "a", None)])


@pytest.mark.usefixtures("gains")
def test_the_packed_form_scores_as_the_model_does(tokenizer: Any, scorer: PairScorer) -> None:  # noqa: ANN401
    fp32 = logits(scorer)
    scorer.take_bf16()
    assert scorer.precision == "bf16"
    bf16 = logits(scorer)
    assert np.abs(bf16 - fp32).max() < 0.05 * np.ptp(fp32) and np.abs(bf16 - fp32).max() > 0
    scorer.take_fp32()
    np.testing.assert_array_equal(logits(scorer), fp32)


@pytest.mark.usefixtures("gains")
def test_the_packed_form_reads_which_text_a_token_is_of(scorer: PairScorer) -> None:
    model = model_of()
    forward = packed_form(model)
    assert forward is not None
    features = scorer.padded([numbers for numbers, _ in scorer.encode([(QUESTION, text, None) for text in TEXTS])])
    with torch.inference_mode():
        expected, found = model(**features).logits, forward(features)
        without = forward({name: values for name, values in features.items() if name != "token_type_ids"})
    assert (found - expected).abs().max() < 0.05 * np.ptp(expected.numpy())
    assert (without - expected).abs().max() > 0.2 * np.ptp(expected.numpy())


@pytest.mark.usefixtures("gains")
@pytest.mark.parametrize("wrong", [lambda scores: -scores, lambda scores: scores + 3 * torch.rand_like(scores)])
def test_a_form_that_changes_the_order_is_not_taken(
    scorer: PairScorer, monkeypatch: pytest.MonkeyPatch, wrong: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    fp32 = logits(scorer)
    model = scorer._model
    monkeypatch.setattr(pairs, "packed_form", lambda _: lambda features: wrong(model(**features).logits))
    scorer.take_bf16()
    assert scorer.precision == "fp32"
    np.testing.assert_array_equal(logits(scorer), fp32)


def test_where_bf16_gains_nothing_the_model_itself_computes(
    scorer: PairScorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packed, "whole_products_are_faster", lambda device: False)
    scorer.take_bf16()
    assert scorer.precision == "fp32"


def test_agreement_counts_pairs_that_are_apart() -> None:
    scores = np.array([0.0, 1.0, 2.0, 3.0, 3.01], np.float32)
    assert order_agreement(scores, scores) == 1.0
    assert order_agreement(scores, np.array([0, 1, 2, 3.01, 3], np.float32)) == 1.0, "too near to be told apart"
    assert order_agreement(scores, -scores) == 0.0
    assert order_agreement(scores, np.array([1, 0, 2, 3, 3.01], np.float32)) == pytest.approx(8 / 9)
    assert order_agreement(np.ones(3, np.float32), np.arange(3, dtype=np.float32)) == 1.0


def test_scores_that_are_no_numbers_are_not_handed_out(scorer: PairScorer) -> None:
    with torch.no_grad():
        scorer._model.classifier.bias.fill_(float("inf"))
    with pytest.raises(EncoderUnavailable, match="small gives 5 of 5 pairs a score that is no finite number"):
        logits(scorer)


def test_a_folder_is_opened_in_the_form_that_passes(tmp_path: Path) -> None:
    from retrieval.cross_encoder import CrossEncoderModel
    from tests.tiny_model import cross_encoder

    opened = CrossEncoderModel(str(cross_encoder(tmp_path / "cross")), 512, "ranker.model")
    opened.check()
    assert opened.precision in ("fp32", "bf16") and opened.name == "cross" and opened.blend.weight == 0
