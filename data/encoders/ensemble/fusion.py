"""How the vectors of several encoders become one vector: arithmetic alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt

from data.encoders.protocol import Vectors
from data.errors import InputError
from data.files import whole_or_absent
from data.matrices import orthonormal_columns, unit_rows

FORMAT = "catena attention fusion 1"
SEEN = "seen_pairs"  # the tensor of what it was learned on


class Fusion(Protocol):
    """Makes one unit vector of the members' vectors of each text."""

    @property
    def dim(self) -> int:
        """Dimensions of the fused vector."""
        ...

    def __call__(self, members: Sequence[Vectors]) -> Vectors:
        """Fused vectors, float32 (n, dim), from one (n, d_i) of each member; texts that no member knows stay zero."""
        ...


@dataclass(frozen=True)
class Concatenation:
    """Vectors side by side, each times the root of its share: inner products add up by the shares.

    ``<u, v> = sum_i w_i <u_i, v_i>`` with shares ``w_i`` that sum to 1.

    Args:
        shares: float64 (members,).
        dims: dimensions of the members.
    """

    shares: npt.NDArray[np.float64]
    dims: tuple[int, ...]

    @property
    def dim(self) -> int:
        """Sum of the members' dimensions."""
        return sum(self.dims)

    def __call__(self, members: Sequence[Vectors]) -> Vectors:
        """As of ``Fusion``."""
        joined = np.concatenate([np.sqrt(w) * v for w, v in zip(self.shares, members, strict=True)], axis=1)
        return unit_rows(joined.astype(np.float32))


class WeightedMean:
    """Weighted sum of vectors, of the largest member's dimensions.

    Members of equal dimensions are summed as they are, for they may share a space. Smaller ones are first turned into
    the larger space by an orthonormal matrix: that keeps their own similarities exactly, and makes what they have by
    accident in common with another member zero on average, with a spread of 1 / root of the dimensions. Padding with
    zeros would add up coordinates that have nothing to do with each other, the same ones in every text.

    Args:
        shares: float64 (members,), sum 1.
        dims: dimensions of the members.
        seed: of the matrices.
    """

    def __init__(self, shares: npt.NDArray[np.float64], dims: Sequence[int], seed: int) -> None:
        self.dim: int = max(dims)
        self._shares = shares
        self._turns = [None if d == self.dim else self._turn(d, seed + n) for n, d in enumerate(dims)]

    def _turn(self, dim: int, seed: int) -> Vectors:
        """Orthonormal rows, float32 (dim, dimensions of the largest member)."""
        return np.ascontiguousarray(orthonormal_columns(self.dim, dim, seed).T, dtype=np.float32)

    def __call__(self, members: Sequence[Vectors]) -> Vectors:
        """As of ``Fusion``."""
        total = np.zeros((len(members[0]), self.dim), dtype=np.float32)
        for share, turn, vectors in zip(self._shares, self._turns, members, strict=True):
            total += share * (vectors if turn is None else vectors @ turn)
        return unit_rows(total)


@dataclass(frozen=True)
class Attention:
    """Vectors side by side, where each text decides how much each member counts.

    ``a = softmax_i(<v_i, s_i> + b_i)``, fused vector ``[a_1 v_1, a_2 v_2, ...]`` at unit length: the attention of
    dynamic meta-embeddings (Kiela, Wang and Cho, EMNLP 2018) without their projections. Members keep their own
    similarities, and what is learned is one number for each dimension: few, for there are few judged questions.

    Args:
        scorers: of each member, float32 (d_i,).
        biases: float32 (members,).
    """

    scorers: tuple[npt.NDArray[np.float32], ...]
    biases: npt.NDArray[np.float32]

    @property
    def dim(self) -> int:
        """Sum of the members' dimensions."""
        return sum(map(len, self.scorers))

    def __call__(self, members: Sequence[Vectors]) -> Vectors:
        """As of ``Fusion``."""
        scores = np.stack([v @ s for v, s in zip(members, self.scorers, strict=True)], axis=1) + self.biases
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        weights /= weights.sum(axis=1, keepdims=True)
        return unit_rows(np.concatenate([weights[:, [i]] * v for i, v in enumerate(members)], axis=1))

    def save(self, path: Path, fingerprints: Sequence[str], seen: npt.NDArray[np.uint64]) -> None:
        """Write as safetensors with what it was learned on; complete or absent.

        Args:
            path: the file.
            fingerprints: of the members.
            seen: marks of the pairs of texts (``training.encoders.seen``), uint64 (P,).
        """
        from safetensors.numpy import save_file

        tensors = {
            "biases": self.biases,
            **{f"scorer.{i}": scorer for i, scorer in enumerate(self.scorers)},
            SEEN: seen,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_or_absent(path) as unfinished:
            save_file(tensors, unfinished, {"format": FORMAT, "members": " ".join(fingerprints)})

    @classmethod
    def load(cls, path: Path, fingerprints: Sequence[str]) -> Self:
        """Read what ``save`` wrote.

        Raises:
            InputError: if it is no such file, or was learned on other members.
        """
        from safetensors import SafetensorError, safe_open

        remedy = "Learn it again with `catena encoder fuse RUN.yaml`."
        try:
            with safe_open(path, framework="np") as file:
                recorded = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}
        except (OSError, SafetensorError) as error:
            raise InputError(f"encoder.ensemble.attention: {path} cannot be read: {error}", remedy) from None
        if recorded.get("format") != FORMAT:
            raise InputError(f"encoder.ensemble.attention: {path} is no attention fusion", remedy)
        learned_on = recorded["members"].split()
        if learned_on != list(fingerprints):
            raise InputError(
                f"encoder.ensemble.attention: {path} was learned on the encoders {', '.join(learned_on)}; "
                f"the members are {', '.join(fingerprints)}",
                remedy,
            )
        return cls(tuple(tensors[f"scorer.{i}"] for i in range(len(learned_on))), tensors["biases"])


def seen_pairs(path: Path) -> npt.NDArray[np.uint64]:
    """Marks of the pairs that a file of ``Attention.save`` was learned on, uint64 (P,); empty in any other file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            marks: npt.NDArray[np.uint64] = file.get_tensor(SEEN)
    except SafetensorError:
        return np.empty(0, np.uint64)
    return marks


def shares(weights: Sequence[float] | None, members: int) -> npt.NDArray[np.float64]:
    """Weights as shares of 1, float64 (members,); equal ones where None."""
    given = np.ones(members) if weights is None else np.array(weights, dtype=np.float64)
    parts: npt.NDArray[np.float64] = given / given.sum()
    return parts
