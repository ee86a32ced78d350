"""The state of a training on disk, from which a loop resumes: tensors as safetensors, progress as JSON."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file


def save_state(
    folder: Path,
    model: torch.nn.Module,
    best: dict[str, torch.Tensor],
    optimizer: torch.optim.Optimizer,
    progress: dict[str, Any],
) -> None:
    """Write all that a training loop needs to go on: weights, best weights, optimiser moments, progress."""
    state = optimizer.state_dict()
    tensors = {f"model.{name}": tensor.contiguous() for name, tensor in model.state_dict().items()}
    tensors |= {f"best.{name}": tensor.contiguous() for name, tensor in best.items()}
    for number, moments in state["state"].items():
        tensors |= {f"optimizer.{number}.{name}": torch.as_tensor(value) for name, value in moments.items()}
    save_file(tensors, folder / "state.safetensors")
    (folder / "progress.json").write_text(json.dumps(progress))


def load_state(
    folder: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Put a saved state back into a model and its optimiser; returns the best weights and the progress."""
    tensors = load_file(folder / "state.safetensors")
    parts: dict[str, dict[str, torch.Tensor]] = {"model": {}, "best": {}, "optimizer": {}}
    for name, tensor in tensors.items():
        part, _, rest = name.partition(".")
        parts[part][rest] = tensor
    model.load_state_dict(parts["model"])
    state = optimizer.state_dict()
    for name, tensor in parts["optimizer"].items():
        number, _, moment = name.partition(".")
        state["state"].setdefault(int(number), {})[moment] = tensor
    optimizer.load_state_dict(state)
    progress: dict[str, Any] = json.loads((folder / "progress.json").read_text())
    return parts["best"], progress
