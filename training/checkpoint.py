"""Models and training states on disk: weights as safetensors, everything else as the JSON header beside them."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from training.links.model import LinkModel, ModelShape


def save_model(model: LinkModel, path: Path) -> None:
    """Write a model's weights with its shape in the file's header; whole or absent."""
    unfinished = path.with_suffix(".unfinished")
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(weights, unfinished, metadata={"shape": model.shape.model_dump_json()})
    unfinished.replace(path)


def load_model(path: Path) -> LinkModel:
    """Read a model written by ``save_model``."""
    with safe_open(path, framework="pt") as file:
        shape = ModelShape.model_validate_json(file.metadata()["shape"])
    model = LinkModel(shape)
    model.load_state_dict(load_file(path))
    return model


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
