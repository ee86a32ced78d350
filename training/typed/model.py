"""Entities, relations with their reciprocals, and a decoder: the model of typed links.

Shapes: N entities, R relations, E entities of a batch, B questions, C candidate tails, D floats of a text vector, d
floats of an entity: the first half of a row has real parts, the second imaginary ones, and in either half the table's
come before the text's.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from training.typed.config import TypedConfig
from training.typed.decoders import DECODERS
from training.typed.questions import Questions


class Answered(NamedTuple):
    """What the model says to a batch of questions.

    Shapes:
        scores_BC: of every candidate.
        ways_BW: of every relation and way back, W = 2R, between the head and the true tail.
        penalty: scalar, regularisation of what the questions are made of.
    """

    scores_BC: Tensor
    ways_BW: Tensor
    penalty: Tensor


@dataclass(frozen=True)
class Shape:
    """What a model is made for; kept beside its weights."""

    entities: int
    text_dim: int
    relations: tuple[str, ...]
    config: TypedConfig


class TypedModel(nn.Module):
    """Scores triples.

    Args:
        shape: sizes and configuration.
        seen_N: bool (N,), entities of training triples. Others have no learned vector, only their text.
    """

    def __init__(self, shape: Shape, seen_N: Tensor | None = None) -> None:
        super().__init__()
        self.shape, config = shape, shape.config
        self.decoder = DECODERS[config.decoder]
        scale, width, ways = config.initial_scale, 0, 2 * len(shape.relations)
        self.table: nn.Parameter | None = None
        self.text: nn.Linear | None = None
        if config.entities != "text":
            self.table = nn.Parameter(torch.randn(shape.entities, config.width) * scale)
            width += config.width
        if config.entities != "table":
            self.text = nn.Linear(shape.text_dim, config.text_width, bias=False)
            nn.init.orthogonal_(self.text.weight, gain=scale * config.text_width**0.5)  # rows of a unit text vector
            width += config.text_width
        self.relation = nn.Parameter(torch.randn(ways, width * self.decoder.halves // 2) * scale)
        if self.decoder.distance:
            nn.init.uniform_(self.relation, -torch.pi, torch.pi)
        seen = torch.ones(shape.entities, dtype=torch.bool) if seen_N is None else seen_N
        self.register_buffer("seen", seen)
        self.seen: Tensor

    def forward(self, asked: Questions) -> Answered:
        """Answers to a batch, as training needs them."""
        config, decoder = self.shape.config, self.decoder
        entity_Ed = self.entity(asked.entities_E, asked.text_ED)
        dropped_Ed = nn.functional.dropout(entity_Ed, config.dropout, self.training)
        head_Bd, tail_Cd = dropped_Ed.index_select(0, asked.head_B), dropped_Ed.index_select(0, asked.candidates_C)
        relation_Bk = self.relation.index_select(0, asked.relation_B)
        answer_Bd = tail_Cd.index_select(0, asked.target_B)
        scores_BC = decoder.all_pairs(decoder.query(head_Bd, relation_Bk), tail_Cd)
        ways_BW = decoder.all_relations(head_Bd, answer_Bd, self.relation)
        return Answered(scores_BC, ways_BW, self._n3(head_Bd, relation_Bk, answer_Bd))

    def entity(self, entities_E: Tensor, text_ED: Tensor) -> Tensor:
        """Vectors of some entities, (E, d), of their rows of the table and of their texts."""
        parts = []
        if self.table is not None:
            rows_Ew = nn.functional.embedding(entities_E, self.table)
            parts.append(rows_Ew * self.seen[entities_E, None])
        if self.text is not None:
            parts.append(self.text(text_ED))
        halves = [part.chunk(2, dim=1) for part in parts]
        return torch.cat([half for side in zip(*halves, strict=True) for half in side], dim=1)

    def _n3(self, *rows: Tensor) -> Tensor:
        """Cubes of absolute values (Lacroix, Usunier and Obozinski, ICML 2018), summed over a row's numbers.

        Rotations have no length, so of RotatE the entities alone count.
        """
        config, decoder = self.shape.config, self.decoder
        if not config.n3 and not config.text_n3:
            return rows[0].new_zeros(())
        counted = [rows[0], rows[2]] if decoder.distance else list(rows)
        cubes = torch.stack([decoder.moduli(row).pow(3).mean(0) for row in counted]).sum(0)
        return (cubes * self._weights(len(cubes), cubes.device)).sum()

    def _weights(self, numbers: int, device: torch.device) -> Tensor:
        config = self.shape.config
        weight = torch.full((numbers,), config.n3, device=device)
        if self.text is not None and config.text_n3 is not None:
            half = 0 if self.table is None else config.width // 2
            weight[half:] = config.text_n3
            if numbers > half + config.text_width // 2:  # real numbers, not pairs of them
                weight[half + config.text_width // 2 :][:half] = config.n3
        return weight

    @torch.no_grad()
    def all_entities(self, vectors: npt.NDArray[np.float32], rows: int = 16_384) -> Tensor:
        """Vectors of all entities, (N, d), made ``rows`` at a time from their text vectors (N, D)."""
        blocks = []
        for start in range(0, len(vectors), rows):
            text_ED = torch.from_numpy(np.array(vectors[start : start + rows]))
            blocks.append(self.entity(torch.arange(start, start + len(text_ED)), text_ED))
        return torch.cat(blocks)


def save_model(model: TypedModel, path: Path) -> None:
    """Write weights and what the model is made for; no pickle."""
    shape = model.shape
    described = {
        "entities": shape.entities,
        "text_dim": shape.text_dim,
        "relations": list(shape.relations),
        "config": shape.config.model_dump(mode="json"),
    }
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(tensors, path, metadata={"typed": json.dumps(described)})


def is_typed(path: Path) -> bool:
    """Whether a file of weights is one of ``save_model``."""
    with safe_open(path, framework="pt") as file:
        return "typed" in (file.metadata() or {})


def load_model(path: Path) -> TypedModel:
    """Read what ``save_model`` wrote, ready to score."""
    with safe_open(path, framework="pt") as file:
        described = json.loads(file.metadata()["typed"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    config = TypedConfig(**described["config"])
    shape = Shape(described["entities"], described["text_dim"], tuple(described["relations"]), config)
    model = TypedModel(shape)
    model.load_state_dict(tensors)
    return model.eval()
