"""Text to vectors, the same in batch and online: ``load_encoder`` is the one way in.

``sentence`` runs sentence-transformers models on batches by padded token area, ``models`` finds and opens them,
``tokens`` makes their input, ``memory`` and ``gpu`` bring it through a device, ``precision`` measures whether bf16 or
fp16 may be used, ``faithful`` holds the vectors to the model's own, ``plugin`` takes an encoder of the user's own.
``onnx`` runs what ``onnx_export`` and ``onnx_int8`` make of a model; ``triton`` lays it out for a server.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
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

    execution: ClassVar[frozenset[str]] = frozenset({"device", "compile", "exported", "tolerance"})

    model: str = Field(
        "all-MiniLM-L6-v2",
        min_length=1,
        description="a sentence-transformers model: a folder, or a name on the Hugging Face hub (the default comes "
        "with the installation); or an encoder of your own as an import path, my_package.encoders:load",
    )
    backend: Literal["torch", "onnx"] = Field(
        "torch", description="what computes: PyTorch, or ONNX Runtime on a model that is exported first"
    )
    precision: Literal["auto", "fp32", "bf16", "fp16", "int8"] = Field(
        "auto",
        description="auto takes bf16 where the processor has it (fp16 on a GPU without) and a check at start finds it "
        "faster and as good (cosine to fp32 at least 0.999); bf16 and fp16 are refused if they fail that check; with "
        "backend onnx it is fp32 or, calibrated on the run's passages and let through by the gate only, int8",
    )
    max_length: int | None = Field(
        None, ge=3, description="tokens of a text that are read, the rest is cut; the model's own limit where unset"
    )
    truncate: Literal["end", "start", "error"] = Field(
        "end",
        description="which end of a text that is too long is cut off; error refuses such a passage and cuts the end "
        "of such a question",
    )
    document_prompt: str | None = Field(
        None, description="put before each passage when it is embedded; the model's own prompt where unset"
    )
    query_prompt: str | None = Field(
        None, description="put before each question when it is embedded; the model's own prompt where unset"
    )
    compile: bool = Field(
        False, description="torch.compile the model: up to a minute more at start; on a CPU it needs a C++ compiler"
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
        if self.compile and self.backend == "onnx":
            raise ValueError("compile is for backend torch")
        return self


@dataclass(frozen=True)
class Encoded:
    """Vectors of some texts, and what it took to make them.

    Args:
        vectors: float32 of shape (n, dim), unit length, in the order of the texts.
        tokens: int32 of shape (n,), tokens read of each text, special tokens included.
        padding_share: share of the computed token positions that were padding.
        dropped: int32 of shape (n,), tokens cut off each text that was longer than the model reads, estimated for
            texts far beyond that; empty where the encoder does not tell.
        oom_retries: how many times a batch did not fit in memory and was computed in halves, or on the CPU.
    """

    vectors: Vectors
    tokens: npt.NDArray[np.int32]
    padding_share: float
    dropped: npt.NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    oom_retries: int = 0


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
        """Vectors of documents, float32 of shape (n, dim), unit length, in the order of the texts."""
        ...

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Vectors of questions to them: the same but for a model that puts another prompt before questions."""
        ...

    def encode_counted(self, texts: Sequence[str]) -> Encoded:
        """Vectors of documents with the tokens and the padding they took."""
        ...


def load_encoder(config: EncoderConfig, batch_tokens: int = BATCH_TOKENS, threads: int | None = None) -> Encoder:
    """Load the encoder of a run; says in one line which precision it chose and why.

    Args:
        config: which model, on what device, how exact.
        batch_tokens: largest padded area of a batch, in tokens.
        threads: batches computed at once on a CPU; one for each core where None.

    Raises:
        InputError: if there is no such model or device, if bf16 or fp16 is asked for and fails its check, or if our
            vectors are not those of the model's own ``encode``.
    """
    if ":" in config.model and not config.model.startswith(("/", ".")):
        from data.encoders.plugin import load_plugin

        return load_plugin(config, batch_tokens, threads)
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
