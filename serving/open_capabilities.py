"""Opening what ranks capabilities: a ranker that fits the index's encoder, features by its store, stored intents."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
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
    meta: IndexMeta,
    encoder: IntentEncoder,
    stores: FeatureStores,
    admission: Admission,
) -> CapabilityService:
    """What ranks, ready to be asked.

    Args:
        artifacts: where it is.
        meta: of the index, whose encoder encodes intents too.
        encoder: that one.
        stores: where features are found.
        admission: of intents.

    Raises:
        InputError: if the ranker takes vectors of another encoder, or features that are not computed here.
    """
    ranker = CapabilityRanker.open(artifacts.ranker)
    check_ranker(ranker, artifacts.ranker, meta)
    stored = None
    opened = _opened(artifacts)
    if artifacts.intents is not None and opened is not None:
        found = StoredIntents(artifacts.intents, opened()[1].intents)
        stored = found if found.fingerprint == ranker.fingerprint else None
    feed = None
    if ranker.features and opened is not None and artifacts.catalogue is not None:
        config, view = stores.config, artifacts.catalogue.name

        def make(now: int) -> Features:
            return features_of(*opened(), now)

        feed = FeatureFeed(stores.open(), view, ranker.features, make, config.features_ttl_s, config.features_every_s)
        feed.refresh()
    return CapabilityService(ranker, encoder, feed, stored, stores.config, admission)


def check_ranker(ranker: CapabilityRanker, folder: Path, meta: IndexMeta) -> None:
    """Refuse a ranker that would read other vectors or other features than it learned from.

    Raises:
        InputError: naming what differs.
    """
    whole = meta.encoder if meta.projection is None else Projection.load(meta.projection).encoder
    if ranker.fingerprint != whole:
        raise InputError(
            f"the ranker in {folder} takes vectors of {ranker.fingerprint}, and the index is of {whole}",
            "Learn with the run's encoder: `catena learn RUN.yaml`.",
        )
    if meta.projection is not None and meta.full_dim is None:
        raise InputError(
            "/v1/rank: the vectors of questions are reduced as those of the index, and the ranker takes whole ones",
            "Set index.rescore: true, or leave `reduce` out.",
        )
    for name in ranker.features:
        if name not in NAMES:
            known = nearest(name, NAMES)
            problem = f"the ranker in {folder} weighs the feature {name!r}, which is not computed here; {known}"
            raise InputError(problem, "Learn again: `catena learn RUN.yaml`.")


def _opened(artifacts: CapabilityArtifacts) -> Callable[[], tuple[Catalogue, Traces]] | None:
    """Reads the catalogue and its traces, once, when they are needed."""
    folder = artifacts.catalogue
    if folder is None:
        return None

    @cache
    def read() -> tuple[Catalogue, Traces]:
        catalogue = Catalogue.open(folder)
        return catalogue, Traces.open(folder, catalogue)

    return read
