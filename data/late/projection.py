"""Token vectors with fewer dimensions, and with fewer bytes."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from data.late import LateConfig, Storage

Matrix = npt.NDArray[np.float32]
PROJECTION = "projection.safetensors"  # name of its file, in the late stage's artifact and in the index's
STEPS = 127  # of an int8 on each side of zero


@dataclass(frozen=True)
class Projection:
    """A linear map of token vectors, and what a step of each dimension is worth once they are int8.

    Args:
        matrix_WD: from the model's W dimensions to D, float32.
        step_D: float32 of shape (D,), above 0.
        storage: what token vectors are kept as.
    """

    matrix_WD: Matrix
    step_D: Matrix
    storage: Storage

    def __call__(self, vectors_TW: Matrix) -> Matrix:
        """Unit vectors of D dimensions, float32 of shape (T, D)."""
        return _unit(vectors_TW @ self.matrix_WD)

    def pack(self, vectors_TD: Matrix) -> npt.NDArray[np.float16] | npt.NDArray[np.int8]:
        """Vectors as they are stored. An int8 holds the nearest step; what lies beyond the last step is cut there."""
        if self.storage == "float16":
            return vectors_TD.astype(np.float16)
        steps_TD: npt.NDArray[np.int8] = np.clip(np.rint(vectors_TD / self.step_D), -STEPS, STEPS).astype(np.int8)
        return steps_TD

    def unpack(self, stored_TD: npt.NDArray[np.float16] | npt.NDArray[np.int8]) -> Matrix:
        """The numbers that stored vectors stand for, float32."""
        plain = stored_TD.astype(np.float32)
        return plain if self.storage == "float16" else plain * self.step_D

    def save(self, path: Path) -> None:
        """Write it as safetensors; whole or absent."""
        from safetensors.numpy import save_file

        unfinished = path.with_name(f".{path.name}.unfinished")
        tensors = {"matrix": np.ascontiguousarray(self.matrix_WD), "step": self.step_D}
        save_file(tensors, unfinished, metadata={"storage": json.dumps(self.storage)})
        unfinished.replace(path)

    @classmethod
    def load(cls, path: Path) -> "Projection":
        """Read what ``save`` wrote."""
        from safetensors import safe_open

        with safe_open(path, framework="np") as file:
            storage: Storage = json.loads(file.metadata()["storage"])
            return cls(file.get_tensor("matrix"), file.get_tensor("step"), storage)


def fit_projection(sample_SW: Matrix, config: LateConfig) -> Projection:
    """Fit a projection and its steps on a sample of token vectors.

    ``pca`` takes the leading eigenvectors of the sample's second moments, without subtracting its mean: MaxSim adds up
    inner products, and among all linear maps to D dimensions this one keeps those best (Eckart and Young, 1936).
    ``random`` draws directions from a normal distribution and makes them orthogonal (Johnson and Lindenstrauss, 1984).

    Args:
        sample_SW: unit vectors, float32 of shape (S, W), S at least 1.
        config: dimensions, kind, storage, seed.

    Raises:
        ValueError: if more dimensions are asked for than there are.
    """
    width = sample_SW.shape[1]
    if config.dim > width:
        raise ValueError(f"a projection of {width} dimensions cannot have {config.dim}")
    if config.projection == "pca":
        sample = sample_SW.astype(np.float64)
        _, vectors_WW = np.linalg.eigh(sample.T @ sample)  # by rising eigenvalue
        matrix = vectors_WW[:, ::-1][:, : config.dim]
        # An eigenvector's sign is the solver's whim: its largest entry is made positive.
        largest = np.abs(matrix).argmax(axis=0)
        matrix = matrix * np.sign(matrix[largest, np.arange(config.dim)])
    else:
        matrix, _ = np.linalg.qr(np.random.default_rng(config.seed).normal(size=(width, config.dim)))
    matrix_WD = np.ascontiguousarray(matrix, dtype=np.float32)
    reach_D = np.abs(_unit(sample_SW @ matrix_WD)).max(axis=0)
    return Projection(matrix_WD, np.maximum(reach_D, 1e-6).astype(np.float32) / np.float32(STEPS), config.storage)


def _unit(vectors: Matrix) -> Matrix:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Matrix = vectors / np.maximum(lengths, 1e-12)
    return unit
