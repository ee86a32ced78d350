"""The gate between forms of one encoder: which of them this machine may use on this corpus.

A form is an encoder's weights in a precision and a runtime: ``torch bf16``, ``onnx int8``. What a form loses is
measured on the corpus it is for, and on its own questions where it has some: a form whose vectors look alike can still
turn neighbours around, and one whose vectors look further off can still rank as well.
"""

import platform
import statistics
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from data.encoders.forms import REFERENCE, loss_rank
from data.encoders.protocol import Encoder, Vectors
from data.errors import InputError
from data.passages.sampling import PassageSample
from evaluation.ranking import evaluate_ranking

SMALLEST_COSINE = 0.999
DEPTH = 100
TIMED_PASSAGES, ROUNDS = 64, 3


@dataclass(frozen=True)
class Questions:
    """A labelled set: text of each question, and its documents' grades. Empty where the corpus has none."""

    texts: Mapping[str, str]
    qrels: Mapping[str, Mapping[str, int]]


class FormFigures(BaseModel):
    """One line of the gate's table."""

    model_config = ConfigDict(frozen=True)

    form: str
    documents_per_s: float = 0.0
    speedup: float = 0.0  # times the speed of fp32 in torch
    cosine_min: float = 0.0  # smallest cosine to fp32 in torch, over passages and questions
    cosine_mean: float = 0.0
    ndcg_at_10: float | None = None
    ndcg_loss: float | None = None  # relative to fp32 in torch; negative where the form ranks better
    accepted: bool
    reason: str

    def __str__(self) -> str:
        judged = f", nDCG@10 {self.ndcg_at_10:.4f} ({_loss(self.ndcg_loss)})" if self.ndcg_at_10 is not None else ""
        return (
            f"{self.documents_per_s:.1f} documents/s ({self.speedup:.2f} times fp32), cosine to fp32 "
            f"{self.cosine_min:.5f} at the least and {self.cosine_mean:.5f} in the mean{judged}"
        )


def describe_machine(device: str) -> dict[str, str | int]:
    """What a verdict depends on beside encoder and corpus: processor, its arithmetic, accelerator, runtimes."""
    import torch

    described: dict[str, str | int] = {"machine": platform.machine(), "torch": torch.__version__, "device": device}
    if device.startswith("cuda"):
        described["accelerator"] = torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    flags = set(" ".join(line for line in lines if line.startswith(("flags", "Features"))).split())
    wanted = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "bf16", "i8mm")
    described["arithmetic"] = " ".join(flag for flag in wanted if flag in flags)
    described["processor"] = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "")
    return described


def measure_forms(
    forms: Mapping[str, Encoder], passages: PassageSample, questions: Questions, tolerance: float
) -> list[FormFigures]:
    """Speed, cosine and nDCG@10 of each form, and whether it may be used.

    Speed is taken by turns, so that a busy machine slows all. nDCG@10 is that of exact search by dot product over the
    sampled passages, a document scored by its best passage.

    Args:
        forms: name -> encoder; ``torch fp32`` is among them.
        passages: what is embedded.
        questions: the labelled set; empty where cosine has to decide.
        tolerance: largest relative loss of nDCG@10 against fp32.

    Returns:
        One line for each form, in the order of ``forms``.
    """
    speeds = _speeds(forms, passages.texts)
    vectors = {name: encoder.encode(passages.texts) for name, encoder in forms.items()}
    asked = {name: encoder.encode_queries(list(questions.texts.values())) for name, encoder in forms.items()}
    figures: dict[str, FormFigures] = {}
    exact_ndcg = _ndcg(vectors[REFERENCE], asked[REFERENCE], passages.documents, questions)
    for name in sorted(forms, key=loss_rank):  # each is judged against all that lose less
        if not (np.isfinite(vectors[name]).all() and np.isfinite(asked[name]).all()):
            figures[name] = FormFigures(form=name, accepted=False, reason="gives vectors that are no numbers")
            continue
        same = [(vectors[name] * vectors[REFERENCE]).sum(axis=1), (asked[name] * asked[REFERENCE]).sum(axis=1)]
        cosine = np.concatenate(same)
        ndcg = _ndcg(vectors[name], asked[name], passages.documents, questions)
        measured = FormFigures(
            form=name,
            documents_per_s=round(speeds[name], 2),
            speedup=round(speeds[name] / speeds[REFERENCE], 3),
            cosine_min=round(float(cosine.min()), 6),
            cosine_mean=round(float(cosine.mean()), 6),
            ndcg_at_10=None if ndcg is None else round(ndcg, 5),
            ndcg_loss=None if ndcg is None or not exact_ndcg else round(1 - ndcg / exact_ndcg, 5),
            accepted=False,
            reason="",
        )
        accepted, reason = _judge(measured, tolerance, [line for line in figures.values() if line.accepted])
        figures[name] = measured.model_copy(update={"accepted": accepted, "reason": reason})
    return [figures[name] for name in forms]


def pick(figures: Iterable[FormFigures]) -> FormFigures:
    """The fastest form that is accepted; fp32 in torch always is."""
    return max((line for line in figures if line.accepted), key=lambda line: line.documents_per_s)


