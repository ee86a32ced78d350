"""The encoder in a run file: one of several kinds, with ``kind`` as discriminator.

A run file need not name the kind: its keys do. ``endpoint``, ``hashed`` and ``ensemble`` are sections of one kind
each, ``fallback`` makes a chain of the encoder and those in the list, ``backend: onnx`` a model on ONNX Runtime,
an import path in ``model`` a plug-in, and everything else a sentence-transformers model in torch.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Discriminator, Field, TypeAdapter, model_serializer, model_validator
from pydantic_settings import CliSuppress

from data.artifacts import StageConfig
from data.encoders.model_config import ModelConfig, OneEncoder, OnnxConfig, PluginConfig, TorchConfig, TransformerConfig
from data.encoders.sections import API_KEY_VARIABLE, EndpointConfig, HashedConfig, digest
from data.imports import is_import_path

__all__ = [
    "API_KEY_VARIABLE",
    "BATCH_TOKENS",
    "ChainConfig",
    "EncoderConfig",
    "EndpointConfig",
    "EndpointEncoderConfig",
    "EnsembleConfig",
    "EnsembleEncoderConfig",
    "HashedConfig",
    "HashedEncoderConfig",
    "ModelConfig",
    "OnnxConfig",
    "PluginConfig",
    "SingleEncoder",
    "TorchConfig",
    "TransformerConfig",
    "alternatives",
    "digest",
    "read_encoder",
]

BATCH_TOKENS = 2048
_SECTIONS = ("endpoint", "hashed", "ensemble")
_OF_EVERY_KIND = frozenset({"kind", "fingerprint"})


class EndpointEncoderConfig(OneEncoder):
    """An OpenAI-compatible server of embeddings."""

    kind: Literal["endpoint"] = "endpoint"
    endpoint: EndpointConfig = Field(description="instead of a model: a server of embeddings")

    @property
    def label(self) -> str:
        """The model and its server."""
        return f"{self.endpoint.model} at {self.endpoint.base_url}"

    def for_questions(self, timeout_s: float) -> Self:
        """The server without retries: a user waits for each question, and the next question is a retry anyway."""
        limits = {
            key: min(timeout_s, getattr(self.endpoint, key)) for key in ("connect_timeout_s", "request_timeout_s")
        }
        return self.model_copy(update={"endpoint": self.endpoint.model_copy(update={**limits, "retries": 0})})


class HashedEncoderConfig(OneEncoder):
    """Hashed TF-IDF."""

    kind: Literal["hashed"] = "hashed"
    hashed: HashedConfig = Field(HashedConfig(), description="instead of a model: hashed TF-IDF, which needs none")

    @property
    def label(self) -> str:
        """What it is and its dimensions."""
        return f"hashed TF-IDF ({self.hashed.dim} dimensions)"

    def files(self) -> Iterator[Path]:
        """The weights of words."""
        if self.hashed.idf is not None:
            yield self.hashed.idf


def _named(value: object) -> object:
    """The keys of an encoder with the kind that they mean.

    Raises:
        ValueError: if they are keys of several kinds, or the backend has no such precision.
    """
    if not isinstance(value, Mapping):
        return value
    keys = {key: given for key, given in value.items() if given is not None or key not in _SECTIONS}
    chained = keys.pop("fallback", None) or ()
    if chained or "on_fallback" in keys or keys.get("kind") == "chain":
        own = {key: keys.pop(key) for key in [*keys] if key not in ("kind", "on_fallback", "first")}
        return {"kind": "chain", "first": (own,), "fallback": chained, **{k: v for k, v in keys.items() if k != "kind"}}
    _check_backend(keys)
    sections = [key for key in _SECTIONS if key in keys]
    others = [key for key in keys if key not in _OF_EVERY_KIND and key not in sections]
    if len(sections) > 1 or (sections and set(others) & _model_keys()):
        raise ValueError(f"one kind of encoder: {sections[0]} does not go with {', '.join([*sections[1:], *others])}")
    return {"kind": sections[0] if sections else _kind_of_model(keys), **keys}


def _check_backend(keys: Mapping[str, object]) -> None:
    backend, precision = keys.get("backend", "torch"), keys.get("precision")
    if (backend, precision) in (("torch", "int8"), ("onnx", "bf16"), ("onnx", "fp16")):
        raise ValueError(f"backend {backend} has no precision {precision}")
    if backend == "onnx" and keys.get("compile"):
        raise ValueError("compile is for backend torch")


def _model_keys() -> set[str]:
    return {*TransformerConfig.model_fields, *OnnxConfig.model_fields} - _OF_EVERY_KIND


def _kind_of_model(keys: Mapping[str, object]) -> str:
    model = str(keys.get("model", ""))
    if keys.get("backend") == "onnx":
        return "onnx"
    return "plugin" if is_import_path(model) else "transformer"


class EnsembleConfig(StageConfig):
    """Several encoders whose vectors become one."""

    members: tuple["SingleEncoder", ...] = Field(min_length=2, description="encoders; each a section like `encoder`")
    fusion: Literal["mean", "concatenation", "attention"] = Field(
        "concatenation", description="weighted sum, side by side, or weighed for each text by learned attention"
    )
    weights: tuple[float, ...] | None = Field(
        None, description="of the members' similarities, one number above 0 for each; equal where unset"
    )
    seed: int = Field(0, ge=0, description="mean of different dimensions: of the projections of the smaller members")
    attention: Path | None = Field(None, description="fusion: attention: file that `catena encoder fuse RUN` writes")

    @model_validator(mode="before")
    @classmethod
    def _members_have_no_fallback(cls, keys: Any) -> Any:  # noqa: ANN401 - whatever is given
        members = keys.get("members") if isinstance(keys, Mapping) else None
        if isinstance(members, Sequence) and any(isinstance(one, Mapping) and one.get("fallback") for one in members):
            raise ValueError("a member cannot have a fallback: give the whole ensemble one")
        return keys

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.weights is not None and (len(self.weights) != len(self.members) or min(self.weights) <= 0):
            raise ValueError(f"weights: one number above 0 for each of {len(self.members)} members, got {self.weights}")
        if (self.fusion == "attention") != (self.attention is not None):
            raise ValueError("fusion 'attention' needs `attention`, a file, and no other fusion takes one")
        _need_no_gate("members", self.members)
        return self

    def identity(self) -> dict[str, Any]:
        """As of every config, with the file's content instead of its name."""
        return {**super().identity(), "attention": digest(self.attention)}


