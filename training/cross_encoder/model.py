"""A transformer with a head of one output, and the loss over the documents of a question."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from data.encoders.transformer.models import find_model
from data.encoders.transformer.tokens import without_limits
from data.errors import InputError
from training.encoders.layers import freeze_below

Tokens = dict[str, Tensor]


def new_ranker(base: str, max_length: int, seed: int) -> tuple[Any, Any]:
    """A transformer for pairs with the weights of another and a new head, in fp32, and its tokenizer.

    Attention has no dropout: torch's fused kernel has none on a CPU, and without it takes twice the time and memory.

    Args:
        base: folder or name; of a sentence-transformers model, its transformer is taken.
        max_length: tokens of a pair.
        seed: of the head.

    Raises:
        InputError: as ``readable``.
    """
    from transformers import AutoConfig, AutoModelForSequenceClassification

    place, tokenizer = find_model(base), _tokenizer(base, max_length)
    config = AutoConfig.from_pretrained(place, num_labels=1)
    if hasattr(config, "attention_probs_dropout_prob"):
        config.attention_probs_dropout_prob = 0.0
    torch.manual_seed(seed)
    model = AutoModelForSequenceClassification.from_pretrained(place, config=config, dtype=torch.float32)
    return model, tokenizer


def readable(base: str, max_length: int) -> Callable[[str], bool]:
    """Whether a question leaves half of what the ranker will read to the document; before any worker starts.

    Raises:
        InputError: if the base cannot be opened, or reads fewer tokens.
    """
    from transformers import AutoConfig

    whole = without_limits(_tokenizer(base, max_length))
    longest = int(getattr(AutoConfig.from_pretrained(find_model(base)), "max_position_embeddings", max_length))
    if max_length > longest:
        raise InputError(
            f"ranker.max_length: {max_length} is more than {base} reads ({longest} tokens)", f"Give at most {longest}."
        )
    return lambda question: len(whole.encode(question, add_special_tokens=False).ids) <= max_length // 2


def _tokenizer(base: str, max_length: int) -> Any:  # noqa: ANN401 - of transformers
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(find_model(base), model_max_length=max_length)
    except InputError as error:
        raise InputError(error.problem.replace("encoder.model", "ranker.base"), error.remedy) from None
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(
            f"ranker.base: {base} cannot be opened as a transformer: {reason}",
            "Name a transformer's folder, or all-MiniLM-L6-v2, which comes with the installation.",
        ) from error


class PairLogits(nn.Module):
    """All pairs of a batch in one forward pass, as data-parallel training wants it.

    Args:
        ranker: a transformers model with one output.
    """

    def __init__(self, ranker: nn.Module) -> None:
        super().__init__()
        self.ranker = ranker

    def forward(self, pieces: Sequence[Tokens]) -> Tensor:
        """Logits of the pairs of all pieces, in their order: (P,)."""
        return torch.cat([self.ranker(**piece).logits.squeeze(-1) for piece in pieces])

    def freeze(self, layers: int) -> None:
        """Leave word embeddings and the lowest layers as they are; the head, with the pooler before it, learns.

        Raises:
            InputError: if it has fewer layers.
        """
        if self._trunk is not None:
            freeze_below(self._trunk, layers, "ranker")
        for weights in self._head:
            weights.requires_grad_(True)

    def groups(self, head_rate: float) -> list[dict[str, Any]]:
        """Weights for the optimiser: those of the transformer, and of the head, which is new and learns faster."""
        head = {id(weights) for weights in self._head}
        learned = [weights for weights in self.ranker.parameters() if weights.requires_grad]
        body = [weights for weights in learned if id(weights) not in head]
        return [{"params": body}, {"params": self._head, "rate": head_rate}]

    @property
    def _trunk(self) -> nn.Module | None:
        """The transformer without its head."""
        trunk = getattr(self.ranker, str(getattr(self.ranker, "base_model_prefix", "")), None)
        return trunk if isinstance(trunk, nn.Module) else None

    @property
    def _head(self) -> list[nn.Parameter]:
        """Weights of the head and of the pooler: an encoder that pools in another way never trained its own."""
        trunk = self._trunk
        pooler = None if trunk is None else getattr(trunk, "pooler", None)
        own = [] if trunk is None else list(trunk.parameters())
        pooled = {id(weights) for weights in pooler.parameters()} if isinstance(pooler, nn.Module) else set()
        inner = {id(weights) for weights in own} - pooled
        return [weights for weights in self.ranker.parameters() if id(weights) not in inner]


def listwise_loss(logits_QD: Tensor, there_QD: Tensor) -> Tensor:
    """Softmax cross entropy of each question's first document against its others (ListNet's top one: Cao et al., 2007).

    Args:
        logits_QD: of D documents for each of Q questions; the first one answers.
        there_QD: bool, which of them there are.

    Returns:
        The mean over questions, a scalar.
    """
    scores = logits_QD.float().masked_fill(~there_QD, -torch.inf)
    return (torch.logsumexp(scores, 1) - scores[:, 0]).mean()
