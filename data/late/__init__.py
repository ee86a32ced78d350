"""Late interaction: passages kept as the vectors of their tokens, to be scored by MaxSim (``data.maxsim``).

``projection`` brings token vectors to fewer dimensions and to few bytes, ``multivectors`` is the table they are written
to, ``embed`` makes it on Ray Data. The vectors themselves come from ``data.encoders.tokens``.
"""

from typing import ClassVar, Literal

from pydantic import Field

from data.artifacts import StageConfig
from data.encoders import BATCH_TOKENS

Storage = Literal["float16", "int8"]


class LateConfig(StageConfig):
    """How the vectors of a passage's tokens are made and kept."""

    execution: ClassVar[frozenset[str]] = frozenset({"batch_tokens", "actors"})

    dim: int = Field(96, ge=2, le=4096, description="dimensions a token's vector is brought to; at most the model's")
    projection: Literal["pca", "random"] = Field(
        "pca", description="by the directions that tell the corpus's tokens apart, or by random ones, which need no fit"
    )
    storage: Storage = Field("float16", description="of a token's vector on disk; int8 has a step for each dimension")
    max_tokens: int | None = Field(
        None, ge=1, description="tokens kept of a passage, its first ones; as many as the model reads where unset"
    )
    sample_passages: int = Field(
        256, ge=1, description="passages that projection and steps are fitted on, evenly spread"
    )
    seed: int = Field(0, ge=0, description="seed of the random projection")
    batch_tokens: int = Field(BATCH_TOKENS, ge=1, description="largest padded area of a batch, in tokens")
    actors: int | None = Field(None, ge=1, description="processes that hold an encoder; as many as fit where unset")
