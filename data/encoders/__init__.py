"""Text to vectors, the same in batch and online: ``load_encoder`` is the one way in.

``sentence`` runs sentence-transformers models on batches by padded token area, ``models`` finds and opens them,
``tokens`` makes their input, ``memory`` and ``gpu`` bring it through a device, ``precision`` measures whether bf16 or
fp16 may be used (``exact`` is the form that it is held against), ``faithful`` holds the vectors to the model's own,
``devices`` looks for a GPU, ``plugin`` takes an encoder of the user's own. ``onnx`` runs what ``onnx_export`` and
``onnx_int8`` make of a model; ``triton`` lays it out for a server. ``endpoint`` asks a server (``retrying`` says when
again), ``hashed`` needs no model, ``kinds`` are their configs; ``ensemble`` makes one encoder of several by ``fusion``
of their vectors, ``chain`` goes on with the next where one cannot be had.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, PrivateAttr, model_validator

from data.artifacts import StageConfig
from data.encoders.kinds import EndpointConfig, HashedConfig, digest
from data.errors import InputError

logger = logging.getLogger("catena")

Vectors = npt.NDArray[np.float32]
BATCH_TOKENS = 2048


class EnsembleConfig(StageConfig):
    """Several encoders whose vectors become one."""

    members: tuple["EncoderConfig", ...] = Field(min_length=2, description="encoders; each a section like `encoder`")
    fusion: Literal["mean", "concatenation", "attention"] = Field(
        "concatenation", description="weighted sum, side by side, or weighed for each text by learned attention"
    )
    weights: tuple[float, ...] | None = Field(
        None, description="of the members' similarities, one number above 0 for each; equal where unset"
    )
    seed: int = Field(0, ge=0, description="mean of different dimensions: of the projections of the smaller members")
    attention: Path | None = Field(None, description="fusion: attention: file that `catena encoder fuse RUN` writes")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.weights is not None and (len(self.weights) != len(self.members) or min(self.weights) <= 0):
            raise ValueError(f"weights: one number above 0 for each of {len(self.members)} members, got {self.weights}")
        if (self.fusion == "attention") != (self.attention is not None):
            raise ValueError("fusion 'attention' needs `attention`, a file, and no other fusion takes one")
        if any(member.fallback for member in self.members):
            raise ValueError("a member has no fallback of its own: give the whole ensemble one")
        _need_no_gate("members", self.members)
        return self

    def identity(self) -> dict[str, Any]:
        """As of every config, with the file's content in the place of its name."""
        return {**super().identity(), "attention": digest(self.attention)}


class EncoderConfig(StageConfig):
    """Which model turns text to vectors, how exactly it computes, and what takes its place where it cannot be had."""

    execution: ClassVar[frozenset[str]] = frozenset(
        {"device", "compile", "exported", "tolerance", "on_fallback", "fingerprint"}
    )

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

    endpoint: EndpointConfig | None = Field(None, description="in the place of a model: a server of embeddings")
    hashed: HashedConfig | None = Field(None, description="in the place of a model: hashed TF-IDF, which needs none")
    ensemble: EnsembleConfig | None = Field(None, description="in the place of a model: several encoders as one")
    fallback: tuple["EncoderConfig", ...] = Field(
        (), description="encoders to go on with, in this order, where this one cannot be had"
    )
    on_fallback: Literal["pause", "restart"] = Field(
        "pause",
        description="when vectors are already made and only another encoder can be had: stop and keep them, or discard "
        "them and embed all with the next",
    )
    fingerprint: str | None = Field(None, description="of the encoder that is expected; another is refused")
    # Who chose the precision is no key of a run file: "gate" and "vectors" bind `auto` alone.
    _chosen_by: Literal["user", "gate", "vectors"] = PrivateAttr("user")

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        own = [name for name in ("endpoint", "hashed", "ensemble") if getattr(self, name) is not None]
        fields = type(self).model_fields
        of_models = (
            *("model", "precision", "max_length", "device", "truncate", "document_prompt", "query_prompt"),
            *("compile", "backend", "exported", "tolerance"),
        )
        changed = [name for name in of_models if getattr(self, name) != fields[name].default]
        if len(own) > 1 or (own and changed):
            raise ValueError(f"one kind of encoder: {own[0]} does not go with {', '.join([*own[1:], *changed])}")
        if any(link.fallback for link in self.fallback):
            raise ValueError("fallbacks stand in one list: none has a fallback of its own")
        _need_no_gate("fallback", self.fallback)
        return self

    @model_validator(mode="after")
    def _runs_in(self) -> Self:
        if self.precision in (("int8",) if self.backend == "torch" else ("bf16", "fp16")):
            raise ValueError(f"backend {self.backend} has no precision {self.precision}")
        if self.compile and self.backend == "onnx":
            raise ValueError("compile is for backend torch")
        return self

    def computing_in(self, precision: str, chosen_by: Literal["gate", "vectors"]) -> Self:
        """The encoder with its precision fixed, where the user leaves it open; as it is otherwise.

        Args:
            precision: ``fp32``, ``bf16`` or ``fp16``.
            chosen_by: what fixes it: the gate's verdict, or vectors that are there and outweigh the gate.
        """
        if self.precision != "auto" and self._chosen_by == "user":
            return self
        fixed = self.model_copy(update={"precision": precision})
        fixed._chosen_by = chosen_by
        return fixed

    @property
    def as_vectors(self) -> bool:
        """Whether the precision is that of vectors which are there, and no user's wish."""
        return self._chosen_by == "vectors"

    @property
    def label(self) -> str:
        """The encoder in a few words, for people."""
        if self.endpoint is not None:
            return f"{self.endpoint.model} at {self.endpoint.base_url}"
        if self.hashed is not None:
            return f"hashed TF-IDF ({self.hashed.dim} dimensions)"
        if self.ensemble is not None:
            return f"{self.ensemble.fusion} of {', '.join(member.label for member in self.ensemble.members)}"
        return self.model if self.device == "auto" else f"{self.model} on {self.device}"


