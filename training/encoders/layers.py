"""The layers of a transformer: which stay as they are, and at which share of the rate the others learn."""

from typing import TYPE_CHECKING, Any

from torch import nn

from data.errors import InputError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


def layers_of(model: "SentenceTransformer") -> list[nn.Module]:
    """The layers of a model's transformer, lowest first; empty where it has none."""
    return stack_of(model[0])


def stack_of(transformer: nn.Module) -> list[nn.Module]:
    """The layers of a transformer, lowest first; empty where it has none."""
    stacks = [list(module) for module in transformer.modules() if isinstance(module, nn.ModuleList)]
    return max(stacks, key=len, default=[])


def freeze_lowest(model: "SentenceTransformer", layers: int, section: str) -> None:
    """Leave word embeddings and the lowest ``layers`` layers of a transformer as they are.

    Args:
        model: whose weights are frozen in place.
        layers: how many; 0 freezes nothing.
        section: of the run file, for the message.

    Raises:
        InputError: if it has fewer layers.
    """
    freeze_below(model[0], layers, section)


def freeze_below(transformer: nn.Module, layers: int, section: str) -> None:
    """Leave all of a transformer but its layers from number ``layers`` on as it is; see ``freeze_lowest``."""
    stack = stack_of(transformer)
    if layers > len(stack):
        raise InputError(
            f"{section}.frozen_layers: {layers}, and the model has {len(stack)}", f"Give at most {len(stack)}."
        )
    if layers:
        for weights in transformer.parameters():
            weights.requires_grad_(False)
        for layer in stack[layers:]:
            layer.requires_grad_(True)


def falling_rates(model: "SentenceTransformer", decay: float) -> list[dict[str, Any]]:
    """Groups of the trained weights for the optimiser: a layer's rate is ``decay`` times that of the layer above it.

    Layer-wise decay (Howard and Ruder, "Universal Language Model Fine-tuning", ACL 2018). What is above the layers has
    the rate of the uppermost, what is below them that of the lowest.
    """
    stack = layers_of(model)
    depth = {id(weights): number for number, layer in enumerate(stack) for weights in layer.parameters()}
    below = {id(weights) for weights in model[0].parameters()} - depth.keys()
    groups: dict[int, list[nn.Parameter]] = {}
    for weights in model.parameters():
        if weights.requires_grad:
            level = depth.get(id(weights), 0 if id(weights) in below else len(stack) - 1)
            groups.setdefault(level, []).append(weights)
    return [{"params": groups[n], "rate": decay ** max(0, len(stack) - 1 - n)} for n in sorted(groups, reverse=True)]
