"""A cross-encoder behind the service: question and document read together, many pairs a batch."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from data.batching import token_batches
from data.encoders.transformer.precision import TEXTS
from data.encoders.transformer.tokens import without_limits
from data.errors import InputError, TextRefused

if TYPE_CHECKING:
    import torch

MOST_APART = 0.05  # logits of a pair, computed with other padding

Scored = tuple[float, bool, int]  # logit, whether the document was cut, tokens read


class CrossEncoderModel:
    """Scores pairs with a model of one output, in batches by padded area; of a pair too long, the document is cut.

    Args:
        model: folder or name, as sentence-transformers' ``CrossEncoder`` takes it.
        batch_tokens: largest padded area of a batch.
        key: of the run file that names it, for messages.

    Raises:
        InputError: if there is no such model, or it has not one output.
    """

    def __init__(self, model: str, batch_tokens: int, key: str = "serve.ranker") -> None:
        from sentence_transformers import CrossEncoder

        try:
            opened = CrossEncoder(model)
        except (OSError, ValueError, KeyError) as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise InputError(
                f"{key}: {model} cannot be opened: {reason}", "Name the folder of a cross-encoder."
            ) from error
        if opened.num_labels != 1:
            raise InputError(
                f"{key}: {model} has {opened.num_labels} outputs; a ranker has one", "Name another cross-encoder."
            )
        self.name, self._key, self._cross_encoder = ranker_name(model), key, opened
        self._model: Any = opened.model.eval()
        self._tokenizer: Any = opened.tokenizer
        self._inputs = {"input_ids", *self._tokenizer.model_input_names}
        self._whole = without_limits(self._tokenizer)
        self.longest = int(opened.max_seq_length or 512)
        self._batch_tokens = batch_tokens

    def score(self, pairs: Sequence[tuple[str, str, int | None]]) -> list[Scored]:
        """Scores of pairs.

        Args:
            pairs: question, document, and most tokens that are read of the document; as many as fit where None.

        Returns:
            Of each its logit, whether the document was cut, and how many tokens the model read, in order.
        """
        import torch

        encoded = self._encode(pairs)
        lengths = np.array([len(numbers["input_ids"]) for numbers, _ in encoded], np.int64)
        logits = np.empty(len(pairs), np.float32)
        with torch.inference_mode():
            for batch in token_batches(lengths, self._batch_tokens):
                logits[batch] = self._forward([encoded[place][0] for place in batch])
        return [
            (float(logit), cut, int(length)) for logit, (_, cut), length in zip(logits, encoded, lengths, strict=True)
        ]

    def check(self) -> None:
        """Score pairs of all lengths as the model's own ``predict`` does, which warms it up too.

        Raises:
            InputError: if our scores are others.
        """
        import torch

        pairs = [(TEXTS[1], text) for text in TEXTS]
        theirs = self._cross_encoder.predict(pairs, activation_fn=torch.nn.Identity(), show_progress_bar=False)
        ours = np.array([logit for logit, _, _ in self.score([(*pair, None) for pair in pairs])])
        apart = float(np.nan_to_num(np.abs(ours - np.asarray(theirs, np.float32).ravel()), nan=np.inf).max())
        if not apart <= MOST_APART:
            raise InputError(
                f"{self._key}: scores of {self.name} are not those of CrossEncoder.predict: {apart:.3g} apart, at most "
                f"{MOST_APART:g}",
                "Name another cross-encoder.",
            )

    def _encode(self, pairs: Sequence[tuple[str, str, int | None]]) -> list[tuple[dict[str, list[int]], bool]]:
        """The numbers of pairs, and whether the document, which gets what the question leaves, was cut."""
        whole = self._whole.encode_batch([(query, text) for query, text, _ in pairs])
        return [self._fitted(encoding, query, most) for encoding, (query, _, most) in zip(whole, pairs, strict=True)]

    def _fitted(self, encoding: Any, query: str, most: int | None) -> tuple[dict[str, list[int]], bool]:  # noqa: ANN401 - untyped
        part = np.array([-1 if one is None else one for one in encoding.sequence_ids])
        question, document = int((part == 0).sum()), int((part == 1).sum())
        if question > self.longest // 2:
            problem = f"the question has {question} tokens; the ranker reads {self.longest} of both"
            raise TextRefused(problem, f"Shorten it to {self.longest // 2}.", query)
        room = self.longest - (len(part) - document)
        kept = min(document, room, most or room)
        stays = (part != 1) | (np.cumsum(part == 1) <= kept)
        numbers = {
            "input_ids": np.array(encoding.ids)[stays].tolist(),
            "token_type_ids": np.array(encoding.type_ids)[stays].tolist(),
        }
        return {name: numbers[name] for name in numbers if name in self._inputs}, kept < document

    def _forward(self, batch: list[dict[str, list[int]]]) -> npt.NDArray[np.float32]:
        features: dict[str, torch.Tensor] = self._tokenizer.pad(batch, return_tensors="pt").to(self._model.device)
        logits: torch.Tensor = self._model(**features).logits
        return logits.squeeze(-1).float().cpu().numpy()


def ranker_name(model: str) -> str:
    """What clients call a ranker: the last part of its path."""
    return model.rstrip("/").rsplit("/", 1)[-1]
