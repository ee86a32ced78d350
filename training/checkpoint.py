"""The state of a training on disk, from which it resumes, also on another number of workers.

Weights and optimiser are written by ``torch.distributed.checkpoint``: every worker writes what it holds, and reads what
it is to hold, so that the folder fits one worker, replicas and shards alike. What is equal on all workers beside them
(progress, the task's own state) is written by the first.
"""

import json
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from data.errors import InputError
from training.replicas import all_well, alone

State = dict[str, Tensor]


def save_checkpoint(
    folder: Path,
    model: nn.Module,
    best: State,
    optimizer: torch.optim.Optimizer,
    progress: Mapping[str, Any],
    task: State,
) -> None:
    """Write all that a training needs to go on; every worker calls it, and it returns when all have written.

    Args:
        folder: exists; workers may each have their own, whose files are put together afterwards.
        model: bare, replicated or sharded.
        best: the weights of the best epoch, by the names of ``model``, sharded as it is.
        optimizer: of the model's weights.
        progress: JSON values.
        task: tensors that the task keeps itself, equal on all workers.

    Raises:
        OSError: if the files cannot be written, on every worker.
    """
    weights, moments = get_state_dict(model, optimizer)
    with _one_process_is_well():
        try:
            save({"model": weights, "best": best, "optimizer": moments}, checkpoint_id=folder, no_dist=alone())
        except CheckpointException as error:  # of any worker, raised on all; no Exception by itself
            causes = [f"worker {rank}: {cause}" for rank, (cause, _) in error.failures.items()]
            raise OSError("; ".join(causes)) from error
    if alone() or dist.get_rank() == 0:
        save_file({name: tensor.contiguous() for name, tensor in task.items()}, folder / "task.safetensors")
        (folder / "progress.json").write_text(json.dumps(progress))


def keep_checkpoint(folder: Path, save: Callable[[Path], None]) -> str | None:
    """Save a checkpoint, or leave nothing of it where the disk is full; on all workers alike.

    Returns:
        None, or what kept it from being written: the training can go on, and the last good checkpoint stays.
    """
    failure = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save(folder)
    except OSError as error:
        failure = str(error)
    if all_well(failure is None):
        return None
    shutil.rmtree(folder, ignore_errors=True)
    return f"no checkpoint could be written to {folder} ({failure or 'by another worker'}); the last good one stays"


def load_checkpoint(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, best: State) -> State:
    """Put a saved state back into a model, its optimiser and the best weights; returns the task's own state.

    Raises:
        InputError: if the state is of a model with other weights.
    """
    weights, moments = get_state_dict(model, optimizer)
    _check_same(folder, weights)
    state = {"model": weights, "best": best, "optimizer": moments}
    with _one_process_is_well():
        load(state, checkpoint_id=folder, no_dist=alone())
    set_state_dict(model, optimizer, model_state_dict=weights, optim_state_dict=moments)
    kept: State = load_file(folder / "task.safetensors")
    return kept


def read_progress(folder: Path) -> dict[str, Any]:
    """The progress in a checkpoint."""
    progress: dict[str, Any] = json.loads((folder / "progress.json").read_text())
    return progress


def _check_same(folder: Path, weights: Mapping[str, Any]) -> None:
    saved = FileSystemReader(folder).read_metadata().state_dict_metadata
    shapes = {n.removeprefix("model."): getattr(m, "size", ()) for n, m in saved.items() if n.startswith("model.")}
    for name in sorted(shapes.keys() | weights.keys()):
        theirs = str(tuple(shapes[name])) if name in shapes else "absent"
        ours = str(tuple(weights[name].shape)) if name in weights else "absent"
        if theirs != ours:
            raise InputError(
                f"the checkpoint in {folder} is of another model: {name} is {theirs} there and {ours} here",
                "Remove that folder to train anew, or train with the configuration that it was made with.",
            )


@contextmanager
def _one_process_is_well() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled", UserWarning)
        yield
