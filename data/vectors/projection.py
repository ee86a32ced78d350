"""Fewer dimensions: a matrix that vectors and questions are multiplied by and brought back to unit length.

PCA keeps the directions that hold most of a sample of the corpus, a random projection any, and Matryoshka truncation
the first, which an encoder trained for it puts most into (Kusupati et al., Matryoshka Representation Learning, 2022).
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from data.encoders.protocol import Encoded, Encoder
from data.errors import InputError
from data.files import whole_or_absent
from data.matrices import orthonormal_columns, unit_rows
from data.partitions import count_rows, read_batches
from data.vectors.quantise import Floats
from data.vectors.read import matrix

Method = Literal["pca", "random", "matryoshka"]

PROJECTION = "projection.safetensors"  # its name in the artifact of a reduction, and of an index of reduced vectors


@dataclass(frozen=True)
class Projection:
    """A projection of one encoder's vectors to fewer dimensions.

    Args:
        method: how the matrix was found.
        encoder: fingerprint of the encoder whose vectors it takes.
        matrix: float32 (dim, reduced), orthonormal columns.
        kept: share of the squared length of the sample's vectors that is left; 1 where nothing was measured.
    """

    method: Method
    encoder: str
    matrix: Floats
    kept: float = 1.0

    @property
    def dim(self) -> int:
        """Dimensions that are left."""
        return int(self.matrix.shape[1])

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits over encoder and matrix: vectors of one fingerprint may be compared."""
        digest = hashlib.blake2b(f"{self.encoder} {self.matrix.shape}".encode(), digest_size=8)
        digest.update(np.ascontiguousarray(self.matrix).data)
        return digest.hexdigest()

    def __call__(self, vectors: Floats) -> Floats:
        """Reduce vectors, float32 (n, dim), to unit vectors (n, reduced); what vanishes stays zero."""
        reduced: Floats = vectors @ self.matrix
        return unit_rows(reduced, out=reduced)

    def save(self, path: Path) -> None:
        """Write it as safetensors; the file is complete or absent."""
        from safetensors.numpy import save_file

        # One entry: safetensors writes several in any order, and the file would differ each time.
        described = json.dumps({"method": self.method, "encoder": self.encoder, "kept": self.kept})
        with whole_or_absent(path) as unfinished:
            save_file({"matrix": np.ascontiguousarray(self.matrix)}, unfinished, metadata={"projection": described})

    @classmethod
    def load(cls, path: Path) -> "Projection":
        """Read it back.

        Raises:
            InputError: if the file is missing or is no projection.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="numpy") as file:
                described = json.loads((file.metadata() or {})["projection"])
                return cls(described["method"], described["encoder"], file.get_tensor("matrix"), described["kept"])
        except (OSError, SafetensorError, KeyError) as error:
            raise InputError(
                f"no projection of vectors can be read from {path}: {error}",
                "Delete the artifact that holds it and run again.",
            ) from error


class ReducedEncoder:
    """An encoder whose vectors are reduced, so that questions are what the stored vectors are.

    Raises:
        InputError: if the projection was made for another encoder.
    """

    def __init__(self, encoder: Encoder, projection: Projection) -> None:
        if encoder.fingerprint != projection.encoder:
            raise InputError(
                f"vectors were reduced for another encoder: {projection.encoder}, this is {encoder.fingerprint}",
                "Use the encoder that made them, or embed, reduce and index again.",
            )
        self._encoder, self._projection = encoder, projection
        self.fingerprint, self.dim = projection.fingerprint, projection.dim
        self.precision, self.cosine_to_fp32 = encoder.precision, encoder.cosine_to_fp32

    def encode(self, texts: Sequence[str]) -> Floats:
        """Reduced vectors, float32 (n, dim), unit length, in the order of the texts."""
        return self._projection(self._encoder.encode(texts))

    def encode_queries(self, texts: Sequence[str]) -> Floats:
        """Reduced vectors of questions."""
        return self._projection(self._encoder.encode_queries(texts))

    def encode_counted(self, texts: Sequence[str]) -> Encoded:
        """Reduced vectors with tokens and padding."""
        return self._reduced(self._encoder.encode_counted(texts))

    def encode_queries_counted(self, texts: Sequence[str]) -> Encoded:
        """Reduced vectors of questions with tokens and padding."""
        return self._reduced(self._encoder.encode_queries_counted(texts))

    def _reduced(self, encoded: Encoded) -> Encoded:
        return replace(encoded, vectors=self._projection(encoded.vectors))


def fit_pca(sample: Iterable[Floats], encoder: str, dim: int, seed: int = 0) -> Projection:
    """The directions that hold most of a sample's squared length.

    The mean is not taken off: similarities are products of whole vectors, and of all projections to so many dimensions
    this one changes them least on the sample (Eckart and Young, Psychometrika 1, 1936). What is left is rotated at
    random, which changes no product but spreads the length over all dimensions, so that one bit for each carries more
    (Gong and Lazebnik, Iterative Quantization, 2011).

    Args:
        sample: blocks of vectors, float32 (rows, encoder's dim); what is kept of them is one matrix.
        encoder: fingerprint of the encoder that made them.
        dim: dimensions that are left, at most the encoder's.
        seed: of the rotation.

    Raises:
        InputError: if the sample has fewer vectors than the dimensions that are left.
    """
    moment: npt.NDArray[np.float64] | None = None
    rows = 0
    for block in sample:
        exact = block.astype(np.float64)
        moment = exact.T @ exact if moment is None else moment + exact.T @ exact
        rows += len(block)
    if moment is None or rows < dim:
        raise InputError(
            f"reduce.dim: a PCA to {dim} dimensions needs a sample of at least as many passages, there are {rows}",
            "Raise reduce.sample_rows if it is lower than that, reduce to fewer dimensions, or use method random.",
        )
    values, directions = np.linalg.eigh(moment)  # ascending
    chosen = directions[:, ::-1][:, :dim]
    largest = np.abs(chosen).argmax(axis=0)
    chosen = chosen * np.sign(chosen[largest, np.arange(dim)])
    kept = float(values[::-1][:dim].sum() / max(values.sum(), 1e-12))
    return Projection("pca", encoder, (chosen @ orthonormal_columns(dim, dim, seed)).astype(np.float32), kept)


def random_projection(encoder: str, from_dim: int, dim: int, seed: int) -> Projection:
    """Directions drawn at random, orthonormal, the same for the same seed.

    Gaussian numbers, orthogonalised: products are off by less than with independent directions (Johnson and
    Lindenstrauss, 1984; Choromanski et al., The Unreasonable Effectiveness of Structured Random Orthogonal Embeddings,
    2017).
    """
    return Projection("random", encoder, orthonormal_columns(from_dim, dim, seed).astype(np.float32))


def truncation(encoder: str, from_dim: int, dim: int) -> Projection:
    """The first dimensions alone."""
    return Projection("matryoshka", encoder, np.eye(from_dim, dim, dtype=np.float32))


def sampled(vectors: Path, rows: int, seed: int) -> Iterator[Floats]:
    """A random sample of a table's vectors in blocks, float32, in the table's order; all where there are no more.

    Args:
        vectors: folder of partitions.
        rows: how many.
        seed: of the choice; tables of one length give the same rows for one seed.
    """
    total = count_rows(vectors)
    everyone = rows >= total
    chosen = np.arange(total) if everyone else np.sort(np.random.default_rng(seed).choice(total, rows, replace=False))
    start = 0
    for batch in read_batches(vectors, ["vector"]):
        low, high = np.searchsorted(chosen, (start, start + len(batch)))
        if high > low:
            yield matrix(batch)[chosen[low:high] - start]
        start += len(batch)
