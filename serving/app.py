"""The Ray Serve application: deployments around the HTTP application, in one of two layouts.

*Compact*: a replica is one process that takes requests, encodes and, where it is the only one or the index is on a
server, asks the index itself; nothing is handed between processes. *Spread*: ingress, embedder, ranker and index have
processes of their own. The routes and the services behind them are the same.

Ray Serve reads the annotation of the argument of ``build`` as an object, so this module must not postpone the
evaluation of annotations.
"""

from copy import copy
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import ray
from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict
from ray import serve
from ray.serve import Application
from ray.serve.handle import DeploymentHandle

from data.cache import CacheConfig
from data.errors import InputError
from retrieval.open import read_meta
from serving.admission import Admission
from serving.api import Services, application
from serving.capabilities import BATCH
from serving.config import ServeConfig
from serving.deployments import EmbedderDeployment, IndexDeployment, RankerDeployment, check_work
from serving.embedding import EmbeddingService
from serving.feedback import FeedbackService
from serving.journal import Journal
from serving.keys import KeyRing
from serving.links import TEXT_COSTS
from serving.listener import take_socket
from serving.named import LocalModels, NamedModels
from serving.open_capabilities import FeatureStores
from serving.opening import Embedders, Loads, Rankers, VariantOpener
from serving.ranking import RankingService
from serving.releases import Releases
from serving.remote import RemoteModels
from serving.scaling import BATCHES, scaling
from serving.sight import Metrics, log_answer
from serving.stored_answers import open_answers
from serving.traces import check_traces, open_traces
from serving.traffic import read_traffic
from serving.variants import Variant, watched

Vectors = npt.NDArray[np.float32]

HEALTH_EVERY_S = 2.0  # in which Serve sees that a replica has died, and starts another one

# What each replica books. Index and ingress work while the embedder waits, and the other way round; together with one
# embedder they fit on one core.
CORES = {"embedder": 0.8, "ranker": 0.8, "index": 0.1, "ingress": 0.1}


