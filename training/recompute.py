"""Activations computed again in the backward pass, for the modules that ask for it (Chen et al., 2016)."""

import logging
from collections.abc import Callable
from typing import Any

from torch import Tensor, is_grad_enabled, nn
from torch.utils.checkpoint import checkpoint

logger = logging.getLogger("catena")


class Recomputing(nn.Module):
    """Base of a module whose activations may be computed twice instead of kept; it calls its layers by ``kept``."""

    recompute = False

    def kept(self, layer: Callable[..., Tensor], *inputs: Any) -> Tensor:  # noqa: ANN401 - whatever it takes
        """What the layer makes of the inputs; its activations are kept only where nothing is to be recomputed."""
        if self.recompute and is_grad_enabled():
            made: Tensor = checkpoint(layer, *inputs, use_reentrant=False)
            return made
        return layer(*inputs)


def recompute_activations(model: nn.Module) -> int:
    """Tell every module that can that its activations are to be recomputed; returns how many there are.

    These are modules of ``Recomputing`` and Hugging Face's models, which have a switch of their own.
    """
    found = 0
    for module in model.modules():
        if isinstance(module, Recomputing):
            module.recompute = True
            found += 1
        elif callable(enable := getattr(module, "gradient_checkpointing_enable", None)):
            enable(gradient_checkpointing_kwargs={"use_reentrant": False})
            found += 1
    if not found:
        logger.warning("checkpoint_activations: no module of this model recomputes its activations; nothing is saved")
    return found
