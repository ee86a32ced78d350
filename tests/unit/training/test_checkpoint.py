"""Models and training states come back from disk as they went."""

from pathlib import Path

import pytest
import torch

from training.checkpoint import load_state, save_state
from training.links.model import LinkModel, ModelShape, load_model, save_model

Weights = dict[str, torch.Tensor]


def model_of(dim: int | None = 6, seed: int = 0) -> LinkModel:
    torch.manual_seed(seed)
    return LinkModel(
        ModelShape(dim=dim, hidden=8, layers=1, heads=2, views=2, dropout=0.1, relations=("cites", "קשור ל"))
    )


def same(first: Weights, second: Weights) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def step(model: LinkModel, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    sum(weights.square().sum() for weights in model.parameters()).backward()
    optimizer.step()


@pytest.mark.parametrize("dim", [6, None])
def test_a_model_comes_back_whole(tmp_path: Path, dim: int | None) -> None:
    model = model_of(dim)
    model.feature_mean_F.normal_()
    save_model(model, tmp_path / "model.safetensors")
    again = load_model(tmp_path / "model.safetensors")
    assert again.shape == model.shape and same(again.state_dict(), model.state_dict())
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


def test_a_model_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_model(model_of(6), path)
    save_model(model_of(None), path)
    assert load_model(path).shape.dim is None


def test_a_state_goes_on_as_if_nothing_had_been(tmp_path: Path) -> None:
    model = model_of()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    step(model, optimizer)
    best = {name: weights + 1 for name, weights in model.state_dict().items()}
    progress = {"epoch": 3, "best_mrr": 0.1 + 0.2, "best_epoch": 2, "history": [{"epoch": 1, "loss": 0.5}]}
    save_state(tmp_path, model, best, optimizer, progress)

    resumed = model_of(seed=1)
    continued = torch.optim.AdamW(resumed.parameters(), lr=0.1)
    best_again, progress_again = load_state(tmp_path, resumed, continued)
    assert progress_again == progress and same(best_again, best)
    assert same(resumed.state_dict(), model.state_dict())
    for _ in range(2):
        step(model, optimizer)
        step(resumed, continued)
    assert same(resumed.state_dict(), model.state_dict()), "the optimiser's moments were lost"


def test_a_state_from_before_the_first_step(tmp_path: Path) -> None:
    model = model_of()
    best = {name: weights.clone() for name, weights in model.state_dict().items()}
    save_state(tmp_path, model, best, torch.optim.AdamW(model.parameters()), {"epoch": 0})
    resumed = model_of(seed=1)
    _, progress = load_state(tmp_path, resumed, torch.optim.AdamW(resumed.parameters()))
    assert progress == {"epoch": 0} and same(resumed.state_dict(), model.state_dict())
