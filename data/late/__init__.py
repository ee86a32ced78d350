"""Late interaction: passages kept as the vectors of their tokens, to be scored by MaxSim (``data.maxsim``).

``multivectors`` is the table they are written to, ``embed`` makes it on Ray Data. The vectors come from
``data.encoders.token_vectors``, fewer dimensions from ``data.reduction``, fewer bytes from ``data.quantise``.
"""

from typing import Literal

from pydantic import Field

from data.artifacts import StageConfig
from data.quantise import Storage

TOKEN_PROJECTION = "token_projection.safetensors"  # its name in the late stage's artifact, and in the index's


class LateConfig(StageConfig):
    """How the vectors of a passage's tokens are made and kept; `embed` says how the work is spread."""

    dim: int = Field(96, ge=2, le=4096, description="dimensions a token's vector is brought to; at most the model's")
    method: Literal["pca", "random"] = Field(
        "pca", description="fewer dimensions by PCA on a sample of the tokens, or by a random projection"
    )
    storage: Storage = Field("float16", description="of a token's vector on disk, as `reduce.storage`")
    max_tokens: int | None = Field(
        None, ge=1, description="tokens kept of a passage, its first ones; as many as the model reads where unset"
    )
    sample_passages: int = Field(256, ge=1, description="passages whose tokens PCA is fitted on, drawn at random")
    seed: int = Field(0, ge=0, description="seed of the sample, of the rotation after PCA and of the random projection")
