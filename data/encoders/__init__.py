"""Text to vectors, the same in batch and online: ``load_encoder`` is the one way in.

``sentence`` runs sentence-transformers models on batches by padded token area, ``models`` finds and opens them,
``precision`` measures whether bf16 may be used, ``plugin`` takes an encoder of the user's own. ``onnx`` runs what
``onnx_export`` and ``onnx_int8`` make of a model; ``triton`` lays it out for a server.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, Protocol

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from data.artifacts import StageConfig

Vectors = npt.NDArray[np.float32]
BATCH_TOKENS = 2048


class EncoderConfig(StageConfig):
    """Which model turns text to vectors, and how exactly it computes."""

    execution: ClassVar[frozenset[str]] = frozenset({"device", "exported", "tolerance"})

    model: str = Field(
        "all-MiniLM-L6-v2",
        min_length=1,
        description="a sentence-transformers model: a folder, or a name on the Hugging Face hub (the default comes "
        "with the installation); or an encoder of your own as an import path, my_package.encoders:load",
    )
    backend: Literal["torch", "onnx"] = Field(
        "torch", description="what computes: PyTorch, or ONNX Runtime on a model that is exported first"
    )
    precision: Literal["auto", "fp32", "bf16", "int8"] = Field(
        "auto",
        description="auto takes bf16 where the processor has it and a check at start finds it faster and as good "
        "(cosine to fp32 at least 0.999); with backend onnx it is fp32 or, calibrated on the run's passages and let "
        "through by the gate only, int8",
    )
    max_length: int | None = Field(
        None, ge=3, description="tokens of a text that are read, the rest is cut; the model's own limit where unset"
    )
    device: str = Field("auto", description="auto takes the GPU where there is one; else cpu, cuda, cuda:1, mps")
    exported: Path | None = Field(
        None, description="folder of a model exported for backend onnx; made under the workspace where unset"
    )
    tolerance: float = Field(
        0.005,
        ge=0,
        lt=1,
        description="largest relative loss of nDCG@10 that the gate lets a form have against fp32; where the corpus "
        "has no questions with known answers, the smallest cosine has to be 0.999 instead",
    )

    @model_validator(mode="after")
    def _runs_in(self) -> "EncoderConfig":
        if self.precision in (("int8",) if self.backend == "torch" else ("bf16", "fp16")):
            raise ValueError(f"backend {self.backend} has no precision {self.precision}")
        return self


@dataclass(frozen=True)
class Encoded:
    """Vectors of some texts, and what it took to make them.

    Args:
        vectors: float32 of shape (n, dim), unit length, in the order of the texts.
        tokens: int32 of shape (n,), tokens read of each text, special tokens included.
        padding_share: share of the computed token positions that were padding.
    """

    vectors: Vectors
    tokens: npt.NDArray[np.int32]
    padding_share: float


class Encoder(Protocol):
    """Turns texts to unit vectors.

    ``fingerprint`` is equal for encoders whose vectors may be compared; ``precision`` is what it computes in, and
    ``cosine_to_fp32`` the smallest cosine found between its vectors and those of fp32.
    """

    fingerprint: str
    dim: int
    precision: str
    cosine_to_fp32: float

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Vectors, float32 of shape (n, dim), unit length, in the order of the texts."""
        ...

    def encode_counted(self, texts: Sequence[str]) -> Encoded:
        """Vectors with the tokens and the padding they took."""
        ...


def load_encoder(config: EncoderConfig, batch_tokens: int = BATCH_TOKENS, threads: int | None = None) -> Encoder:
    """Load the encoder of a run; says in one line which precision it chose and why.

    Args:
        config: which model, on what device, how exact.
        batch_tokens: largest padded area of a batch, in tokens.
        threads: batches computed at once on a CPU; one for each core where None.

    Raises:
        InputError: if there is no such model or device, or if bf16 is asked for and fails its check.
    """
    if ":" in config.model and not config.model.startswith(("/", ".")):
        from data.encoders.plugin import load_plugin

        return load_plugin(config)
    if config.backend == "onnx":
        from data.encoders.onnx import OnnxEncoder

        return OnnxEncoder.load(config, batch_tokens, threads)
    from data.encoders.sentence import SentenceEncoder

    return SentenceEncoder.load(config, batch_tokens, threads)


def check_model(config: EncoderConfig) -> None:
    """Find a model without loading it, so that a mistake is told before anything is started.

    Raises:
        InputError: if there is no such model folder or import path.
    """
    if ":" in config.model and not config.model.startswith(("/", ".")):
        from data.encoders.plugin import find_factory

        find_factory(config.model)
    else:
        from data.encoders.models import find_model

        find_model(config.model)
