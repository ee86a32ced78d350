"""Matryoshka fine-tuning on Ray Train: one worker or several, each death survived from the last epoch's checkpoint."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from data.encoders.transformer.models import open_model
from training.encoders.config import MatryoshkaConfig
from training.encoders.examples import Corpus
from training.encoders.matryoshka import matryoshka_task
from training.encoders.pairs import read_pairs, write_pairs
from training.encoders.seen import keep_marks, pair_marks
from training.encoders.tuned import MODEL, check_fits, run_tuning, tune_here


def tune_encoder(corpus: Corpus, model: str, config: MatryoshkaConfig, out: Path) -> dict[str, Any]:
    """Fine-tune a run's model; killed and started again with the same ``out``, it continues from the last epoch.

    Args:
        corpus: what pairs are taken from.
        model: a sentence-transformers model, by name or folder.
        config: pairs, dimensions, optimiser, workers.
        out: receives ``model/``, a sentence-transformers folder with the marks of the pairs that it has seen, and
            ``pairs.parquet``.

    Returns:
        ``training_pairs``, ``valid_pairs``, ``dims`` (for each: nDCG@10 of held-out pairs ``before`` and ``after``),
        ``best_epoch`` (0: training improved nothing and the model is unchanged), ``history``, ``model``.

    Raises:
        InputError: if the corpus has too few pairs, or the model has fewer dimensions or layers than asked for.
    """
    check_fits(model, config.dims, config.frozen_layers, "matryoshka")
    counts = write_pairs(corpus, config, out / "pairs.parquet")
    settings = {"model": model, "config": config.model_dump(), "out": str(out)}
    progress = run_tuning(tune_worker, settings, out, config.spread, config.epochs)
    texts = pq.read_table(out / "pairs.parquet", columns=["anchor", "positive"])
    marks = pair_marks(texts["anchor"].to_pylist(), texts["positive"].to_pylist())
    keep_marks(marks, out / MODEL, made_from=Path(model).expanduser())
    before, after = progress["history"][0], progress["history"][progress["best_epoch"]]
    dims = [{"dim": d, "before": before[f"ndcg@10[{d}]"], "after": after[f"ndcg@10[{d}]"]} for d in config.dims]
    return {
        **counts,
        "dims": dims,
        "best_epoch": progress["best_epoch"],
        "history": progress["history"],
        "model": str(out / MODEL),
    }


def tune_worker(settings: dict[str, Any]) -> None:
    """What each Ray Train worker does."""
    config, out = MatryoshkaConfig(**settings["config"]), Path(settings["out"])
    model = open_model(settings["model"], "cpu", None)
    pairs = read_pairs(out / "pairs.parquet")
    tune_here(
        model,
        lambda rank, world: matryoshka_task(model, pairs, config, rank, world),
        config.optimizer,
        config.spread,
        out,
    )
