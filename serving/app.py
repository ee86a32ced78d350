"""The Ray Serve application: deployments around the HTTP application, in one of two layouts.

*Compact*: a replica is one process that takes requests, encodes and, where it is the only one or the index is on a
server, asks the index itself; nothing is handed between processes. *Spread*: ingress, embedder and index have processes
of their own. The routes and the services behind them are the same.

Ray Serve reads the annotation of the argument of ``build`` as an object, so this module must not postpone the
evaluation of annotations.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict
from ray import serve
from ray.serve import Application
from ray.serve.handle import DeploymentHandle

from data.cache import CacheConfig
from data.encoders.config import EncoderConfig, TransformerConfig
from data.encoders.model_config import ModelConfig
from retrieval.open import read_meta
from serving.admission import Admission
from serving.api import Services, application
from serving.config import ServeConfig
from serving.cross_encoder import CrossEncoderModel
from serving.documents import DocumentsService, LiveLookup
from serving.embedder import Embedder
from serving.embedding import EmbeddingLimits, EmbeddingService, TextEncoder, tokens_read
from serving.feedback import FeedbackService
from serving.index import IndexActor
from serving.journal import Journal
from serving.keys import KeyRing
from serving.live import LiveConfig
from serving.lookup import LookupFile
from serving.prepare import Preparer
from serving.ranking import CrossEncoderRanker, EncoderRanker, RankingService
from serving.remote import RemoteEmbedder, RemoteIndex
from serving.search import SearchService
from serving.sight import Metrics, log_answer

# What each replica books. Index and ingress work while the embedder waits, and the other way round; together with one
# embedder they fit on one core.
CORES = {"embedder": 0.8, "index": 0.1, "ingress": 0.1}


class Service(BaseModel):
    """What to serve: where a run's artifacts are, and how big to make the service."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    index: Path
    lookup: Path
    journals: Path
    live: LiveConfig | None = None
    encoder: EncoderConfig = TransformerConfig()
    serve: ServeConfig = ServeConfig()
    cache: CacheConfig = CacheConfig()


@serve.ingress()
class Ingress:
    """Takes requests. What it is given no handle of, it holds itself.

    Args:
        service: what to serve.
        embedder: deployment that encodes.
        index: deployment that searches.
    """

    def __init__(
        self, service: Service, embedder: DeploymentHandle | None = None, index: DeploymentHandle | None = None
    ) -> None:
        meta, config = read_meta(service.index), service.serve
        encoder = (
            Embedder(service.encoder, meta, config, service.cache) if embedder is None else RemoteEmbedder(embedder)
        )
        searcher = IndexActor(*_index_of(service)) if index is None else RemoteIndex(index)
        self._limits, self._ring = config, self._key_ring(config)
        name = model_name(service.encoder)
        limits = EmbeddingLimits(config.max_texts, config.max_text_chars, tokens_read(service.encoder))
        behind = 1 if embedder is None else config.replicas
        tokens = Admission(config.longest_wait_s, config.max_batch_tokens * behind)
        searches = Admission(config.longest_wait_s, config.max_batch * behind)
        self._services = Services(
            search=SearchService(meta, encoder, searcher, config.health_timeout_s, searches, config.kept_answers_mb),
            embedding=EmbeddingService(name, meta.question_dim, encoder, limits, tokens),
            ranking=_ranking(config, name, encoder, limits, tokens),
            lookup=LiveLookup(LookupFile(service.lookup), searcher),
            documents=DocumentsService(
                searcher,
                None if service.live is None else Preparer(service.live, service.encoder, meta),
                encoder,
                limits,
                tokens,
            ),
            feedback=FeedbackService(Journal(service.journals) if config.feedback else None),
            metrics=Metrics({"tokens": tokens, "searches": searches}, {"replica": _replica()}),
        )

    @staticmethod
    def _key_ring(config: ServeConfig) -> KeyRing | None:
        """The keys, of whose rates each process that takes requests allows its share."""
        takers = config.replicas if config.layout == "compact" else 1
        return None if config.keys is None else KeyRing(config.keys, takers)

    def __serve_build_asgi_app__(self) -> FastAPI:
        """The application, as Ray Serve asks for it when the replica starts."""
        sinks = [log_answer] if self._limits.access_log else []
        return application(self._services, self._limits, self._ring, sinks, ids_told=True)


def build(service: Service) -> Application:
    """The application of a service, in the layout that it names.

    Raises:
        InputError: if there is no finished index.
    """
    meta, config = read_meta(service.index), service.serve
    index = _deployed(IndexActor, "index", config).bind(*_index_of(service))
    if config.layout == "spread":
        embedder = _deployed(Embedder, "embedder", config, num_replicas=config.replicas)
        bound = embedder.bind(service.encoder, meta, config, service.cache)
        return _deployed(Ingress, "ingress", config).bind(service, bound, index)
    ingress = _deployed(Ingress, "embedder", config, num_replicas=config.replicas)
    # One process owns an embedded index, and one the documents that are put.
    alone = config.replicas == 1 or (meta.config.engine == "server" and service.live is None)
    return ingress.bind(service) if alone else ingress.bind(service, None, index)


def _index_of(service: Service) -> tuple[Path, LiveConfig | None, Path]:
    """What an index is opened by."""
    return service.index, service.live, service.lookup


def _replica() -> str:
    return str(serve.get_replica_context().replica_id.unique_id)


def _ranking(
    config: ServeConfig, name: str, encoder: TextEncoder, limits: EmbeddingLimits, tokens: Admission
) -> RankingService:
    """By the cross-encoder, whose rate is its own, else by the encoder."""
    if config.ranker is None:
        return RankingService(EncoderRanker(name, encoder, limits.tokens_read), limits, tokens)
    model = CrossEncoderModel(config.ranker, config.max_batch_tokens)
    ranker = CrossEncoderRanker(model, config.max_batch_tokens, config.max_age_s, config.embed_timeout_s)
    return RankingService(ranker, limits, Admission(config.longest_wait_s, config.max_batch_tokens))


def model_name(encoder: EncoderConfig) -> str:
    """What clients call the model: the last part of its path, or what describes an encoder that has none."""
    return Path(encoder.model).name if isinstance(encoder, ModelConfig) else encoder.label


def cores(config: ServeConfig) -> float:
    """Cores that a service books."""
    alone = config.layout == "compact" and config.replicas == 1
    others = 0.0 if alone else CORES["index"] + CORES["ingress"] * (config.layout == "spread")
    return CORES["embedder"] * config.replicas + others


def _deployed(cls: type, books: str, config: ServeConfig, **options: Any) -> serve.Deployment:  # noqa: ANN401 - Ray's
    actor: Mapping[str, float] = {"num_cpus": CORES[books]}
    return serve.deployment(cls).options(
        max_ongoing_requests=config.max_ongoing_requests, ray_actor_options=dict(actor), **options
    )
