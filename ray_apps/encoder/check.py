"""The forms of a run's encoder measured against each other, and laid out for a server."""

import importlib
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from data.artifacts import Artifact, locate, materialise
from data.encoders import Encoder, load_encoder
from data.encoders.config import ChainConfig, EncoderConfig, OnnxConfig, SingleEncoder, TransformerConfig
from data.encoders.transformer.precision import short_form
from data.errors import InputError
from data.partitions import read_qrels, read_table
from data.passages.sampling import sample_passages
from evaluation.encoder_gate import (
    EXACT,
    SMALLEST_COSINE,
    FormFigures,
    Questions,
    describe_machine,
    given_up,
    markdown,
    measure_forms,
    pick,
)
from ray_apps.config import RunConfig
from ray_apps.encoder.forms import (
    CALIBRATION_PASSAGES,
    available_forms,
    config_of,
    device_of,
    exact_encoder,
    exported_folder,
    fingerprint_in_fp32,
    form_of,
    model_of,
    need_model,
)
from ray_apps.ingest import chunk, ingest
from ray_apps.usage import ENCODER_ACTIONS

if TYPE_CHECKING:
    from data.encoders.transformer.encoder import SentenceEncoder

logger = logging.getLogger("catena")


def encoder(run: RunConfig, action: str, triton: Path | None = None) -> dict[str, Any]:
    """What ``catena encoder ACTION`` does, for each of ``ENCODER_ACTIONS``.

    Returns:
        ``run``, ``encoder`` (what was measured, written or learned) and, where one was made, ``artifact``.

    Raises:
        InputError: if the run's encoder is not of the kind that the action is for, or the action takes no folder.
    """
    if triton is not None and action != "export":
        raise InputError(f"catena encoder {action}: it takes no --triton", "Leave it out; it is for `encoder export`.")
    module, _, name = ENCODER_ACTIONS[action][0].partition(":")
    act = getattr(importlib.import_module(module), name)
    result: dict[str, Any] = act(run, triton) if action == "export" else act(run)
    return result


def compare(run: RunConfig) -> dict[str, Any]:
    """Measure every form of the run's encoder that this machine has.

    Raises:
        InputError: if the encoder is not a sentence-transformers model.
    """
    made = check(run, available_forms(run.encoder))
    return {"run": run.name, "encoder": made.result, "artifact": str(made.path)}


def export(run: RunConfig, triton: Path | None) -> dict[str, Any]:
    """Lay the run's encoder out as a Triton model repository.

    Raises:
        InputError: if no folder is named, or the encoder is not a sentence-transformers model or cannot be exported.
    """
    if triton is None:
        raise InputError("catena encoder export: no --triton", "Name the folder of the model repository: --triton DIR.")
    return {"run": run.name, "encoder": export_triton(run, triton), "artifact": str(triton)}


def usable_encoder(run: RunConfig) -> EncoderConfig:
    """The run's encoder as a process can load it: one on ONNX Runtime exported, calibrated and let through by the gate.

    In torch a form is held to the gate's verdict where ``check`` has given one; it is not measured for that.

    Raises:
        InputError: if the gate refuses it on this machine.
    """
    model = model_of(run.encoder)
    if not isinstance(model, OnnxConfig):
        return _usable_in_torch(run)
    asked = form_of(model)
    verdict = _verdict(run, asked)
    if not verdict.accepted:
        raise _refused(verdict, model.tolerance)
    return _with_first(run.encoder, config_of(run, asked).model_copy(update={"fingerprint": model.fingerprint}))


def _with_first(config: EncoderConfig, first: SingleEncoder) -> EncoderConfig:
    """An encoder with its first alternative in another form."""
    return config.model_copy(update={"first": (first,)}) if isinstance(config, ChainConfig) else first