class EnsembleEncoderConfig(OneEncoder):
    """Several encoders as one."""

    kind: Literal["ensemble"] = "ensemble"
    ensemble: EnsembleConfig = Field(description="instead of a model: several encoders as one")

    @property
    def label(self) -> str:
        """The fusion and the members."""
        return f"{self.ensemble.fusion} of {', '.join(member.label for member in self.ensemble.members)}"

    @property
    def computes_on(self) -> str:
        """Where a member computes that is not on the CPU; the CPU where all are."""
        return next((member.computes_on for member in self.ensemble.members if member.computes_on != "cpu"), "cpu")

    def on_cpu(self) -> Self:
        """Every member on the CPU."""
        return self._of(member.on_cpu() for member in self.ensemble.members)

    def in_fp32(self) -> Self:
        """Every member in its reference form."""
        return super().in_fp32()._of(member.in_fp32() for member in self.ensemble.members)

    def with_precision_of(self, vectors: Iterator[str]) -> Self:
        """Every member with its precision, in order."""
        return self._of([member.with_precision_of(vectors) for member in self.ensemble.members])

    def for_questions(self, timeout_s: float) -> Self:
        """Every member as a service asks it."""
        return self._of(member.for_questions(timeout_s) for member in self.ensemble.members)

    def files(self) -> Iterator[Path]:
        """The file of the learned attention; members name their own files."""
        if self.ensemble.attention is not None:
            yield self.ensemble.attention

    def _of(self, members: Iterator["SingleEncoder"] | list["SingleEncoder"]) -> Self:
        ensemble = self.ensemble.model_copy(update={"members": tuple(members)})
        return self.model_copy(update={"ensemble": ensemble})


SingleEncoder = Annotated[
    Annotated[
        TransformerConfig
        | OnnxConfig
        | PluginConfig
        | EndpointEncoderConfig
        | HashedEncoderConfig
        | EnsembleEncoderConfig,
        Discriminator("kind"),
    ],
    BeforeValidator(_named),
]


