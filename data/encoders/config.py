"""Configuration of encoders that are no model on this machine: an HTTP endpoint, hashed TF-IDF; and files they read."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, PrivateAttr, field_validator, model_validator

from data.artifacts import StageConfig
from data.imports import is_import_path
from data.lexical import Language

API_KEY_VARIABLE = "CATENA_ENDPOINT_API_KEY"
PLUGIN_KEY = "encoder.model"  # where the import path of an encoder stands in a run file


class EndpointConfig(StageConfig):
    """An OpenAI-compatible server of embeddings: ``POST {base_url}/embeddings``."""

    execution: ClassVar[frozenset[str]] = frozenset(
        {
            "base_url",
            "api_key_variable",
            "encoding_format",
            "batch_texts",
            "in_flight",
            "connect_timeout_s",
            "request_timeout_s",
            "retries",
            "backoff_s",
            "longest_wait_s",
        }
    )

    base_url: str = Field(description="what stands before /embeddings, such as https://api.example.com/v1")
    model: str = Field(min_length=1, description="the model's name, as the server knows it")
    revision: str = Field(
        "", description="anything that tells one model of this name from another: vectors of two are never compared"
    )
    dimensions: int | None = Field(
        None, ge=1, description="dimensions to ask the server for; the model's own where unset"
    )
    max_chars: int = Field(
        20_000, ge=1, description="characters of a text that are sent, the rest is cut; servers refuse longer texts"
    )
    api_key_variable: str = Field(
        API_KEY_VARIABLE, min_length=1, description="environment variable with the key; none is sent where it is unset"
    )
    encoding_format: str = Field(
        "float", pattern="^(float|base64)$", description="how vectors travel: float (JSON numbers) or base64"
    )
    batch_texts: int = Field(64, ge=1, le=2048, description="most texts in a request")
    in_flight: int = Field(4, ge=1, le=64, description="requests at once, of one process")
    connect_timeout_s: float = Field(5.0, gt=0, description="until a connection stands, in seconds")
    request_timeout_s: float = Field(60.0, gt=0, description="until an answer is whole, in seconds")
    retries: int = Field(4, ge=0, le=20, description="further tries of a request that failed")
    backoff_s: float = Field(
        0.5, gt=0, description="the wait before retry n is drawn from 0 to backoff_s * 2^n, in seconds"
    )
    longest_wait_s: float = Field(
        30.0, gt=0, description="longest wait before a retry, in seconds; a server that asks for more is given up"
    )

    @field_validator("base_url")
    @classmethod
    def _plain_url(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("not a URL of the form http://HOST/v1 or https://HOST/v1")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("a URL without user, query and fragment: keys are read from the environment")
        return url.rstrip("/").removesuffix("/embeddings")

    @field_validator("api_key_variable")
    @classmethod
    def _allowed_variable(cls, name: str) -> str:
        if name.upper().startswith("CATENA_") and name != API_KEY_VARIABLE:
            raise ValueError(f"{API_KEY_VARIABLE}, or a name that does not begin with CATENA_")
        return name


class HashedConfig(StageConfig):
    """Words, stemmed and hashed to the dimensions of a vector, weighed by TF-IDF. Needs no model."""

    dim: int = Field(2048, ge=16, le=65_536, description="dimensions; more keep more words apart")
    language: Language = Field("english", description="Snowball stemmer (english, german, …), or 'none'")
    idf: Path | None = Field(
        None, description="file that `catena encoder idf RUN` writes; without one all words weigh the same"
    )

    def identity(self) -> dict[str, Any]:
        """As of every config, with the file's content in the place of its name."""
        return {**super().identity(), "idf": digest(self.idf)}


def digest(file: Path | None) -> str | None:
    """SHA-256 of a file's bytes; None where there is no file (yet)."""
    if file is None or not file.is_file():
        return None
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


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
    def is_plugin(self) -> bool:
        """Whether this is an encoder of the user's own, named by an import path."""
        other = self.endpoint is not None or self.hashed is not None or self.ensemble is not None
        return not other and is_import_path(self.model)

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