def _usable_in_torch(run: RunConfig) -> EncoderConfig:
    """The encoder, in fp32 where the gate has refused the form that it would choose.

    An index or vectors that are there in another precision outweigh that: a question has to be encoded as they were.

    Raises:
        InputError: if the gate has refused the form that is asked for.
    """
    config, model = run.encoder, model_of(run.encoder)
    if not isinstance(model, TransformerConfig):
        return config
    form = f"torch {short_form(device_of(config)) if model.precision == 'auto' else model.precision}"
    if form == EXACT or not _any_verdict(run.workspace):
        return config
    forms = available_forms(config)
    checked = _place(run, forms)
    verdict = _line(checked, form) if form in forms and checked.done else None
    if verdict is None or verdict.accepted:
        return config
    if model.precision != "auto":
        raise _refused(verdict, model.tolerance)
    logger.info("encoder: fp32, since the gate refuses %s on this machine: %s", form, verdict.reason)
    return _with_first(config, model.model_copy(update={"gate_precision": "fp32"}))


def _any_verdict(workspace: Path) -> bool:
    """Whether there can be a verdict: to find out whose, the model has to be loaded."""
    return any((workspace / "encoder").glob("*/_SUCCESS"))


def _refused(verdict: FormFigures, tolerance: float) -> InputError:
    """The error of a form that the gate refuses; what else could help depends on what decided."""
    remedy = "Use a form that passes (`catena encoder check` measures all of them)"
    if verdict.ndcg_loss is not None and verdict.ndcg_loss > tolerance:
        remedy += ", or a larger encoder.tolerance"
    elif verdict.ndcg_loss is None and verdict.cosine_min < SMALLEST_COSINE:
        remedy += ", or name questions and judgments in the source: then nDCG@10 decides"
    return InputError(
        f"encoder: {verdict.form} is refused on this machine: {verdict.reason}; measured: {verdict}", f"{remedy}."
    )


def check(run: RunConfig, forms: tuple[str, ...]) -> Artifact:
    """Measure forms of the run's encoder on its corpus; what was measured on this machine before is kept.

    The result holds ``forms`` (each line of the table), ``picked``, and what it was measured on; ``table.md`` stands
    beside it.
    """
    tables, passages, settings = ingest(run), chunk(run), run.evaluate

    def work(out: Path) -> dict[str, Any]:
        questions = _questions(tables.path, settings.gate_questions, settings.seed)
        relevant = {document for grades in questions.qrels.values() for document, grade in grades.items() if grade > 0}
        sample = sample_passages(passages.path / "passages", settings.gate_passages, settings.seed, relevant)
        if not questions.texts:
            logger.info(
                "encoder: the corpus has no questions with known answers: only cosine (at least %s) and speed decide",
                SMALLEST_COSINE,
            )
        loaded, figures = _load(run, forms)
        figures |= {line.form: line for line in measure_forms(loaded, sample, questions, _tolerance(run))}
        lines = [figures[form] for form in forms]
        result = {
            "forms": [line.model_dump(mode="json") for line in lines],
            "picked": pick(lines).form,
            "tolerance": _tolerance(run),
            "passages": len(sample.texts),
            "of_passages": sample.of,
            "questions": len(questions.texts),
            "machine": describe_machine(device_of(run.encoder)),
        }
        (out / "table.md").write_text(markdown(result, lines), encoding="utf-8")
        return result

    return materialise(_place(run, forms), work)


def export_triton(run: RunConfig, folder: Path) -> dict[str, Any]:
    """Write a Triton model repository, and run the model in it, as its configuration describes it, against torch.

    Raises:
        InputError: if the model cannot be exported or the folder written, the gate refuses int8, or vectors differ.
    """
    from data.encoders.onnx.export import MODEL, read_export
    from data.encoders.onnx.triton import model_name, read_repository, write_repository

    model = need_model(run.encoder, "cannot be exported")
    precision = "int8" if model.precision == "int8" else "fp32"
    config = usable_encoder(run) if precision == "int8" else config_of(run, f"onnx {precision}")
    exported = exported_folder(config)
    assert exported is not None
    described = read_export(exported)
    place = write_repository(exported / MODEL, model_name(model.model, precision), described.dim, folder)
    served = read_repository(place)
    cosine = _cosine_to_torch(exact_encoder(run.encoder), place / "1" / MODEL, served.output)
    if precision == "fp32" and not cosine >= SMALLEST_COSINE:
        raise InputError(
            f"{place}: vectors are not the model's: smallest cosine {cosine:.5f}, needed {SMALLEST_COSINE}",
            "Do not serve it; report the model's name.",
        )
    return {"model": served.name, "precision": precision, "dim": served.dim, "cosine_to_torch": round(cosine, 6)}


