"""Names the relation of a link: a softmax over the states of both ends.

Shapes: P pairs, W width of a state, R relations.
"""

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from data.files import whole_or_absent

_EPOCHS, _BATCH, _RATE = 5, 4096, 1e-2


def fit_relations(
    states: np.ndarray, sources: np.ndarray, targets: np.ndarray, relation: np.ndarray, relations: int, seed: int
) -> nn.Linear:
    """Softmax regression on directed training links.

    Args:
        states: float32 (N, W).
        sources: int64 (P,).
        targets: int64 (P,).
        relation: int64 (P,).
        relations: R.
        seed: of first weights and shuffling.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = nn.Linear(2 * states.shape[1], relations)
        optimizer = torch.optim.AdamW(head.parameters(), lr=_RATE)
        for _ in range(_EPOCHS):
            for chosen in torch.split(torch.randperm(len(sources)), _BATCH):
                ends = _ends(states, sources[chosen.numpy()], targets[chosen.numpy()])
                loss = nn.functional.cross_entropy(head(ends), torch.from_numpy(relation[chosen.numpy()]))
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
    return head


@torch.inference_mode()
def name_relations(head: nn.Linear, states: np.ndarray, sources: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The likeliest relation of each directed pair: int64 (P,)."""
    parts = [
        head(_ends(states, sources[start : start + 2**16], targets[start : start + 2**16])).argmax(1)
        for start in range(0, len(sources), 2**16)
    ]
    return torch.cat(parts).numpy() if parts else np.zeros(0, np.int64)


def _ends(states: np.ndarray, sources: np.ndarray, targets: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.concatenate([states[sources], states[targets]], axis=1))


def save_relations(head: nn.Linear, path: Path) -> None:
    """Write the head's weights; whole or absent."""
    with whole_or_absent(path) as unfinished:
        save_file({name: tensor.contiguous() for name, tensor in head.state_dict().items()}, unfinished)


def load_relations(path: Path) -> nn.Linear:
    """Read what ``save_relations`` wrote."""
    weights = load_file(path)
    head = nn.Linear(weights["weight"].shape[1], weights["weight"].shape[0])
    head.load_state_dict(weights)
    return head
