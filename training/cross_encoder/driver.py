"""Training of a cross-encoder on Ray Train, and the folder that comes out of it."""

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import ray.train

from data.errors import InputError
from data.files import whole_folder_or_absent
from data.sources.beir import BeirSource
from training.cross_encoder.card import write_card
from training.cross_encoder.config import TRAINED, RankerConfig
from training.cross_encoder.judge import verdict
from training.cross_encoder.lists import Lists, Search, read_lists, write_lists
from training.cross_encoder.model import new_ranker, readable
from training.cross_encoder.questions import answer_marks, gather, made_questions
from training.cross_encoder.task import RankerTask
from training.encoders.examples import Corpus
from training.encoders.seen import keep_marks
from training.workers import CHECKPOINTS, fit_here, run_workers

logger = logging.getLogger("catena")

PROGRESS, LOGITS, MARKS = "progress.json", "valid_logits.npy", "marks.npy"


def prepare(
    corpus: Corpus, search: Search, config: RankerConfig, training: BeirSource | None, out: Path
) -> dict[str, Any]:
    """Gather questions and what the first stage finds for them.

    Args:
        corpus: of the run.
        search: the first stage.
        config: what is learned from.
        training: judgments for training; None where the source has none of its own.
        out: the artifact's folder.

    Returns:
        ``learned_from``, ``training_questions`` (with ``made_questions``), ``valid_questions``, and ``too_long``, the
        questions that the model could not read.

    Raises:
        InputError: if there is nothing to learn from, or too little.
    """
    fits = readable(config.base, config.max_length)
    questions, source = gather(corpus, config, training)
    made = made_questions(corpus, config) if config.made_questions else []
    np.save(out / MARKS, answer_marks(corpus, questions)[0])
    asked = [*questions, *made]
    read = [question for question in asked if fits(question.text)]
    if len(read) < len(asked):
        logger.warning("ranker: %d questions are too long for it and left out", len(asked) - len(read))
    counts = write_lists(read, search, corpus.texts, out)
    if counts["training_questions"] < 2 or not counts["valid_questions"]:
        raise InputError(
            f"ranker: of {len(questions)} questions ({source}) {counts['training_questions']} can be trained on and "
            f"{counts['valid_questions']} validated with: search finds near documents for no others",
            "Raise ranker.depth, or give the source more questions.",
        )
    return {"learned_from": source, **counts, "made_questions": len(made), "too_long": len(asked) - len(read)}


def train_ranker(config: RankerConfig, prepared: dict[str, Any], out: Path) -> dict[str, Any]:
    """Train a cross-encoder on what ``prepare`` wrote; killed and started again with the same ``out``, it goes on.

    Args:
        config: base, batches, optimiser, workers.
        prepared: what ``prepare`` returned.
        out: receives ``trained/``, which sentence-transformers' ``CrossEncoder`` opens.

    Returns:
        ``prepared``; ``ndcg`` of held-out questions (``first``, ``alone``, ``reranked``), ``compared``, ``beats``,
        ``weight``, ``best_epoch``, ``history`` and ``model``, the folder.
    """
    settings = {"config": config.model_dump(), "out": str(out.resolve())}
    run_workers(ranker_worker, settings, out, config.spread, config.optimizer.epochs)
    progress = json.loads((out / PROGRESS).read_text())
    shutil.rmtree(out / CHECKPOINTS, ignore_errors=True)
    folder, seed = out / TRAINED, config.optimizer.seed
    judged = verdict(_lists(out, config).valid, np.load(out / LOGITS), seed)
    logger.log(logging.INFO if judged.beats else logging.WARNING, "ranker: %s", judged)
    result = {
        **prepared,
        "ndcg": {"first": judged.first, "alone": judged.alone, "reranked": judged.reranked},
        "compared": judged.compared,
        "beats": judged.beats,
        "weight": judged.blend.weight,
        "best_epoch": progress["best_epoch"],
        "history": progress["history"],
        "model": str(folder),
    }
    about = {**prepared, "base": config.base, "seed": seed, "sentence": f"{judged}."}
    judged.blend.save(folder, **about, ndcg=result["ndcg"], compared=judged.compared, best_epoch=progress["best_epoch"])
    shown = {"depth": config.depth, "list_documents": config.list_documents, "max_length": config.max_length}
    epochs = {"best_epoch": progress["best_epoch"], "epochs": progress["epoch"]}
    write_card(folder, {**about, **result["ndcg"], **shown, **epochs, "weight": judged.blend.weight})
    keep_marks(np.load(out / MARKS), folder, made_from=Path(config.base).expanduser())
    return result


def ranker_worker(settings: dict[str, Any]) -> None:
    """What each Ray Train worker does; the first one writes the model and the progress."""
    config, out = RankerConfig(**settings["config"]), Path(settings["out"])
    model, tokenizer = new_ranker(config.base, config.max_length, config.optimizer.seed)
    lists, tasks = _lists(out, config), list[RankerTask]()

    def make(rank: int, world: int) -> RankerTask:
        tasks.append(RankerTask(model, tokenizer, lists, config, rank, world))
        return tasks[-1]

    progress = fit_here(make, config.optimizer, config.spread, out)
    if ray.train.get_context().get_world_rank() == 0:
        (task,) = tasks
        with whole_folder_or_absent(out / TRAINED) as unfinished:
            model.save_pretrained(unfinished)
            tokenizer.save_pretrained(unfinished)
        assert task.best_VD is not None, "an epoch was judged"
        np.save(out / LOGITS, task.best_VD)
        (out / PROGRESS).write_text(json.dumps(vars(progress), indent=2))


def _lists(out: Path, config: RankerConfig) -> Lists:
    return read_lists(out, config.max_valid_questions, config.optimizer.seed)
