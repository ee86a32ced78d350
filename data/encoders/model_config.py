"""Encoders that are models on this machine: in torch, on ONNX Runtime, or made by a user-defined function."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, get_args

from pydantic import Field
from pydantic_settings import CliSuppress

from data.artifacts import StageConfig
from data.imports import code_digest

Short = Literal["fp32", "bf16", "fp16"]


class OneEncoder(StageConfig):
    """Keys and methods of every kind of encoder."""

    execution: ClassVar[frozenset[str]] = frozenset({"fingerprint"})

    fingerprint: str | None = Field(None, description="of the expected encoder; another one is refused")

    @property
    def label(self) -> str:
        """The encoder in a few words, for people."""
        raise NotImplementedError

    @property
    def computes_on(self) -> str:
        """The device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``. Those that compute nothing here book no GPU."""
        return "cpu"

    def on_cpu(self) -> Self:
        """The encoder on the CPU."""
        return self

    def in_fp32(self) -> Self:
        """The encoder in its reference form, fp32 in torch, which every other form is compared with."""
        return self.model_copy(update={"fingerprint": None})

    def with_precision_of(self, vectors: Iterator[str]) -> Self:
        """The encoder with the precision of existing vectors, where its config leaves the precision open.

        Args:
            vectors: their precisions, one for each model in the encoder; it takes as many as it has models.
        """
        next(vectors, None)
        return self

    def for_questions(self, timeout_s: float) -> Self:
        """The encoder for questions of a service: without retries, with a time limit; of the same identity."""
        del timeout_s
        return self

    def files(self) -> Iterator[Path]:
        """The files and folders that it reads, whether they exist or not."""
        yield from ()


class ModelConfig(OneEncoder):
    """Keys of every encoder that is a model here."""

    execution: ClassVar[frozenset[str]] = frozenset(
        {*OneEncoder.execution, "device", "compile", "exported", "tolerance"}
    )

    model: str = Field(
        "all-MiniLM-L6-v2",
        min_length=1,
        description="a sentence-transformers model: a folder, or a name on the Hugging Face hub (the default comes "
        "with the installation); or a custom encoder as an import path, my_package.encoders:load",
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
    device: str = Field("auto", description="auto takes the GPU where there is one; else cpu, cuda, cuda:1, mps")
    tolerance: float = Field(
        0.005,
        ge=0,
        lt=1,
        description="largest relative loss of nDCG@10 that the gate lets a form have against fp32; where the corpus "
        "has no questions with known answers, the smallest cosine has to be 0.999 instead",
    )

    @property
    def label(self) -> str:
        """The model, and its device where one is named."""
        return self.model if self.device == "auto" else f"{self.model} on {self.device}"

    @property
    def computes_on(self) -> str:
        """The device it is given."""
        return self.device

    def on_cpu(self) -> Self:
        """The model on the CPU."""
        return self.model_copy(update={"device": "cpu"})

    def files(self) -> Iterator[Path]:
        """The model's folder, where it is one."""
        yield Path(self.model).expanduser()


class TorchConfig(ModelConfig):
    """Keys of models that compute in torch, in a precision that may be left open."""

    backend: Literal["torch"] = Field(
        "torch", description="what computes: torch, or onnx: ONNX Runtime on a model that is exported first"
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto",
        description="auto takes bf16 where the processor has it (fp16 on a GPU without) and a check at start finds it "
        "faster and as good (cosine to fp32 at least 0.999); bf16 and fp16 are refused if they fail that check; with "
        "backend onnx it is fp32 or, calibrated on the run's passages and let through by the gate only, int8",
    )
    compile: bool = Field(
        False, description="torch.compile the model: up to a minute more at start; on a CPU it needs a C++ compiler"
    )
    # Set by Catena where the user leaves the precision open, never in a run file: by the gate's verdict, or by existing
    # vectors, which take precedence over the gate.
    gate_precision: CliSuppress[Short | None] = Field(None, exclude=True)
    vectors_precision: CliSuppress[Short | None] = Field(None, exclude=True)

    @property
    def settled_precision(self) -> str:
        """The precision to compute in: the user's, or what was decided where that is ``auto``."""
        return self.precision if self.precision != "auto" else self.vectors_precision or self.gate_precision or "auto"

    @property
    def bound_to_vectors(self) -> bool:
        """Whether the precision is that of existing vectors, and not the user's choice."""
        return self.precision == "auto" and self.vectors_precision is not None

    def identity(self) -> dict[str, Any]:
        """As of every config, with the precision that was decided."""
        return {**super().identity(), "precision": self.settled_precision}

    def in_fp32(self) -> Self:
        """The model in fp32."""
        return super().in_fp32().model_copy(update={"precision": "fp32"})

    def with_precision_of(self, vectors: Iterator[str]) -> Self:
        """The model with the precision of existing vectors."""
        precision = next(vectors, "")
        return self.model_copy(update={"vectors_precision": precision}) if precision in get_args(Short) else self


class TransformerConfig(TorchConfig):
    """A sentence-transformers model in torch."""

    kind: Literal["transformer"] = Field(
        "transformer",
        description="transformer, plugin, onnx, endpoint, hashed, ensemble or chain; the other keys imply it",
    )


PLUGIN_KEY = "encoder.model"  # of the import path in a run file


class PluginConfig(TorchConfig):
    """A custom encoder, made by a function that is named by its import path and called with this config."""

    kind: Literal["plugin"] = "plugin"

    def files(self) -> Iterator[Path]:
        """None: what the function reads is not known."""
        yield from ()

    def code(self) -> str:
        """A digest of its code.

        Raises:
            InputError: if there is no such module.
        """
        return code_digest(PLUGIN_KEY, self.model)


class OnnxConfig(ModelConfig):
    """A sentence-transformers model on ONNX Runtime."""

    kind: Literal["onnx"] = "onnx"
    backend: Literal["onnx"] = "onnx"
    precision: Literal["auto", "fp32", "int8"] = "auto"
    exported: Path | None = Field(
        None, description="folder of a model exported for backend onnx; made under the workspace where unset"
    )

    def in_fp32(self) -> TransformerConfig:  # type: ignore[override]
        """The model in fp32, in torch."""
        return TransformerConfig(**_shared(self), precision="fp32")

    def with_precision_of(self, vectors: Iterator[str]) -> Self:
        """Itself: its precision is fixed."""
        next(vectors, None)
        return self

    def files(self) -> Iterator[Path]:
        """The model's folder, and that of the exported model."""
        yield from super().files()
        if self.exported is not None:
            yield self.exported


def in_form(
    model: TransformerConfig | OnnxConfig, form: str, exported: Path | None = None
) -> TransformerConfig | OnnxConfig:
    """A model in another form; an expected fingerprint is dropped.

    Args:
        model: in any form.
        form: ``torch`` or ``onnx`` and a precision, such as ``onnx int8``.
        exported: folder of the exported model, for a form on ONNX Runtime.
    """
    backend, precision = form.split()
    if backend == "onnx":
        return OnnxConfig.model_validate({**_shared(model), "precision": precision, "exported": exported})
    compiled = isinstance(model, TransformerConfig) and model.compile
    return TransformerConfig.model_validate({**_shared(model), "precision": precision, "compile": compiled})


def _shared(model: ModelConfig) -> dict[str, Any]:
    return model.model_dump(include=set(ModelConfig.model_fields) - {"fingerprint"})
