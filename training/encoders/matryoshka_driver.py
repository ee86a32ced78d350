"""Matryoshka fine-tuning on Ray Train: one worker or several, each death survived from the last epoch's checkpoint."""

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import ray.train

from data.encoders.transformer.models import open_model
from data.errors import InputError
from data.files import whole_folder_or_absent
from training.encoders.config import MatryoshkaConfig
from training.encoders.examples import Corpus
from training.encoders.matryoshka import MatryoshkaTask, freeze_lowest
from training.encoders.pairs import read_pairs, write_pairs
from training.encoders.seen import keep_marks, pair_marks
from training.workers import CHECKPOINTS, fit_here, run_workers


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
    _check_fits(model, config)
    counts = write_pairs(corpus, config, out / "pairs.parquet")
    settings = {"model": model, "config": config.model_dump(), "out": str(out)}
    run_workers(tune_worker, settings, out, config.spread, config.epochs)
    progress = json.loads((out / "progress.json").read_text())
    shutil.rmtree(out / CHECKPOINTS)
    before, after = progress["history"][0], progress["history"][progress["best_epoch"]]
    dims = [{"dim": d, "before": before[f"ndcg@10[{d}]"], "after": after[f"ndcg@10[{d}]"]} for d in config.dims]
    return {
        **counts,
        "dims": dims,
        "best_epoch": progress["best_epoch"],
        "history": progress["history"],
        "model": str(out / "model"),
    }


def tune_worker(settings: dict[str, Any]) -> None:
    """What each Ray Train worker does; the first one writes the model."""
    config, out = MatryoshkaConfig(**settings["config"]), Path(settings["out"])
    model = open_model(settings["model"], "cpu", None)
    length = model.max_seq_length
    pairs = read_pairs(out / "pairs.parquet")

    def task(rank: int, world: int) -> MatryoshkaTask:
        return MatryoshkaTask(model, pairs, config, rank, world)

    # Poolers and other weights that no vector depends on have no gradient.
    progress = fit_here(task, config.optimizer, config.spread, out, unused=True)
    if ray.train.get_context().get_world_rank() == 0:
        model.max_seq_length = length
        with whole_folder_or_absent(out / "model") as unfinished:
            model.save(str(unfinished), create_model_card=False)
            texts = pq.read_table(out / "pairs.parquet", columns=["anchor", "positive"])
            marks = pair_marks(texts["anchor"].to_pylist(), texts["positive"].to_pylist())
            keep_marks(marks, unfinished, made_from=Path(settings["model"]).expanduser())
        (out / "progress.json").write_text(json.dumps(vars(progress), indent=2))


def _check_fits(name: str, config: MatryoshkaConfig) -> None:
    """Refuse dimensions or layers that the model does not have, before a worker starts: each would be restarted."""
    model = open_model(name, "cpu", None)
    width = int(model.get_embedding_dimension() or 0)
    if config.dims[0] > width:
        raise InputError(
            f"matryoshka.dims: {config.dims[0]} is more than {name} has ({width})", f"Give at most {width}."
        )
    freeze_lowest(model, config.frozen_layers)
