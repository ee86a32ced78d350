"""Several encoders as one: every text is encoded by all members, and their vectors are fused."""

import hashlib
import json
from collections.abc import Callable, Sequence

import numpy as np

from data.encoders.config import EnsembleConfig, SingleEncoder, digest
from data.encoders.ensemble.fusion import Attention, Concatenation, Fusion, WeightedMean, shares
from data.encoders.protocol import Encoded, Encoder, Vectors


class EnsembleEncoder:
    """An encoder made of encoders.

    Its tokens and its padding are those of the first member, its precision is those of all members joined by ``+``. A
    member that is unavailable makes the whole ensemble unavailable.

    Args:
        members: the encoders.
        fusion: makes one vector of theirs.
        rule: parameters of the fusion, for the fingerprint.
    """

    def __init__(self, members: Sequence[Encoder], fusion: Fusion, rule: str) -> None:
        self._members = list(members)
        self._fusion = fusion
        self.dim = fusion.dim
        self.precision = "+".join(member.precision for member in members)
        self.cosine_to_fp32 = min(member.cosine_to_fp32 for member in members)
        described = json.dumps([rule, *(member.fingerprint for member in members)])
        self.fingerprint = hashlib.blake2b(f"ensemble 1 {described}".encode(), digest_size=8).hexdigest()

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Vectors, float32 of shape (n, dim), unit length, in the order of the texts."""
        return self.encode_counted(texts).vectors

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Vectors of questions, each member's own put together."""
        return self._fusion([member.encode_queries(texts) for member in self._members])

    def encode_counted(self, texts: Sequence[str]) -> Encoded:
        """Vectors with the tokens and the padding of the first member, and the most that any member cut off a text."""
        return self._together([member.encode_counted(texts) for member in self._members])

    def encode_queries_counted(self, texts: Sequence[str]) -> Encoded:
        """Vectors of questions, counted in the same way."""
        return self._together([member.encode_queries_counted(texts) for member in self._members])

    def _together(self, encoded: Sequence[Encoded]) -> Encoded:
        fused = self._fusion([each.vectors for each in encoded])
        counted = [each.dropped for each in encoded if len(each.dropped)]
        dropped = np.max(counted, axis=0) if counted else np.zeros(0, np.int32)
        retries = sum(each.oom_retries for each in encoded)
        return Encoded(fused, encoded[0].tokens, encoded[0].padding_share, dropped, retries)


def load_ensemble(config: EnsembleConfig, load: Callable[[SingleEncoder], Encoder]) -> EnsembleEncoder:
    """Load the members and the fusion of a run.

    Args:
        config: members, and how their vectors become one.
        load: loads a member.

    Raises:
        InputError: if a member cannot be loaded, or the attention was learned on other members.
    """
    members = [load(member) for member in config.members]
    dims = tuple(member.dim for member in members)
    weights = shares(config.weights, len(members))
    rule = [config.fusion, weights.round(9).tolist()]
    fusion: Fusion
    if config.attention is not None:
        fusion = Attention.load(config.attention, [member.fingerprint for member in members])
        rule = [config.fusion, digest(config.attention)]
    elif config.fusion == "mean":
        fusion = WeightedMean(weights, dims, config.seed)
        rule.append(config.seed)
    else:
        fusion = Concatenation(weights, dims)
    return EnsembleEncoder(members, fusion, json.dumps(rule))
