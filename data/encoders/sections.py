"""The sections of encoders that are no model on this machine: a server of embeddings, hashed TF-IDF."""

import hashlib
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from data.artifacts import StageConfig
from data.lexical import Language
from data.words import VERSION

API_KEY_VARIABLE = "CATENA_ENDPOINT_API_KEY"


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

    base_url: str = Field(description="URL without /embeddings, such as https://api.example.com/v1")
    model: str = Field(min_length=1, description="the model's name, as the server knows it")
    revision: str = Field(
        "", description="any text that differs between models of the same name: their vectors are never compared"
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
        "float",
        pattern="^(float|base64)$",
        description="encoding of vectors in answers: float (JSON numbers) or base64",
    )
    batch_texts: int = Field(64, ge=1, le=2048, description="most texts in a request")
    in_flight: int = Field(4, ge=1, le=64, description="requests at once, of one process")
    connect_timeout_s: float = Field(5.0, gt=0, description="until a connection is made, in seconds")
    request_timeout_s: float = Field(60.0, gt=0, description="until the whole answer has arrived, in seconds")
    retries: int = Field(4, ge=0, le=20, description="further tries of a request that failed")
    backoff_s: float = Field(
        0.5, gt=0, description="the wait before retry n is drawn from 0 to backoff_s * 2^n, in seconds"
    )
    longest_wait_s: float = Field(
        30.0, gt=0, description="longest wait before a retry, in seconds; a server that asks for more is unavailable"
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

    dim: int = Field(2048, ge=16, le=65_536, description="dimensions; with more, fewer words share one")
    language: Language = Field("english", description="Snowball stemmer (english, german, …), or 'none'")
    idf: Path | None = Field(
        None, description="file that `catena encoder idf RUN` writes; without one all words weigh the same"
    )

    def identity(self) -> dict[str, Any]:
        """As of every config, with the file's content instead of its name, and the version of the words."""
        return {**super().identity(), "idf": digest(self.idf), "words": VERSION}


def digest(file: Path | None) -> str | None:
    """SHA-256 of a file's bytes; None where there is no file (yet)."""
    if file is None or not file.is_file():
        return None
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