def _need_no_gate(key: str, parts: Sequence[EncoderConfig]) -> None:
    """Refuse, in a fallback or a member, what only the run's own encoder has: an export, and the gate's verdict on it.

    Raises:
        ValueError: with the key's place and what is allowed there.
    """
    for number, part in enumerate(parts):
        if part.precision == "int8":
            raise ValueError(
                f"{key}.{number}.precision: int8 has to pass the gate, which judges a run's own encoder alone; here "
                "allowed: auto, fp32, bf16, fp16 (the latter two with backend torch)"
            )
        if part.backend == "onnx" and part.exported is None:
            raise ValueError(
                f"{key}.{number}.backend: onnx without `exported`: a run exports its own encoder alone; here allowed: "
                "torch, or onnx in fp32 with `exported`, the folder of a model that a run has exported"
            )


EnsembleConfig.model_rebuild()  # its members are of the class just defined


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
        config: which model, on what device, how exact; where it has fallbacks, the first that can be had is taken.
        batch_tokens: largest padded area of a batch, in tokens.
        threads: batches computed at once on a CPU; one for each core where None.

    Raises:
        InputError: if there is no such model or device, bf16 or fp16 is asked for and fails its check, our vectors are
            not those of the model's own ``encode``, or another fingerprint is expected.
        EncoderUnavailable: if a server does not answer, none of the chain's encoders can be had, or the precision of
            vectors that are there is not as good as fp32 here.
    """
    if config.fallback:
        from data.encoders.chain import load_first

        return load_first(config, batch_tokens, threads)
    encoder = _load(config, batch_tokens, threads)
    if config.fingerprint is not None and encoder.fingerprint != config.fingerprint:
        raise InputError(
            f"{config.label} is the encoder {encoder.fingerprint}, and {config.fingerprint} is expected: "
            "their vectors cannot be compared",
            "Use the encoder, model file and precision that made the vectors, or embed anew.",
        )
    return encoder


def _load(config: EncoderConfig, batch_tokens: int, threads: int | None) -> Encoder:
    if config.endpoint is not None:
        from data.encoders.endpoint import EndpointEncoder

        return EndpointEncoder(config.endpoint)
    if config.hashed is not None:
        from data.encoders.hashed import HashedEncoder

        return HashedEncoder.load(config.hashed)
    if config.ensemble is not None:
        from data.encoders.ensemble import load_ensemble

        return load_ensemble(config.ensemble, batch_tokens, threads)
    if _is_import_path(config.model):
        from data.encoders.plugin import load_plugin

        return load_plugin(config, batch_tokens, threads)
    from data.encoders.devices import check_device

    check_device(config.device)
    if config.backend == "onnx":
        from data.encoders.onnx import OnnxEncoder

        return OnnxEncoder.load(config, batch_tokens, threads)
    from data.encoders.sentence import SentenceEncoder

    return SentenceEncoder.load(config, batch_tokens, threads)


def check_model(config: EncoderConfig) -> None:
    """Find a model without loading it, so that a mistake is told before anything is started.

    Members of an ensemble and fallbacks are looked for too.

    Raises:
        InputError: if there is no such model folder, import path or file.
    """
    for inner in (*(config.ensemble.members if config.ensemble is not None else ()), *config.fallback):
        check_model(inner)
    if config.ensemble is not None:
        _check_file("ensemble.attention", config.ensemble.attention, "catena encoder fuse RUN.yaml")
    elif config.hashed is not None:
        _check_file("hashed.idf", config.hashed.idf, "catena encoder idf RUN.yaml")
    elif config.endpoint is not None:
        return
    elif _is_import_path(config.model):
        from data.encoders.plugin import find_factory

        find_factory(config.model)
    else:
        from data.encoders.models import find_model

        if not Path(find_model(config.model)).is_dir():
            logger.info("encoder: %s is no folder here; the Hugging Face hub is asked for it", config.model)


def _check_file(key: str, file: Path | None, command: str) -> None:
    if file is not None and not file.is_file():
        raise InputError(f"encoder.{key}: there is no file {file}", f"Make it with `{command}`.")


def _is_import_path(model: str) -> bool:
    return ":" in model and not model.startswith(("/", "."))
