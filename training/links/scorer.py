"""The scorer of pairs: small networks over a pair's features, fitted to put the true target of a list first.

Shapes: Q lists, L places of a list, P pairs, F features.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from data.files import whole_or_absent
from training.links.config import ScorerConfig
from training.links.features import FEATURES

LISTS_A_STEP = 256  # at most; fewer where there are few, so that an epoch has enough steps
PLACES_A_STEP = 160
PAIRS_AT_ONCE = 2**15  # what fits the processor's cache, with its hidden layers


class ScorerShape(BaseModel):
    """Everything needed to build a scorer before its weights are loaded."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    features: tuple[str, ...]
    units: int
    members: int
    shortlist: int = 100  # documents from each way of looking that it was fitted among, and so is asked about


@dataclass(frozen=True)
class Lists:
    """Questions with their candidates, the true one first.

    Attributes:
        features: float32 (Q, L, F), by ``FEATURES``.
        absent: bool (Q, L), places that hold no candidate.
        group: int64 (Q,), lists of one link have one number: they are never on both sides of a fit and its test.
        wanted: bool (Q,), lists of validation links, by which scorers are chosen.
    """

    features: Tensor
    absent: Tensor
    group: np.ndarray
    wanted: np.ndarray

    def at(self, chosen: np.ndarray) -> "Lists":
        """Some of the lists."""
        index = torch.from_numpy(chosen)
        return Lists(self.features[index], self.absent[index], self.group[chosen], self.wanted[chosen])


class PairScorer(nn.Module):
    """Mean of a few small networks over standardised features; with no units, one linear map.

    Args:
        shape: which of ``FEATURES`` it sees, and sizes.
    """

    mean_F: Tensor
    spread_F: Tensor

    def __init__(self, shape: ScorerShape) -> None:
        super().__init__()
        self.shape = shape
        self._columns = [FEATURES.index(name) for name in shape.features]
        self.register_buffer("mean_F", torch.zeros(len(shape.features)))
        self.register_buffer("spread_F", torch.ones(len(shape.features)))
        self.direct = nn.Linear(len(shape.features), 1)
        nn.init.zeros_(self.direct.weight)
        self.members = nn.ModuleList(
            _network(len(shape.features), shape.units) for _ in range(shape.members if shape.units else 0)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Logits of pairs: float32 (..., F) by ``FEATURES`` in, float32 (...) out."""
        seen = self.standardise(features)
        direct: Tensor = self.direct(seen).squeeze(-1)
        if not len(self.members):
            return direct
        return direct + torch.stack([member(seen).squeeze(-1) for member in self.members]).mean(0)

    def standardise(self, features: Tensor) -> Tensor:
        """The features that the scorer sees, with zero mean and unit spread."""
        return (features[..., self._columns] - self.mean_F) / self.spread_F

    @torch.inference_mode()
    def logits(self, features: np.ndarray) -> np.ndarray:
        """Logits of pairs: float32 (P, F) in, float32 (P,) out."""
        parts = [
            self(torch.from_numpy(features[start : start + PAIRS_AT_ONCE]))
            for start in range(0, len(features), PAIRS_AT_ONCE)
        ]
        return torch.cat(parts).numpy() if parts else np.zeros(0, np.float32)

    def save(self, path: Path) -> None:
        """Write weights with the shape in the file's header; whole or absent."""
        weights = {name: tensor.contiguous() for name, tensor in self.state_dict().items()}
        with whole_or_absent(path) as unfinished:
            save_file(weights, unfinished, metadata={"scorer": self.shape.model_dump_json()})

    @classmethod
    def load(cls, path: Path) -> "PairScorer":
        """Read what ``save`` wrote."""
        with safe_open(path, framework="pt") as file:
            shape = ScorerShape.model_validate_json(file.metadata()["scorer"])
        scorer = cls(shape)
        scorer.load_state_dict(load_file(path))
        return scorer.eval()


def fit_scorer(lists: Lists, features: Sequence[str], config: ScorerConfig, seed: int = 0) -> PairScorer:
    """Fit a scorer by the softmax of the true target over its list (ListNet's top-one loss, Cao et al., ICML 2007).

    Each member is fitted by itself, from other first weights and in another order, so that their mean is steadier.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        units = config.units if len(lists.group) >= 4 * config.units else 0
        members = config.members if units else 0
        scorer = PairScorer(
            ScorerShape(features=tuple(features), units=units, members=members, shortlist=config.shortlist)
        )
        present = lists.features[~lists.absent][:, scorer._columns]
        scorer.mean_F.copy_(present.mean(0))
        scorer.spread_F.copy_(present.std(0).clamp(min=1e-3))
        seen = scorer.standardise(lists.features)
        _descend(scorer.direct, None, seen, lists.absent, config)
        with torch.no_grad():
            base = scorer.direct(seen).squeeze(-1)
        for member in scorer.members:
            _descend(member, base, seen, lists.absent, config)
    return scorer.eval()


def _descend(network: nn.Module, base: Tensor | None, seen: Tensor, absent: Tensor, config: ScorerConfig) -> None:
    """AdamW on a network that adds to ``base``, its rate falling to zero in a line."""
    optimizer = torch.optim.AdamW(
        network.parameters(), config.learning_rate, weight_decay=config.weight_decay, fused=True
    )
    together = max(16, min(LISTS_A_STEP, len(seen) // 16))
    steps = config.epochs * -(-len(seen) // together)
    rate = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
    for _ in range(config.epochs):
        for chosen in torch.split(torch.randperm(len(seen)), together):
            # The true target and a sample of places: a step costs as much as the sample.
            places = torch.cat(
                [torch.zeros(1, dtype=torch.long), 1 + torch.randperm(seen.shape[1] - 1)[:PLACES_A_STEP]]
            )
            at = (chosen[:, None], places)
            logits = network(seen[at]).squeeze(-1)
            if base is not None:
                logits = logits + base[at]
            logits = logits.masked_fill(absent[at], -torch.inf)
            loss = nn.functional.cross_entropy(logits, torch.zeros(len(chosen), dtype=torch.long))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            rate.step()


def _network(inputs: int, units: int) -> nn.Sequential:
    last = nn.Linear(units, 1)
    nn.init.zeros_(last.weight)
    layers: list[Any] = [nn.Linear(inputs, units), nn.GELU(), nn.Linear(units, units), nn.GELU(), last]
    return nn.Sequential(*layers)


def list_ranks(logits: Tensor, absent: Tensor) -> np.ndarray:
    """Rank of the first place of each list, ties by half: (Q, L) in, float64 (Q,) out."""
    rivals = logits[:, 1:].masked_fill(absent[:, 1:], -torch.inf)
    above, level = (rivals > logits[:, :1]).sum(1), (rivals == logits[:, :1]).sum(1)
    ranks: np.ndarray = (1.0 + above + level / 2.0).double().numpy()
    return ranks
