"""The gate lets a form through for what it measures, and says why it does not."""

import time
from collections.abc import Sequence

import numpy as np
import pytest

from data.encoders.protocol import Encoded, Vectors
from data.passages.sampling import PassageSample
from evaluation.encoder_gate import FormFigures, Questions, describe_machine, markdown, measure_forms, pick

DOCUMENTS = 40
PASSAGES = PassageSample(
    [f"d{n}" for n in range(DOCUMENTS)], [""] * DOCUMENTS, [f"p{n}" for n in range(DOCUMENTS)], 100
)
QUESTIONS = Questions({f"q{n}": f"p{n}" for n in range(10)}, {f"q{n}": {f"d{n}": 1} for n in range(10)})
NONE = Questions({}, {})


class Turned:
    """Random vectors that the number in a text decides, each a bit beside itself, after a while."""

    fingerprint, dim, precision, cosine_to_fp32 = "turned", 16, "fp32", 1.0

    def __init__(self, noise: float, seconds: float, broken: bool = False) -> None:
        self.noise, self.seconds, self.broken = noise, seconds, broken

    def encode(self, texts: Sequence[str]) -> Vectors:
        time.sleep(self.seconds)
        rows = [int(text[1:]) for text in texts]
        exact = np.random.default_rng(0).normal(size=(DOCUMENTS, self.dim))[rows]
        # question and passage are the same text: their noise has to differ for a ranking to suffer
        beside = np.random.default_rng(len(texts)).normal(size=exact.shape)
        vectors = (exact + self.noise * beside).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.full_like(vectors, np.nan) if self.broken else vectors

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        return self.encode(texts)

    def encode_counted(self, texts: Sequence[str]) -> Encoded:
        return Encoded(self.encode(texts), np.ones(len(texts), np.int32), 0.0)

    encode_queries_counted = encode_counted


def measured(questions: Questions, **forms: Turned) -> dict[str, FormFigures]:
    named = {name.replace("_", " "): encoder for name, encoder in forms.items()}
    lines = measure_forms({"torch fp32": Turned(0, 0.02), **named}, PASSAGES, questions, tolerance=0.005)
    return {line.form: line for line in lines}


def test_a_form_that_ranks_worse_is_refused_with_its_figures() -> None:
    line = measured(QUESTIONS, onnx_int8=Turned(3.0, 0.0))["onnx int8"]
    assert not line.accepted and line.ndcg_loss is not None and line.ndcg_loss > 0.005
    assert line.reason == f"loses {line.ndcg_loss:.2%} of nDCG@10, 0.50% is allowed"
    assert f"nDCG@10 {line.ndcg_at_10:.4f}" in str(line)


def test_ranking_decides_where_there_are_questions_and_cosine_where_there_are_none() -> None:
    beside = Turned(0.1, 0.0)
    line = measured(QUESTIONS, onnx_int8=beside)["onnx int8"]
    assert line.accepted and line.cosine_min < 0.999 and line.ndcg_loss == 0.0 and line.speedup > 2
    alone = measured(NONE, onnx_int8=beside)["onnx int8"]
    assert not alone.accepted and alone.ndcg_at_10 is None
    assert alone.reason.endswith("0.999 is needed without questions")
    assert measured(NONE, onnx_int8=Turned(0.001, 0.0))["onnx int8"].accepted


def test_what_gives_up_precision_has_to_be_faster_than_what_gives_up_less() -> None:
    lines = measured(QUESTIONS, torch_bf16=Turned(0, 0.005), onnx_fp32=Turned(0, 0.04), onnx_int8=Turned(0, 0.012))
    assert lines["torch bf16"].accepted and lines["onnx fp32"].accepted
    assert lines["onnx int8"].reason.startswith("not faster than torch bf16")
    assert pick(lines.values()).form == "torch bf16"


def test_the_order_of_the_forms_does_not_decide() -> None:
    lines = measured(QUESTIONS, onnx_int8=Turned(0, 0.009), torch_bf16=Turned(0, 0.009), onnx_fp32=Turned(0, 0.001))
    assert list(lines) == ["torch fp32", "onnx int8", "torch bf16", "onnx fp32"]
    assert [form for form, line in lines.items() if line.accepted] == ["torch fp32", "onnx fp32"]
    assert lines["torch bf16"].reason.startswith("not faster than onnx fp32")
    assert pick(lines.values()).form == "onnx fp32"


@pytest.mark.parametrize("questions", [NONE, QUESTIONS])
def test_vectors_that_are_no_numbers_never_pass(questions: Questions) -> None:
    line = measured(questions, onnx_int8=Turned(0, 0.0, broken=True))["onnx int8"]
    assert not line.accepted and line.reason == "gives vectors that are no numbers"


def test_the_page_holds_every_line_and_says_what_decided() -> None:
    lines = [
        FormFigures(form="torch fp32", documents_per_s=10, accepted=True, reason="the reference"),
        FormFigures(form="torch bf16", accepted=False, reason="does not pass its check"),
    ]
    result = {"passages": 5, "of_passages": 9, "questions": 0, "tolerance": 0.005, "picked": "torch fp32"}
    page = markdown({**result, "machine": describe_machine("cpu")}, lines)
    assert "5 of 9 passages, no questions with known answers" in page
    assert "| torch bf16 | 0.0 |" in page and "refused: does not pass its check" in page