def refusal(verdict: FormFigures, tolerance: float) -> InputError:
    """The error of a form that the gate refuses; its remedy is what could change the verdict.

    Args:
        verdict: the form's line of the table.
        tolerance: largest relative loss of nDCG@10 that the run allows.
    """
    remedy = "Use a form that passes (`catena encoder check` measures all of them)"
    if verdict.ndcg_loss is not None and verdict.ndcg_loss > tolerance:
        remedy += ", or a larger encoder.tolerance"
    elif verdict.ndcg_loss is None and verdict.cosine_min < SMALLEST_COSINE:
        remedy += ", or name questions and judgments in the source: then nDCG@10 decides"
    return InputError(
        f"encoder: {verdict.form} is refused on this machine: {verdict.reason}; measured: {verdict}", f"{remedy}."
    )


def _judge(measured: FormFigures, tolerance: float, accepted: Sequence[FormFigures]) -> tuple[bool, str]:
    """Whether a form may be used, and why."""
    if measured.form == REFERENCE:
        return True, "the reference"
    if measured.ndcg_loss is not None:
        if measured.ndcg_loss > tolerance:
            return False, f"loses {measured.ndcg_loss:.2%} of nDCG@10, {tolerance:.2%} is allowed"
    elif measured.cosine_min < SMALLEST_COSINE:
        return False, f"smallest cosine {measured.cosine_min:.5f}, {SMALLEST_COSINE} is needed without questions"
    for other in accepted:
        if loss_rank(other.form) < loss_rank(measured.form) and other.documents_per_s >= measured.documents_per_s:
            return False, f"not faster than {other.form} ({other.documents_per_s:.1f} documents/s), which loses less"
    return True, "within the tolerance" if measured.ndcg_loss is not None else "its vectors are those of fp32"


def _speeds(forms: Mapping[str, Encoder], texts: Sequence[str]) -> dict[str, float]:
    """Texts per second of each form: median of rounds by turns, after one that does not count."""
    timed = list(texts[:: max(1, len(texts) // TIMED_PASSAGES)])[:TIMED_PASSAGES]
    seconds: dict[str, list[float]] = defaultdict(list)
    for number in range(ROUNDS + 1):
        for name, encoder in forms.items():
            started = time.perf_counter()
            encoder.encode(timed)
            if number:
                seconds[name].append(time.perf_counter() - started)
    return {name: len(timed) / statistics.median(taken) for name, taken in seconds.items()}


def _ndcg(vectors: Vectors, asked: Vectors, documents: Sequence[str], questions: Questions) -> float | None:
    """Mean nDCG@10 of exact search, None without questions."""
    if not questions.texts:
        return None
    ids, document_of = np.unique(np.asarray(documents), return_inverse=True)
    run = {
        query: _best_documents(vectors @ vector, ids, document_of)
        for query, vector in zip(questions.texts, asked, strict=True)
    }
    return evaluate_ranking(run, questions.qrels).means["ndcg@10"]


def _best_documents(
    scores: npt.NDArray[np.float32], ids: npt.NDArray[np.str_], document_of: npt.NDArray[np.int64]
) -> dict[str, float]:
    best = np.full(len(ids), -np.inf, np.float32)
    np.maximum.at(best, document_of, scores)
    top = np.argsort(-best, kind="stable")[:DEPTH]
    return dict(zip(ids[top].tolist(), best[top].tolist(), strict=True))


def _loss(loss: float | None) -> str:
    return "no loss known" if loss is None else f"{loss:.2%} lost" if loss > 0 else f"{-loss:.2%} gained"


def markdown(result: Mapping[str, Any], figures: Iterable[FormFigures]) -> str:
    """The gate's table as a page: what was measured, on what, and the verdicts.

    Args:
        result: ``passages``, ``of_passages``, ``questions``, ``tolerance``, ``picked`` and ``machine``.
        figures: the lines.
    """
    judged = f"{result['questions']} questions with known answers; at most {result['tolerance']:.2%} of nDCG@10 may go"
    alone = f"no questions with known answers, so cosine (at least {SMALLEST_COSINE}) and speed decide"
    lines = [
        f"# Forms of the encoder: {result['picked']}",
        "",
        f"{result['passages']} of {result['of_passages']} passages, {judged if result['questions'] else alone}.",
        "Machine: " + ", ".join(str(value) for value in result["machine"].values() if value) + ".",
        "",
        "| form | documents/s | times fp32 | smallest cosine | mean cosine | nDCG@10 | loss | verdict |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for line in figures:
        ndcg = "" if line.ndcg_at_10 is None else f"{line.ndcg_at_10:.4f}"
        loss = "" if line.ndcg_loss is None else f"{line.ndcg_loss:+.2%}"
        verdict = f"{'accepted' if line.accepted else 'refused'}: {line.reason}"
        lines.append(
            f"| {line.form} | {line.documents_per_s:.1f} | {line.speedup:.2f} | {line.cosine_min:.5f} "
            f"| {line.cosine_mean:.5f} | {ndcg} | {loss} | {verdict} |"
        )
    return "\n".join(lines) + "\n"
