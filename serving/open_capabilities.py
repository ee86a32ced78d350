"""Opening what ranks capabilities: a ranker that fits the index's encoder, features by its store, stored intents."""

from dataclasses import dataclass, field
from pathlib import Path

from data.cache import CacheConfig
from data.cache.encoder import open_redis
from data.cache.redis import connect
from data.capabilities.catalogue import Catalogue
from data.capabilities.features import NAMES, features_of
from data.capabilities.traces import Traces
from data.errors import InputError, nearest
from data.features.redis import RedisFeatures
from data.features.sqlite import SqliteFeatures
from data.features.store import FeatureStore
from data.features.table import Features
from data.vectors.projection import Projection
from retrieval.index import IndexMeta
from serving.admission import Admission
from serving.artifacts import CapabilityArtifacts
from serving.capabilities import CapabilityService, IntentEncoder
from serving.capability_past import RUNS
from serving.config import RankConfig
from serving.feature_feed import FeatureFeed
from serving.stored_intents import StoredIntents
from training.ranking.served import CapabilityRanker

FILE = "features.sqlite"


@dataclass(frozen=True)
class FeatureStores:
    """Where the features of a service are.

    Args:
        config: that says which store.
        cache: names the Redis.
        folder: of the file, where it is SQLite.
    """

    config: RankConfig
    cache: CacheConfig = field(default_factory=CacheConfig)
    folder: Path = Path()

    def open(self) -> FeatureStore:
        """The store, for one release.

        Raises:
            InputError: if Redis is asked for and the run names none, or it refuses the password.
        """
        if self.config.store == "sqlite":
            return SqliteFeatures(self.folder / FILE)
        if self.cache.redis == "none":
            raise InputError(
                "serve.rank.store: redis needs a server, and cache.redis is none",
                "Name it in cache.redis (or `embedded`), or leave serve.rank.store out.",
            )
        embedded, url = open_redis(self.cache)
        assert url is not None, "there is one"
        return RedisFeatures(connect(url, self.cache.timeout_ms), owned=embedded)


def open_capabilities(
    artifacts: CapabilityArtifacts,
    fingerprint: str,
    encoder: IntentEncoder,
    stores: FeatureStores,
    admission: Admission,
) -> CapabilityService:
    """What ranks, ready to be asked.

    Args:
        artifacts: where it is.
        fingerprint: of the encoder.
        encoder: of intents.
        stores: where features are found.
        admission: of intents.

    Raises:
        InputError: if the ranker takes vectors of another encoder, or features that are not computed here.
    """
    ranker = CapabilityRanker.open(artifacts.ranker)
    check_ranker(ranker, artifacts.ranker, fingerprint)
    feed = None if artifacts.catalogue is None else _feed(ranker, artifacts.catalogue, stores)
    return CapabilityService(ranker, encoder, feed, _stored(artifacts, ranker), stores.config, admission)


def intent_encoder(meta: IndexMeta) -> str:
    """Fingerprint of the encoder of an index, by which a service encodes intents too.

    Raises:
        InputError: if the service reduces the vectors that it makes of questions.
    """
    if meta.projection is None:
        return meta.encoder
    if meta.full_dim is None:
        raise InputError(
            "/v1/rank: the vectors of questions are reduced as those of the index, and a ranker takes whole ones",
            "Set index.rescore: true, or leave `reduce` out.",
        )
    return Projection.load(meta.projection).encoder


def check_ranker(ranker: CapabilityRanker, folder: Path, fingerprint: str) -> None:
    """Refuse a ranker that would read other vectors or other features than it learned from.

    Args:
        ranker: that was opened.
        folder: of it.
        fingerprint: of the encoder whose vectors it would get.

    Raises:
        InputError: naming what differs.
    """
    if ranker.fingerprint != fingerprint:
        raise InputError(
            f"the ranker in {folder} takes vectors of the encoder {ranker.fingerprint}, not of {fingerprint}",
            "Learn with the run's encoder: `catena learn RUN.yaml`.",
        )
    for name in ranker.features:
        if name not in NAMES:
            known = nearest(name, NAMES)
            problem = f"the ranker in {folder} weighs the feature {name!r}, which is not computed here; {known}"
            raise InputError(problem, "Learn again: `catena learn RUN.yaml`.")


def _feed(ranker: CapabilityRanker, folder: Path, stores: FeatureStores) -> FeatureFeed:
    """Features of a catalogue, which is read when they have to be computed.

    A ranker that weighs none may explore: what ran seldom is drawn more widely. Where the configuration does not say
    so, the first request that asks for it has them computed beside it.
    """

    def make(now: int) -> Features:
        catalogue = Catalogue.open(folder)
        return features_of(catalogue, Traces.open(folder, catalogue), now)

    config = stores.config
    ages = (config.features_ttl_s, config.features_every_s)
    feed = FeatureFeed(stores.open(), folder.name, ranker.features or (RUNS,), make, *ages)
    if ranker.features or config.explore == "thompson":
        feed.refresh()
    return feed


def _stored(artifacts: CapabilityArtifacts, ranker: CapabilityRanker) -> StoredIntents | None:
    """Vectors of intents, where there are some of the ranker's encoder."""
    if artifacts.intents is None:
        return None
    found = StoredIntents(artifacts.intents)
    return found if found.fingerprint == ranker.fingerprint else None
