"""How a run is served."""

import os
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from data.artifacts import StageConfig
from data.encoders.config import EncoderConfig
from data.encoders.model_config import ModelConfig


class ServedModel(StageConfig):
    """A model beside those of the run, loaded when it is asked for by its name."""

    encoder: EncoderConfig | None = Field(None, description="of /v1/embeddings: a section like `encoder`")
    ranker: str | None = Field(None, min_length=1, description="of /v1/rerank: folder of a cross-encoder")

    @model_validator(mode="after")
    def _is_one_of_both(self) -> Self:
        if (self.encoder is None) == (self.ranker is None):
            raise ValueError("give either `encoder` or `ranker`")
        return self

    def with_absolute_paths(self) -> Self:
        """The same for a process that works in another folder."""
        encoder, ranker = self.encoder, self.ranker
        if isinstance(encoder, ModelConfig):
            encoder = encoder.model_copy(update={"model": absolute(encoder.model)})
        return self.model_copy(update={"encoder": encoder, "ranker": None if ranker is None else absolute(ranker)})


class RankConfig(StageConfig):
    """How /v1/rank explores, and where it finds what is known of capabilities."""

    explore: Literal["none", "epsilon", "thompson"] = Field(
        "none",
        description="how the order of what is shown is drawn where a request does not say: as scored, any order with "
        "probability epsilon, or by draws around the scores",
    )
    epsilon: float = Field(
        0.1,
        ge=1e-3,
        le=1,
        description="probability with which epsilon shows any order, and thompson puts any place first, so that "
        "nothing that is shown is without a chance",
    )
    noise: float = Field(
        0.5,
        gt=0,
        le=10,
        description="standard deviation of thompson's draws on log odds, for a capability that never ran",
    )
    store: Literal["sqlite", "redis"] = Field(
        "sqlite",
        description="where replicas find features: a file of the workspace, or the Redis that cache.redis names",
    )
    features_ttl_s: float = Field(
        86_400.0, gt=0, description="seconds after which features are no longer used; text alone ranks then"
    )
    features_every_s: float = Field(
        3600.0, gt=0, description="seconds after which features are computed again, since windows move with time"
    )


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
    http: Literal["direct", "proxy"] | None = Field(
        None,
        description="direct: replicas listen at the address themselves; proxy: Ray Serve's proxy does, and hands "
        "requests on; direct where null, if the layout is compact and Ray has this machine alone",
    )
    replicas: int = Field(1, ge=1, le=1024, description="copies of what encodes, 0.8 of a core each")
    gpus_per_replica: float = Field(
        0.0, ge=0, description="GPUs that each copy books, 0.5 for two on one; it sees none where 0"
    )
    ranker_replicas: int = Field(
        1, ge=1, le=1024, description="copies of what ranks, where layout spread has rankers; 0.8 of a core each"
    )
    gpus_per_ranker: float = Field(0.0, ge=0, description="GPUs that each of those books; it sees none where 0")
    most_replicas: int | None = Field(
        None, ge=1, le=1024, description="copies to which their number grows while work waits; it stays where null"
    )
    surge: bool | None = Field(
        None,
        description="whether an upgrade starts new copies before the old ones end, which takes room for one more; else "
        "they end and start in turn; where null, as there is room when it begins. A single copy always comes first",
    )
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
        None,
        description="cross-encoder that reranks: trained, which is the run's own (`catena ranker train`), or a folder; "
        "as of `ranker.model` where null, and where that is null too, by cosines of the encoder",
    )
    models: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9_./-]{1,128}$")], ServedModel] = Field(
        default_factory=dict,
        description="further models by the name that requests give in `model`, such as "
        "{small: {encoder: {model: FOLDER}}, cross: {ranker: FOLDER}}; each is loaded when it is first asked for",
    )
    loaded_models: int = Field(
        2, ge=1, description="most of those that a process has loaded; the one unused longest is given back for another"
    )
    link_model: Literal["champion", "challenger"] | int | None = Field(
        None,
        description="of /v1/links:score: a version in the registry, by alias or number; the run's own model where null",
    )
    capability_model: Literal["champion", "challenger"] | int | None = Field(
        None,
        description="of /v1/rank: a version in the registry, by alias or number; what the run learned last where null",
    )
    rank: RankConfig = Field(
        RankConfig(), description="how /v1/rank explores, and where it finds what is known of capabilities"
    )
    max_batch: int = Field(32, ge=1, le=1024, description="most queries encoded together")
    max_batch_tokens: int = Field(
        2048, ge=1, description="largest padded area of queries encoded together, in tokens estimated from their bytes"
    )
    max_age_s: float = Field(
        0.05, ge=0, description="longest wait of a query while fuller batches go first, in seconds"
    )
    target_ms: float | None = Field(
        None,
        gt=0,
        description="milliseconds within which a text is to be encoded, its waiting included: batches become smaller "
        "than max_batch_tokens and waiting shorter than max_age_s where that takes longer; both stay where null",
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
    hang_after_s: float = Field(
        120.0, gt=0, description="seconds after which a batch that is still worked on makes Ray replace the replica"
    )
    feedback: bool = Field(
        True,
        description="whether /v1/feedback is taken, and questions are kept in the workspace with the ids that were "
        "answered; catena feedback makes a table of both",
    )
    kept_answers_mb: int = Field(
        32, ge=0, description="answers of searches that each replica keeps to give again, in MiB; 0 keeps none"
    )
    kept_answers_ttl_s: float = Field(
        3600.0,
        ge=0,
        description="seconds that such answers are kept in Redis too, for all replicas, where cache.redis names one; 0 "
        "keeps none there",
    )
    live_documents: int = Field(
        100_000,
        ge=0,
        description="most documents beside the index that PUT /v1/documents put; catena index puts them into it. 0 "
        "takes none",
    )
    access_log: bool = Field(False, description="a line of JSON in the log for each answer")
    traces: str | None = Field(
        None,
        description="where an OpenTelemetry collector takes traces over HTTP, such as "
        "http://127.0.0.1:4318/v1/traces; none are made where null",
    )
    blocking: bool = Field(
        True,
        description="whether the command stays until stopped; false leaves the service to a cluster that was there",
    )

    @field_validator("traces")
    @classmethod
    def _is_a_url(cls, traces: str | None) -> str | None:
        if traces is not None and not traces.startswith(("http://", "https://")):
            raise ValueError("a URL that begins with http:// or https://")
        return traces

    @field_validator("link_model", "capability_model", mode="before")
    @classmethod
    def _is_an_alias_or_a_version(cls, which: object) -> object:
        if which in (None, "champion", "challenger"):
            return which
        if not str(which).isdecimal() or int(str(which)) < 1:
            raise ValueError("champion, challenger or the number of a version")
        return int(str(which))

    def with_absolute_paths(self) -> Self:
        """The same for a process that works in another folder."""
        keys = None if self.keys is None else self.keys.resolve()
        ranker = None if self.ranker is None else absolute(self.ranker)
        models = {name: model.with_absolute_paths() for name, model in self.models.items()}
        return self.model_copy(update={"keys": keys, "ranker": ranker, "models": models})

    def replicas_of(self, ranks: bool) -> int:
        """Replicas that a process hands its work to: of what ranks, or what encodes; 1 where it does it itself."""
        if self.layout == "compact":
            return 1
        return self.ranker_replicas if ranks else self.replicas

    @property
    def ranks(self) -> bool:
        """Whether a cross-encoder is named."""
        return self.ranker is not None or any(model.ranker is not None for model in self.models.values())

    @property
    def encoder_threads(self) -> int:
        """Cores that a replica encodes on."""
        return self.threads or max(1, len(os.sched_getaffinity(0)) // self.replicas)


def absolute(model: str) -> str:
    """The folder of a model wherever this process works; a name on the hub as it is."""
    return str(Path(model).resolve()) if Path(model).exists() else model
