"""A cross-encoder from a folder, held against sentence-transformers' own scores."""

from typing import Any

import numpy as np

from data.encoders.transformer.kernels import keep_few_kernels
from data.encoders.transformer.precision import TEXTS
from data.errors import InputError
from retrieval.blend import read_blend
from retrieval.pairs import PairScorer

MOST_APART = 0.05  # logits of a pair, computed with other padding


class CrossEncoderModel(PairScorer):
    """A model of one output in a folder, or on the hub, as sentence-transformers' ``CrossEncoder`` takes it.

    Args:
        model: folder or name.
        batch_tokens: largest padded area of a batch.
        key: of the run file that names it, for messages.
        threads: as of ``PairScorer``.

    Attributes:
        blend: what makes scores and probabilities of its logits.

    Raises:
        InputError: if there is no such model, it has not one output, or what is beside it cannot be read.
    """

    def __init__(self, model: str, batch_tokens: int, key: str = "serve.ranker", threads: int = 1) -> None:
        from sentence_transformers import CrossEncoder

        keep_few_kernels()
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
        self.blend = read_blend(model, key)
        self._key, self._cross_encoder = key, opened
        transformer: Any = opened.model
        longest = int(opened.max_seq_length or 512)
        super().__init__(transformer.eval(), opened.tokenizer, longest, batch_tokens, ranker_name(model), threads)

    def check(self) -> None:
        """Score pairs of all lengths as the model's own ``predict`` does, which warms it up too; then take bf16.

        Raises:
            InputError: if our scores are others, or no numbers.
        """
        import torch

        self.take_fp32()
        pairs = [(TEXTS[1], text) for text in TEXTS]
        theirs = self._cross_encoder.predict(pairs, activation_fn=torch.nn.Identity(), show_progress_bar=False)
        ours = self.sample_logits([TEXTS[1]])
        if not np.isfinite(ours).all():
            wrong = int(np.count_nonzero(~np.isfinite(ours)))
            raise InputError(
                f"{self._key}: {self.name} gives {wrong} of {len(ours)} sample pairs a score that is no finite number",
                "Its weights are damaged: train it again or copy it whole, or name another cross-encoder.",
            )
        apart = float(np.nan_to_num(np.abs(ours - np.asarray(theirs, np.float32).ravel()), nan=np.inf).max())
        if not apart <= MOST_APART:
            raise InputError(
                f"{self._key}: scores of {self.name} are not those of CrossEncoder.predict: {apart:.3g} apart, at most "
                f"{MOST_APART:g}",
                "Name another cross-encoder.",
            )
        self.take_bf16()


def ranker_name(model: str) -> str:
    """What clients call a ranker: the last part of its path."""
    return model.rstrip("/").rsplit("/", 1)[-1]
