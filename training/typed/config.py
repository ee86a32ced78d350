"""How typed links are learnt: decoder, entities, loss, regularisation."""

from typing import Literal

from pydantic import Field, model_validator

from data.artifacts import StageConfig

DecoderName = Literal["distmult", "complex", "rotate"]


class TypedConfig(StageConfig):
    """The model of typed links (``train.task: typed``); its optimiser is ``train.optimizer``."""

    decoder: DecoderName = Field("complex", description="how a head, a relation and a tail make a score")
    entities: Literal["table", "text", "both"] = Field(
        "table",
        description="what an entity is made of: learned vectors, a map of its text's vector, or one beside the other",
    )
    width: int = Field(512, ge=2, description="learned floats of an entity; an even number")
    text_width: int = Field(256, ge=2, description="floats that the text's vector is mapped to; an even number")
    loss: Literal["softmax", "self_adversarial"] = Field(
        "softmax", description="cross entropy of the true tail, or margins with negatives weighted by their scores"
    )
    negatives: int | None = Field(
        1024, ge=1, description="tails drawn for each batch, shared by its questions; null compares with all"
    )
    batch_triples: int = Field(
        512, ge=1, description="triples in a worker's batch, each asked for its head and its tail"
    )
    margin: float = Field(6.0, gt=0, description="of self_adversarial: the score at which a triple counts as true")
    adversarial_temperature: float = Field(
        1.0, ge=0, description="of self_adversarial: how much more the negatives of high scores count"
    )
    n3: float = Field(
        0.1, ge=0, description="weight of the cubes of absolute values (N3) of heads, relations and tails"
    )
    text_n3: float | None = Field(None, ge=0, description="the same for the text's part of an entity; n3 where unset")
    dropout: float = Field(0.0, ge=0, lt=1, description="share of an entity's floats that are dropped in training")
    relation_prediction: float = Field(
        0.05, ge=0, description="weight of predicting the relation of head and tail as an auxiliary loss"
    )
    cases: int = Field(
        50_000,
        ge=0,
        description="training triples of a relation that vote by the likeness of their heads' texts, weighed with the "
        "decoder's answers on the validation triples; 0 leaves votes and texts out",
    )
    initial_scale: float = Field(1e-2, gt=0, description="standard deviation of the first weights")
    valid_triples: int = Field(1000, ge=1, description="validation triples ranked after each epoch, both ways")

    @model_validator(mode="after")
    def _sizes_fit_together(self) -> "TypedConfig":
        for name in ("width", "text_width"):
            if getattr(self, name) % 2:
                raise ValueError(f"{name} must be even, got {getattr(self, name)}: half of it are imaginary parts")
        return self