class ChainConfig(StageConfig):
    """An encoder and those that are used instead where it is unavailable.

    In a run file the keys of the first one are beside ``fallback``; this is also how a chain is written.
    """

    execution: ClassVar[frozenset[str]] = frozenset({"on_fallback"})

    kind: Literal["chain"] = "chain"
    first: CliSuppress[tuple[SingleEncoder]]
    fallback: tuple[SingleEncoder, ...] = Field(
        (), description="encoders to use instead, in this order, where this one is unavailable"
    )
    on_fallback: Literal["pause", "restart"] = Field(
        "pause",
        description="when vectors are already made and only another encoder is available: stop and keep them, or "
        "discard them and embed everything with the next",
    )

    @property
    def label(self) -> str:
        """The first encoder's."""
        return self.first[0].label

    @model_validator(mode="before")
    @classmethod
    def _one_list(cls, keys: Any) -> Any:  # noqa: ANN401 - whatever is given
        chained = keys.get("fallback") if isinstance(keys, Mapping) else None
        if isinstance(chained, Sequence) and any(isinstance(one, Mapping) and one.get("fallback") for one in chained):
            raise ValueError("fallbacks are one list: none of them can have a fallback")
        return keys

    @model_validator(mode="after")
    def _fallbacks_load_without_the_gate(self) -> Self:
        _need_no_gate("fallback", self.fallback)
        return self

    @model_serializer(mode="plain")
    def _as_written(self) -> dict[str, Any]:
        first = self.first[0].model_dump(mode="json")
        fallback = [one.model_dump(mode="json") for one in self.fallback]
        return {**first, "kind": self.kind, "fallback": fallback, "on_fallback": self.on_fallback}

    def identity(self) -> dict[str, Any]:
        """Those of its encoders, in their order."""
        return {"kind": self.kind, "alternatives": [one.identity() for one in alternatives(self)]}

    def in_fp32(self) -> Self:
        """Every encoder of the chain in its reference form."""
        return self.model_copy(
            update={"first": (self.first[0].in_fp32(),), "fallback": tuple(one.in_fp32() for one in self.fallback)}
        )

    def for_questions(self, timeout_s: float) -> Self:
        """Every encoder of the chain as a service asks it."""
        first, *others = (one.for_questions(timeout_s) for one in alternatives(self))
        return self.model_copy(update={"first": (first,), "fallback": tuple(others)})


EncoderConfig = Annotated[
    Annotated[
        TransformerConfig
        | OnnxConfig
        | PluginConfig
        | EndpointEncoderConfig
        | HashedEncoderConfig
        | EnsembleEncoderConfig
        | ChainConfig,
        Discriminator("kind"),
    ],
    BeforeValidator(_named),
]


def alternatives(config: EncoderConfig) -> tuple[SingleEncoder, ...]:
    """The encoders of a chain in their order; of any other, itself."""
    return (*config.first, *config.fallback) if isinstance(config, ChainConfig) else (config,)


def encoders_in(config: EncoderConfig) -> Iterator[SingleEncoder]:
    """Each alternative of an encoder, and each member of those that are ensembles.

    Members come before their ensemble: its file is learned on theirs, so a missing one of theirs is reported first.
    """
    for alternative in alternatives(config):
        if isinstance(alternative, EnsembleEncoderConfig):
            for member in alternative.ensemble.members:
                yield from encoders_in(member)
        yield alternative


def read_encoder(keys: Mapping[str, Any]) -> EncoderConfig:
    """The encoder that some keys of a run file describe.

    Raises:
        pydantic.ValidationError: if a key is unknown or a value not allowed.
    """
    read: EncoderConfig = _READER.validate_python(keys)
    return read


def _need_no_gate(key: str, parts: Sequence[SingleEncoder]) -> None:
    """Refuse, in a fallback or a member, what only the run's own encoder has: an export, and the gate's verdict on it.

    Raises:
        ValueError: with the key's place and what is allowed there.
    """
    for number, part in enumerate(parts):
        if not isinstance(part, OnnxConfig):
            continue
        if part.precision == "int8":
            raise ValueError(
                f"{key}.{number}.precision: int8 has to pass the gate, which judges a run's own encoder alone; here "
                "allowed: auto, fp32, bf16, fp16 (the latter two with backend torch)"
            )
        if part.exported is None:
            raise ValueError(
                f"{key}.{number}.backend: onnx without `exported`: a run exports its own encoder alone; here allowed: "
                "torch, or onnx in fp32 with `exported`, the folder of a model that a run has exported"
            )


EnsembleConfig.model_rebuild()  # its members are of the kinds defined after it
EnsembleEncoderConfig.model_rebuild()
ChainConfig.model_rebuild()
_READER = TypeAdapter[EncoderConfig](EncoderConfig)