def _verdict(run: RunConfig, asked: str) -> FormFigures:
    """The gate's line on a form: of the check of all forms where it was made, else of one that measures this form."""
    forms = available_forms(run.encoder)
    if asked not in forms:
        raise InputError(
            f"encoder: {asked} is not to be had on {device_of(run.encoder)}; there are: {', '.join(forms)}",
            "Use one of these, or another encoder.device.",
        )
    needed = tuple(form for form in forms if form in (EXACT, asked) or given_up(form) < given_up(asked))
    made = _place(run, forms)
    made = made if made.done else check(run, needed)
    return _line(made, asked)


def _line(checked: Artifact, form: str) -> FormFigures:
    """What stands on a form in the gate's table, where it is among those that were measured."""
    return next(FormFigures(**line) for line in checked.result["forms"] if line["form"] == form)


def _tolerance(run: RunConfig) -> float:
    return need_model(run.encoder, "has no forms to compare or export").tolerance


def _place(run: RunConfig, forms: tuple[str, ...]) -> Artifact:
    """Where the gate's figures on some forms belong: a verdict holds for a machine, an encoder and a corpus."""
    identity = {
        "model": fingerprint_in_fp32(run.encoder),
        "forms": list(forms),
        "tolerance": _tolerance(run),
        "passages": run.evaluate.gate_passages,
        "questions": run.evaluate.gate_questions,
        "seed": run.evaluate.seed,
        "batch_tokens": run.embed.batch_tokens,
        "calibration": CALIBRATION_PASSAGES,
        "exported": str(exported_folder(run.encoder) or ""),
        "machine": describe_machine(device_of(run.encoder)),
    }
    return locate(run.workspace, "encoder", identity, [ingest(run), chunk(run)])


def _load(run: RunConfig, forms: tuple[str, ...]) -> tuple[dict[str, Encoder], dict[str, FormFigures]]:
    """Encoders by form, and a line of refusal for each that does not load."""
    loaded: dict[str, Encoder] = {}
    refused: dict[str, FormFigures] = {}
    for form in forms:
        try:
            loaded[form] = load_encoder(config_of(run, form), run.embed.batch_tokens)
        except InputError as error:
            if form == EXACT:
                raise
            refused[form] = FormFigures(form=form, accepted=False, reason=error.problem)
    return loaded, refused


def _questions(tables: Path, most: int, seed: int) -> Questions:
    """Questions that have a relevant document, at most so many, drawn with the seed."""
    qrels = read_qrels(tables / "qrels")
    judged = {query for query, grades in qrels.items() if any(grade > 0 for grade in grades.values())}
    if not judged:
        return Questions({}, {})
    asked = [row for row in read_table(tables / "queries", ["id", "text"]).to_pylist() if row["id"] in judged]
    if len(asked) > most:
        asked = [asked[i] for i in np.sort(np.random.default_rng(seed).choice(len(asked), most, replace=False))]
    texts = {row["id"]: row["text"] for row in asked}
    return Questions(texts, {query: qrels[query] for query in texts})


def _cosine_to_torch(exact: "SentenceEncoder", model: Path, output: str) -> float:
    """Smallest cosine between vectors of an ONNX file and those of torch, over the fixed texts."""
    from data.encoders.onnx.encoder import open_session
    from data.encoders.onnx.export import batches_of
    from data.encoders.transformer.precision import TEXTS

    session = open_session(model, "cpu")
    vectors = np.concatenate([session.run([output], batch)[0] for batch in batches_of(exact, TEXTS)])
    return float((exact.encode_cut(TEXTS) * vectors).sum(axis=1).min())


if __name__ == "__main__":
    from ray_apps.cli import main

    sys.exit(main(["encoder", *sys.argv[1:]]))
