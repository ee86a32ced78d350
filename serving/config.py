"""How a run is served."""

import os
from pathlib import Path
from typing import Literal, Self

from pydantic import Field

from data.artifacts import StageConfig


class ServeConfig(StageConfig):
    """Address and size of the service."""

    host: str = Field("127.0.0.1", description="address to listen on; one that other machines reach needs keys")
    port: int = Field(8000, ge=1, le=65535, description="port to listen on")
    keys: Path | None = Field(None, description="file of keys, made by catena keys create; nobody needs one where null")
    layout: Literal["compact", "spread"] = Field(
        "compact",
        description="compact: each replica is one process that checks requests, encodes and, where it is the only one, "
        "holds the index; spread: processes of their own for each, as GPUs and clusters want",
    )
    replicas: int = Field(1, ge=1, le=1024, description="copies of what encodes, 0.8 of a core each")
    longest_wait_s: float = Field(
        5.0,
        gt=0,
        description="seconds of work that may wait in a replica, at the rate measured; beyond that requests are "
        "answered 429 with Retry-After",
    )
    max_ongoing_requests: int = Field(
        2000,
        ge=1,
        description="requests a replica takes in at once, more than it lets wait, so that it can refuse them",
    )
    threads: int | None = Field(
        None,
        ge=1,
        description="cores that a replica encodes on, a batch on each; its share of the machine's where null",
    )
    ranker: str | None = Field(
        None, description="folder of a cross-encoder that reranks; by cosines of the encoder where null"
    )
    max_batch: int = Field(32, ge=1, le=1024, description="most queries encoded together")
    max_batch_tokens: int = Field(
        2048, ge=1, description="largest padded area of queries encoded together, in tokens estimated from their bytes"
    )
    max_age_s: float = Field(
        0.05, ge=0, description="longest wait of a query while fuller batches go first, in seconds"
    )
    question_timeout_s: float = Field(
        10.0, gt=0, description="seconds a question may wait for its vector; then the encoder counts as unavailable"
    )
    embed_timeout_s: float = Field(
        60.0, gt=0, description="seconds that texts of /v1/embeddings may wait for their vectors"
    )
    max_texts: int = Field(2048, ge=1, description="most texts in one request")
    max_text_chars: int = Field(200_000, ge=1, description="longest text of a request, in characters")
    encoder_timeout_s: float = Field(
        2.0,
        gt=0,
        description="time limit of an endpoint for a batch of questions, in seconds, whatever its limit for documents; "
        "questions are not retried",
    )
    breaker_failures: int = Field(
        3, ge=1, description="failures of the encoder in a row after which questions to it fail at once"
    )
    breaker_retry_s: float = Field(
        2.0, gt=0, description="seconds between two tries to reach it then, beside the questions"
    )
    max_body_bytes: int = Field(8 * 2**20, ge=1024, description="largest body of a request, in bytes")
    health_timeout_s: float = Field(10.0, gt=0, description="after which /readyz says no, in seconds")
    feedback: bool = Field(
        True,
        description="whether /v1/feedback is taken, and questions are kept in the workspace with the ids that were "
        "answered; catena feedback makes a table of both",
    )
    kept_answers_mb: int = Field(
        32, ge=0, description="answers of searches that each replica keeps to give again, in MiB; 0 keeps none"
    )
    live_documents: int = Field(
        100_000,
        ge=0,
        description="most documents beside the index that PUT /v1/documents put; catena index puts them into it. 0 "
        "takes none",
    )
    access_log: bool = Field(False, description="a line of JSON in the log for each answer")
    blocking: bool = Field(
        True,
        description="whether the command stays until stopped; false leaves the service to a cluster that was there",
    )

    def with_absolute_paths(self) -> Self:
        """The same for a process that works in another folder."""
        keys = None if self.keys is None else self.keys.resolve()
        ranker = self.ranker
        if ranker is not None and Path(ranker).exists():  # else a name on the hub
            ranker = str(Path(ranker).resolve())
        return self.model_copy(update={"keys": keys, "ranker": ranker})

    @property
    def encoder_threads(self) -> int:
        """Cores that a replica encodes on."""
        return self.threads or max(1, len(os.sched_getaffinity(0)) // self.replicas)
