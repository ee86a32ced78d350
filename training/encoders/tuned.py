"""What every fine-tuning of an encoder does around its task: workers, the model that comes out, what it has seen."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray.train

from data.encoders.transformer.models import open_model
from data.errors import InputError
from data.files import whole_folder_or_absent
from training.config import OptimizerConfig, SpreadConfig
from training.encoders.layers import freeze_lowest
from training.encoders.task import FineTuneTask
from training.workers import CHECKPOINTS, fit_here, run_workers

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

MODEL, PROGRESS = "model", "progress.json"


def run_tuning(
    worker: Callable[[dict[str, Any]], None], settings: dict[str, Any], out: Path, spread: SpreadConfig, epochs: int
) -> dict[str, Any]:
    """Run the workers of a fine-tuning; killed and started again with the same ``out``, they go on.

    Args:
        worker: called on each with the settings; it ends with ``tune_here``.
        settings: plain values.
        out: the artifact's folder.
        spread: how many workers.
        epochs: most of them.

    Returns:
        The progress, with ``history`` and ``best_epoch``; epoch 0 is the model that it began with.
    """
    run_workers(worker, settings, out, spread, epochs)
    progress: dict[str, Any] = json.loads((out / PROGRESS).read_text())
    shutil.rmtree(out / CHECKPOINTS, ignore_errors=True)
    return progress


def tune_here(
    model: "SentenceTransformer",
    make: Callable[[int, int], FineTuneTask],
    optimizer: OptimizerConfig,
    spread: SpreadConfig,
    out: Path,
) -> None:
    """What each worker does; the first one writes the model, a sentence-transformers folder, and the progress."""
    length = model.max_seq_length
    # Poolers and other weights that no vector depends on have no gradient.
    progress = fit_here(make, optimizer, spread, out, unused=True)
    if ray.train.get_context().get_world_rank() == 0:
        model.max_seq_length = length
        with whole_folder_or_absent(out / MODEL) as unfinished:
            model.save(str(unfinished), create_model_card=False)
        (out / PROGRESS).write_text(json.dumps(vars(progress), indent=2))


def check_fits(name: str, dims: tuple[int, ...], frozen_layers: int, section: str) -> None:
    """Refuse what the model does not have, before a worker starts: each would be restarted.

    Raises:
        InputError: if it has fewer dimensions or layers, or no weights that are left to train.
    """
    model = open_model(name, "cpu", None)
    width = int(model.get_embedding_dimension() or 0)
    if dims and dims[0] > width:
        raise InputError(f"{section}.dims: {dims[0]} is more than {name} has ({width})", f"Give at most {width}.")
    freeze_lowest(model, frozen_layers, section)
    if not any(weights.requires_grad for weights in model.parameters()):
        raise InputError(
            f"{section}.frozen_layers: {frozen_layers} are all that {name} has, so nothing is left to train",
            f"Give at most {frozen_layers - 1}.",
        )