class Service(BaseModel):
    """What to serve: which releases, and how big to make the service."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    traffic: Path
    journals: Path
    features: Path = Path()
    serve: ServeConfig = ServeConfig()
    cache: CacheConfig = CacheConfig()
    listener: Path | None = None  # where replicas get the socket they listen at; Ray Serve's proxy asks them if None


@serve.ingress()
class Ingress:
    """Takes requests. What it is given no handle of, it holds itself.

    Args:
        service: what to serve.
        embedder: deployment that encodes.
        index: deployment that searches.
        ranker: deployment that ranks.
    """

    async def __init__(  # type: ignore[misc]  # Ray Serve awaits it
        self,
        service: Service,
        embedder: DeploymentHandle | None = None,
        index: DeploymentHandle | None = None,
        ranker: DeploymentHandle | None = None,
    ) -> None:
        config = service.serve
        self._limits, self._ring, self._listener = config, self._key_ring(config), service.listener
        behind = config.replicas_of(ranks=False)
        of_rankers = config.max_batch_tokens * config.replicas_of(ranks=True)
        loads = Loads(
            tokens=Admission(config.longest_wait_s, config.max_batch_tokens * behind),
            searches=Admission(config.longest_wait_s, config.max_batch * behind),
            pairs=Admission(config.longest_wait_s, TEXT_COSTS),
            ranker=None if ranker is None else Admission(config.longest_wait_s, of_rankers),
            intents=Admission(config.longest_wait_s, BATCH),
        )
        self._models = LocalModels(config)
        named = NamedModels(config, self._models if embedder is None else RemoteModels(embedder, ranker))
        of_models = {f"tokens of {name}": admission for name, admission in named.admissions.items()}
        metrics = Metrics({**loads.by_unit, **of_models}, {"replica": _replica()})
        self._embedders = Embedders(config, service.cache)
        opener = VariantOpener(
            config,
            loads,
            self._embedders,
            Rankers(config),
            embedder,
            ranker,
            index,
            catch_up=lambda: self._releases.catch_up(),
            stored=open_answers(service.cache, config, metrics.answer_looked_up),
            count=metrics.answer_looked_up,
            features=FeatureStores(config.rank, service.cache, service.features),
        )
        self._releases = Releases[Variant](
            service.traffic,
            opener.open,
            lambda variant: variant.close(),
            self._ready,
            lambda variant: variant.documents.supply(),
        )
        live = self._releases.live
        embedding, ranking = copy(live.embedding), copy(live.ranking)
        variants = watched(service.traffic, self._releases, metrics, lambda: loads.searches.waiting > 0)
        self._releases.on_live = partial(_use, embedding, ranking)
        self._traces = None if config.traces is None else open_traces(config.traces, _replica())
        self._services = Services(
            search=variants,
            embedding=embedding,
            ranking=ranking,
            lookup=variants,
            documents=variants,
            links=variants,
            capabilities=variants,
            bundles=variants,
            feedback=FeedbackService(Journal(service.journals) if config.feedback else None),
            metrics=metrics,
            releases=self._releases,
            named=named,
        )
        await self._releases.start()
        await live.warm_up()

    async def _ready(self, variant: Variant) -> None:
        """Ask a release once, search and ranker, and its link model too where that of the live one is asked."""
        await variant.search.ready()
        await variant.ranking.ranker.score("ready", ["ready"], None)
        if self._releases.live.links.opened:
            await variant.links.open()

    def check_health(self) -> None:
        """Called by Ray Serve, which replaces a replica that hangs.

        Raises:
            RuntimeError: if a batch is worked on too long.
        """
        working = [variant.longest_s() for variant in self._releases.opened]
        check_work([*working, self._models.longest_s], self._limits.hang_after_s)

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """Called by Ray Serve: the work that there is."""
        return {BATCHES: self._embedders.batches + self._models.batches}

    @staticmethod
    def _key_ring(config: ServeConfig) -> KeyRing | None:
        """The keys, of whose rates each process that takes requests allows its share."""
        takers = config.replicas if config.layout == "compact" else 1
        return None if config.keys is None else KeyRing(config.keys, takers)

    def __serve_build_asgi_app__(self) -> FastAPI:
        """The application, as Ray Serve asks for it when the replica starts."""
        sinks = [log_answer] if self._limits.access_log else []
        listening = None if self._listener is None else take_socket(self._listener)
        told = listening is None
        return application(self._services, self._limits, self._ring, sinks, told, listening, self._traces)


def build(service: Service) -> Application:
    """The application of a service, in the layout that it names.

    Raises:
        InputError: if there is no finished index, or traces are asked for and cannot be sent.
    """
    traffic, config = read_traffic(service.traffic), service.serve
    if traffic is None:
        raise InputError(f"there is no {service.traffic}", "`catena serve RUN.yaml` makes it.")
    check_traces(config.traces)
    replaced = _replaced(config, "embedder", config.replicas, config.gpus_per_replica)
    copies = {**_copies(config), **replaced}
    live = traffic.releases[traffic.live]
    index = _deployed(IndexDeployment, "IndexActor", "index", config).bind(service.traffic, config)
    if config.layout == "spread":
        embedder = _deployed(EmbedderDeployment, "Embedder", "embedder", config, **copies)
        bound = embedder.bind(service.traffic, config, service.cache)
        ingress = _deployed(Ingress, "Ingress", "ingress", config)
        if not (config.ranks or live.ranker is not None):
            return ingress.bind(service, bound, index)
        replaced = _replaced(config, "ranker", config.ranker_replicas, config.gpus_per_ranker)
        rankers = {"num_replicas": config.ranker_replicas, **replaced}
        ranker = _deployed(RankerDeployment, "Ranker", "ranker", config, **rankers)
        return ingress.bind(service, bound, index, ranker.bind(service.traffic, config))
    ingress = _deployed(Ingress, "Ingress", "embedder", config, **copies)
    # One process owns an embedded index, and one the documents that are put.
    one_owns = read_meta(live.index).config.engine != "server" or live.live is not None
    alone = (config.most_replicas or config.replicas) == 1 or not one_owns
    return ingress.bind(service) if alone else ingress.bind(service, None, index)


def _copies(config: ServeConfig) -> dict[str, Any]:
    """How many replicas of what encodes, for Ray Serve."""
    if config.most_replicas is None or config.most_replicas <= config.replicas:
        return {"num_replicas": config.replicas}
    return {"autoscaling_config": scaling(config.replicas, config.most_replicas)}


def _replaced(config: ServeConfig, books: str, replicas: int, gpus: float) -> dict[str, int]:
    """How an upgrade replaces replicas, for Ray Serve: new ones start before the old ones end, or each in turn."""
    surges = config.surge
    if surges is None and ray.is_initialized():
        free = ray.available_resources()
        surges = free.get("CPU", 0.0) >= CORES[books] and free.get("GPU", 0.0) >= gpus
    return {"max_surge_percent": 0 if replicas > 1 and surges is False else 100}


def _use(embedding: EmbeddingService, ranking: RankingService, variant: Variant) -> None:
    """Embed and rank as the release that is live now."""
    embedding.use(variant.embedding)
    ranking.use(variant.ranking)


def _replica() -> str:
    return str(serve.get_replica_context().replica_id.unique_id)


def cores(config: ServeConfig) -> float:
    """Cores that a service books."""
    alone = config.layout == "compact" and config.replicas == 1
    others = 0.0 if alone else CORES["index"] + CORES["ingress"] * (config.layout == "spread")
    return CORES["embedder"] * config.replicas + CORES["ranker"] * ranker_replicas(config) + others


def gpus(config: ServeConfig) -> float:
    """GPUs that a service books."""
    return config.gpus_per_replica * config.replicas + config.gpus_per_ranker * ranker_replicas(config)


def ranker_replicas(config: ServeConfig) -> int:
    """Replicas that do nothing but rank."""
    return config.ranker_replicas if config.layout == "spread" and config.ranks else 0


def _deployed(
    cls: type,
    name: str,
    books: str,
    config: ServeConfig,
    **options: Any,  # noqa: ANN401 - Ray's
) -> serve.Deployment:
    actor = {"num_cpus": CORES[books]}
    gpus_of = {"embedder": config.gpus_per_replica, "ranker": config.gpus_per_ranker}.get(books, 0.0)
    if gpus_of:
        actor["num_gpus"] = gpus_of
    return serve.deployment(cls).options(
        name=name,
        max_ongoing_requests=config.max_ongoing_requests,
        health_check_period_s=HEALTH_EVERY_S,
        ray_actor_options=actor,
        **{"max_surge_percent": 100, **options},  # an upgrade starts new replicas before the old ones end
    )
